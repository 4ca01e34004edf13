"""robo assess from a store to a table and a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from torch.utils.tensorboard.writer import SummaryWriter

from robo.cli import main
from robo.data import EpisodeStore
from robo.rollout import Episode, EpisodeInfo


def episode(top: float, success: bool) -> Episode:
    progress = np.linspace(0, top, 13).astype(np.float32)
    image = np.round(255 * progress).astype(np.uint8)[:, None, None, None]
    return Episode(
        info=EpisodeInfo("mujoco/Lift", "lift <the> cube", seed=0),
        observation={"state": progress[:, None]},
        action=np.zeros((12, 4), np.float32),
        reward=np.eye(12, dtype=np.float32)[-1] * success,
        success=success,
        terminated=success,
        signals={"progress": progress[1:]},
        frames={"front": np.broadcast_to(image, (13, 8, 8, 3)).copy()},
        frame_step=np.arange(13),
        metadata={"actor": "expert" if success else "stopper"},
    )


@pytest.fixture
def store(tmp_path):
    with EpisodeStore(tmp_path / "collect" / "episodes") as made:
        made.extend(episode(top, top == 1) for top in (1, 1, 1, 0.4, 0.5, 0.6))
    return tmp_path / "collect"


class Balanced(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "br", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_assess_writes_json_a_table_and_a_page(store, tmp_path, capsys):
    out = tmp_path / "out"
    rewards = ["success", "naive:progress", "delta(raw:progress)", "route_completion"]
    with SummaryWriter(str(tmp_path / "run" / "metrics")) as writer:
        for step, paid, won in ((10, 0.0, 0.0), (20, 1.0, 0.9), (30, 2.0, 0.1)):
            writer.add_scalar("episode/reward_return", paid, step)
            writer.add_scalar("episode/success", won, step)
    code = main(
        ["assess", *rewards, "--episodes", str(store), "--truth", "progress", "--resamples", "20",
         "--transitions", "16", "--branches", "0", "--runs", str(tmp_path / "run"),
         "--out", str(out), "--json"]
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 0, printed.err
    result = json.loads(printed.out.splitlines()[-1])
    assert result == json.loads((out / "result.json").read_text())
    assert result["rewards"]["naive:progress"]["caught"] == ["loop_income", "idle_income"]
    assert result["rewards"]["delta(raw:progress)"]["caught"] == []
    assert "delta_route_completion" in result["rewards"]["route_completion"]["refused"]
    assert result["goodhart"][str(tmp_path / "run")]["divergence_step"] == 30
    assert result["distances"]["dard"] is None
    assert result["distances"]["names"] == ["success", "naive:progress", "delta(raw:progress)"]
    assert result["successes"] == 3 and result["rewards"]["success"]["figures"]["auc"]["value"] == 1
    for word in ("auc", "loop_income", "2: naive:progress"):
        assert word in printed.err
    page = (out / "report.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith("data:") for link in links)  # self-contained
    assert "EPIC" in page and "diverges from step 30" in page
    assert page.count("delta(raw:progress)") > 5 and "NaN" not in page and "None" not in page


def test_what_fails_late_is_named_and_the_rest_is_written(store, tmp_path, capsys):
    out = tmp_path / "out"
    with SummaryWriter(str(tmp_path / "run" / "metrics")) as writer:
        for step in (10, 20):
            writer.add_scalar("episode/reward_return", float("nan"), step)
            writer.add_scalar("episode/success", 0.5, step)
    code = main(
        ["assess", "success", "naive:progress", "--episodes", str(store), "--resamples", "0",
         "--transitions", "4", "--hold", "99", "--branches", "0",
         "--runs", str(tmp_path / "run"), str(tmp_path / "none"), "--out", str(out)]
    )  # fmt: skip
    printed = capsys.readouterr().err
    assert code == 0 and "Traceback" not in printed, printed
    result = json.loads((out / "result.json").read_text())
    assert result["rewards"]["naive:progress"]["caught"] == ["loop_income", "idle_income"]
    assert "no stored transition of 99 steps" in result["distances"]["left_out"]["all"]
    runs = result["goodhart"]
    assert "not finite" in runs[str(tmp_path / "run")]["left_out"]
    assert "is no folder" in runs[str(tmp_path / "none")]["left_out"]
    page = (out / "report.html").read_text()
    for sentence in ("no stored transition of 99 steps", "not finite", "is no folder"):
        assert sentence in page and sentence in printed.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "KIND"),
        (["success", "success"], "twice"),
        (["success", "--gamma", "1"], "gamma is 1"),
        (["success", "--limit", "0"], "limit"),
        (["route_completion"], "delta_route_completion"),
        (["grm:/nowhere"], "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(store, tmp_path, capsys, arguments, said):
    code = main(["assess", *arguments, "--episodes", str(store), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().err
    assert code == 2 and said in printed and "Traceback" not in printed
