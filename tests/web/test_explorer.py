"""The explorer's answers: list, curves, frame sheets, bookmarks, clips, disagreement."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from robo.cli import main
from robo.commands.explore import Explore
from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.media.video import read_video
from robo.rewards.base import Reward
from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
from robo.rewards.route_completion import RouteCompletionReward
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rollout import RewardTerms, Rollout
from robo.web.explorer import Explorer
from robo.web.scores import TRIES, StoreScores, disagreement, percentile_ranks
from robo.web.sheets import SheetPlan, encode_sheet
from tests.web.conftest import episode


def rewards() -> dict[str, Reward]:
    return {
        "success": SuccessReward(),
        "difference": ProgressDifferenceReward(SuccessReward(), SignalPotential("progress")),
        "driving": RouteCompletionReward(),
    }


@pytest.fixture
def explorer(store: EpisodeStore, tmp_path: Path) -> Iterator[Explorer]:
    made = Explorer(store, rewards(), tmp_path / "out")
    yield made
    made.close()


def ask(explorer: Explorer, path: str, body: Any = None) -> Any:
    """The JSON of a reply."""
    headers = {"X-Token": explorer.server.token}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(explorer.url.rstrip("/") + path, data, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def wait_for_scores(explorer: Explorer) -> dict[str, Any]:
    until = time.monotonic() + 60
    while (table := ask(explorer, "/api/scores"))["done"] < len(explorer.store):
        assert time.monotonic() < until
        time.sleep(0.05)
    return table


def test_list_and_scores(explorer: Explorer) -> None:
    listing = ask(explorer, "/api/store")
    assert [e["success"] for e in listing["episodes"]] == [True, False, True, False, True]
    assert listing["episodes"][1]["kind"] == "hover" and listing["episodes"][1]["steps"] == 28
    table = wait_for_scores(explorer)
    assert table["scores"]["success"] == [1, 0, 1, 0, 1]
    assert table["returns"] == pytest.approx([0.1 * (i + 1) * (24 + 4 * i) for i in range(5)])
    assert "delta_route_completion" in table["failures"]["driving"]
    assert all(0 <= value <= 1 for value in table["disagreement"])


def test_an_episode_with_every_term_and_event(explorer: Explorer) -> None:
    found = ask(explorer, "/api/episode/2")
    assert found["steps"] == 32 and found["frame_step"][-1] == 32
    assert set(found["rewards"]) == {"success", "difference"}
    reward = found["rewards"]["difference"]
    assert reward["stacked"] == ["success", "difference"]
    assert len(reward["total"]) == 32 and len(reward["curves"]["potential"]) == 33
    assert "true progress" in reward["curves"]
    assert [event["name"] for event in found["events"]] == ["grasp", "success"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(explorer, "/api/episode/9")


def test_sheets_hold_every_frame(explorer: Explorer) -> None:
    view = ask(explorer, "/api/episode/0")["views"]["front"]
    with urllib.request.urlopen(f"{explorer.url}sheet/0/front/0", timeout=30) as reply:
        assert reply.headers["Content-Type"] == "image/png"
        sheet = cv2.imdecode(np.frombuffer(reply.read(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    frames = explorer.store[0].frames["front"]
    for i, frame in enumerate(frames):
        top, left = i // view["columns"] * 24, i % view["columns"] * 32
        assert np.array_equal(sheet[top : top + 24, left : left + 32], frame)


def test_large_frames_are_reduced_and_spread_over_sheets() -> None:
    plan = SheetPlan.of(700, 720, 1280)
    assert plan.height == 320 and plan.width == 569
    assert plan.sheets * plan.columns * plan.rows >= 700 and plan.sheets > 1
    content, kind = encode_sheet(
        np.zeros((20, 720, 1280, 3), np.uint8), SheetPlan.of(20, 720, 1280), 0
    )
    assert kind == "image/jpeg" and content[:2] == b"\xff\xd8"


def test_bookmarks_are_kept(explorer: Explorer, store: EpisodeStore, tmp_path: Path) -> None:
    ask(explorer, "/api/bookmarks", {"episode": 1, "step": 5, "note": "looks odd"})
    ask(explorer, "/api/bookmarks", {"episode": 0, "step": 3})
    ask(explorer, "/api/bookmarks", {"episode": 0, "step": 3, "note": "twice is once"})
    found = ask(explorer, "/api/bookmarks")
    assert [(b["episode"], b["step"]) for b in found] == [(0, 3), (1, 5)]
    again = Explorer(store, {}, tmp_path / "out")
    again.close()
    assert again.bookmarks == found
    assert len(ask(explorer, "/api/bookmarks", {"episode": 1, "step": 5, "remove": True})) == 1
    for wrong in ({"episode": 1, "step": 99}, {"episode": 7, "step": 0}, {"episode": 1}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(explorer, "/api/bookmarks", wrong)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "bookmarks.json").write_text("[]")
    with pytest.raises(RoboError, match="holds no bookmarks"):
        Explorer(store, {}, tmp_path / "other")


def test_a_folder_belongs_to_one_store(explorer: Explorer, tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "another") as other:
        other.append(episode(0))
    ask(explorer, "/api/clip", {"episode": 0, "first": 0, "last": 2, "reward": "success"})
    with pytest.raises(RoboError, match=r"of the store .*store, but this is .*another: name"):
        Explorer(EpisodeStore(tmp_path / "another", mode="r"), {}, tmp_path / "out")
    moved = {"store": str(tmp_path / "another"), "bookmarks": []}
    (tmp_path / "out" / "bookmarks.json").write_text(json.dumps(moved))
    with pytest.raises(RoboError, match="holds the bookmarks of the store"):
        Explorer(explorer.store, {}, tmp_path / "out")


def test_every_store_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert Explore(Path("runs/a")).out == Path("runs/explore/a")
    assert Explore(tmp_path / "runs/b/episodes").out == Path("runs/explore/b")
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "c")
    assert Explore(Path(".")).out == Path("runs/explore/c")
    assert Explore(Path("runs/a"), out=Path("here")).out == Path("here")


def test_views_of_any_name(tmp_path: Path) -> None:
    shown = episode(0)
    names = ["observation.images.top", "left hand", "a+b%2f"]
    shown.frames = {name: shown.frames["front"] for name in names}
    with EpisodeStore(tmp_path / "store") as store:
        store.append(shown)
    explorer = Explorer(EpisodeStore(tmp_path / "store", mode="r"), {}, tmp_path / "out")
    try:
        assert list(ask(explorer, "/api/episode/0")["views"]) == names
        for name in names:
            address = f"{explorer.url}sheet/0/{quote(name, safe='')}/0"
            with urllib.request.urlopen(address, timeout=30) as reply:
                assert reply.headers["Content-Type"] == "image/png"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(explorer, "/sheet/0/front/0")
    finally:
        explorer.close()


def test_frames_in_memory_are_bounded(explorer: Explorer, monkeypatch: Any) -> None:
    explorer.scores.close()
    explorer._episodes.clear()
    size = sum(frames.nbytes for frames in explorer.store[4].frames.values())
    monkeypatch.setattr("robo.web.explorer.KEPT_BYTES", 2 * size)
    for index in range(5):
        explorer.episode(index)
    assert list(explorer._episodes) == [3, 4]
    monkeypatch.setattr("robo.web.explorer.KEPT_BYTES", 1)
    assert len(explorer.episode(0)) == 24 and list(explorer._episodes) == [0]


def test_clips(explorer: Explorer, tmp_path: Path) -> None:
    order = {"episode": 0, "first": 4, "last": 10, "reward": "success"}
    clip = ask(explorer, "/api/clip", order)["clip"]
    with urllib.request.urlopen(explorer.url.rstrip("/") + clip, timeout=30) as reply:
        (tmp_path / "clip.mp4").write_bytes(reply.read())
    frames, fps = read_video(tmp_path / "clip.mp4")
    assert len(frames) == 7 + 15 and fps == 10
    for wrong in ({"first": 5, "last": 5}, {"last": 99}, {"reward": "other"}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(explorer, "/api/clip", order | wrong)
    for path in ("/clips/..%2fbookmarks.json", "/clips/none.mp4"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(explorer, path)


def test_a_damaged_episode_does_not_stop_the_others(store: EpisodeStore) -> None:
    (store.path / store.info(1).file).write_bytes(b"gone")
    scores = StoreScores(store, {"environment": EnvironmentReward()})
    scores.start()
    until = time.monotonic() + 60
    while scores.done < 5 and time.monotonic() < until:
        time.sleep(0.02)
    scores.close()
    table = scores.table()
    assert table["done"] == 5 and list(table["damaged"]) == ["1"]
    assert table["returns"][1] is None and table["returns"][4] is not None


class Picky(EnvironmentReward):
    """Refuses the episodes of some lengths, and counts what it was asked."""

    def __init__(self, *refused: int) -> None:
        self.refused, self.asked = refused, 0

    def __call__(self, rollout: Rollout) -> RewardTerms:
        self.asked += 1
        if len(rollout.action) in self.refused:
            raise RoboError(f"an episode of {len(rollout.action)} steps is none for me")
        return super().__call__(rollout)


def test_an_episode_that_a_reward_refuses_costs_it_no_other(store: EpisodeStore) -> None:
    scores = StoreScores(store, {"picky": Picky(24, 32)})
    for index in range(5):
        scores.traces(index)
    table = scores.table()
    assert [value is not None for value in table["scores"]["picky"]] == [False, True] * 2 + [True]
    assert table["failures"]["picky"].startswith("2 not scored, the first is #0: an episode of 24")
    assert scores.why_not(2) == {"picky": "an episode of 32 steps is none for me"}
    assert scores.why_not(1) == {} and table["done"] == 5


def test_a_reward_that_can_score_nothing_is_asked_a_few_times_only(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "store") as made:
        made.extend([episode(i) for i in range(8)])
    picky = Picky(24)
    scores = StoreScores(EpisodeStore(tmp_path / "store", mode="r"), {"picky": picky})
    for index in reversed(range(8)):
        scores.traces(index)
    assert picky.asked == TRIES == 5
    assert scores.table()["failures"] == {"picky": "an episode of 24 steps is none for me"}
    assert list(scores.why_not(0)) == ["picky"]


def test_a_damaged_episode_does_not_keep_a_reward_from_its_references(store: EpisodeStore) -> None:
    class Seeded(EnvironmentReward):
        shown = 0

        def seed(self, episodes: Any) -> None:
            self.shown = len(list(episodes))

    (store.path / store.info(1).file).write_bytes(b"gone")
    reward = Seeded()
    scores = StoreScores(store, {"seeded": reward})
    assert list(scores.traces(0)) == ["seeded"] and reward.shown == 4


def test_disagreement_is_free_of_scale() -> None:
    assert percentile_ranks([3.0, None, 1.0, 3.0]) == pytest.approx([2 / 3, None, 1 / 6, 2 / 3])
    first = [1.0, 2.0, 3.0, 4.0]
    assert disagreement({"a": first, "b": [10 * v - 5 for v in first]}) == pytest.approx([0] * 4)
    opposed = disagreement({"a": first, "b": first[::-1]})
    assert opposed == pytest.approx([0.75, 0.25, 0.25, 0.75])
    assert disagreement({"a": first}) == [None] * 4
    assert disagreement({"a": [1.0, None], "b": [2.0, 1.0]})[1] is None


def test_command(store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explore", str(store.path), "--seconds", "0.1", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result["episodes"] == 5 and result["url"].startswith("http://127.0.0.1:")
    assert "interrupt to stop" in captured.err
    assert main(["explore", str(tmp_path / "nowhere"), "--out", str(tmp_path / "r2")]) == 2
    assert main([*arguments, "--fps", "0"]) == 2
