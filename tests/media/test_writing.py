"""Files of pictures: slow motion, GIF, poster, columns, events in time, Rerun recordings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from robo.media import theme
from robo.media.events import Event, HopTrack
from robo.media.reward_video import RewardScene
from robo.media.side_by_side import SideBySide
from robo.media.traces import RewardTrace
from robo.media.video import VideoError, read_video
from robo.media.writing import around, moments, thinned, write_scene
from robo.rollout import Episode, EpisodeInfo


def pair(steps: int = 6, **fields) -> tuple[Episode, RewardTrace]:
    """Frames that turn brighter, two terms, a hop up and a hop down, an infraction."""
    frame = np.full((steps + 1, 16, 16, 3), 40, np.uint8)
    frame += (20 * np.arange(steps + 1))[:, None, None, None].astype(np.uint8)
    episode = Episode(
        EpisodeInfo("mujoco/Lift", "lift the cube"),
        {},
        np.zeros((steps, 1), np.float32),
        np.zeros(steps, np.float32),
        True,
        True,
        frames={"front": frame, "side": frame},
        frame_step=np.arange(steps + 1),
    )
    terms = {"gain": np.full(steps, 0.5), "cost": np.linspace(-0.4, 0, steps)}
    hops = HopTrack(np.array([0, 2, 4]), np.array([0.0, 0.5, -0.4]))
    events = [Event(3, "collision", "infraction"), Event(steps, "success", "success")]
    trace = RewardTrace(
        total=terms["gain"] + terms["cost"],
        terms=terms,
        progress=np.linspace(0, 1, steps + 1),
        curves={"potential": np.linspace(0.1, 0.8, steps + 1)},
        hops=hops,
        events=events,
        success=True,
    )
    for name, value in fields.items():
        setattr(trace, name, value)
    return episode, trace


def count(picture: np.ndarray, colour: theme.Colour) -> int:
    return int((picture == np.array(colour, np.uint8)).all(-1).sum())


def test_moments() -> None:
    assert moments(3) == [0, 1, 2, 3]
    assert moments(2, 2) == [0, 0.5, 1, 1.5, 2]
    assert moments(4, 2, [(1, 2)]) == [0, 1, 1.5, 2, 3, 4]
    assert around([1, 5], 6, 2) == [(0, 3), (3, 6)]
    assert thinned(list(range(60)), 60) == pytest.approx(np.linspace(0, 59, 20), abs=0.51)
    with pytest.raises(VideoError, match="slow motion is 0"):
        moments(3, 0)


def test_slow_motion_is_longer_and_looks_not_ahead(tmp_path: Path) -> None:
    scene = RewardScene(*pair(), 640, 360)
    fast = write_scene(tmp_path / "fast.mp4", scene, 20)
    slow = write_scene(tmp_path / "slow.mp4", scene, 20, moments(6, 3))
    assert len(read_video(slow)[0]) - len(read_video(fast)[0]) == 12
    box = scene.right.plot.box
    colours = theme.line_colour(0), theme.line_colour(1)

    def seen(step: float) -> list[int]:
        part = scene.picture(step)[box.top : box.bottom, box.left : box.right]
        return [count(part, colour) for colour in colours]

    assert seen(0) == [0, 0]
    assert seen(3.7)[0] == pytest.approx(seen(3)[0], rel=0.02)  # but for the cursor's column
    assert seen(4)[0] > 1.2 * seen(3)[0]


def test_hops_and_events_appear_in_their_time() -> None:
    scene = RewardScene(*pair(), 640, 360)
    box = scene.left.plot.box

    def triangles(step: int) -> tuple[int, int]:
        part = scene.picture(step)[box.top - 9 : box.bottom, box.left : box.right]
        return count(part, theme.SUCCESS), count(part, theme.FAILURE)

    assert triangles(1) == (0, 0)
    assert triangles(2)[0] > 5 and triangles(2)[1] == 0
    assert triangles(4)[1] > 0
    rail = scene.timeline.box
    marks = [count(scene.picture(s)[rail.top : rail.bottom], theme.FAILURE) for s in (2, 3, 5)]
    assert marks[0] == 0 and min(marks[1:]) > 3
    assert scene.timeline.infractions(2) == "" and scene.timeline.infractions(5) == "collision 1"


def test_gif_and_poster(tmp_path: Path) -> None:
    from PIL import Image

    scene = RewardScene(*pair(), 1280, 720)
    path = write_scene(tmp_path / "a.gif", scene, 40, poster=tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.size == (800, 450) and image.info["loop"] == 0
        shown = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            shown.append(image.info["duration"])
    # 7 moments and 1.5 s of the last at 40 a second, in hundredths; equal pictures are joined.
    assert sum(shown) == pytest.approx(1000 * 67 / 40, rel=0.05) and len(shown) >= 4
    with Image.open(tmp_path / "a.png") as poster:
        drawn = np.asarray(poster)
    assert np.array_equal(drawn, scene.picture(6))
    with pytest.raises(VideoError, match=r"\.png or \.jpg"):
        write_scene(tmp_path / "b.mp4", scene, 10, poster=tmp_path / "b.bmp")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "a.png", "b.mp4"]


def test_columns_keep_step_and_hold(tmp_path: Path) -> None:
    scene = SideBySide([pair(6), pair(3, events=[], hops=None)], 1280, 720)
    assert scene.steps == 6 and scene.events == [3, 6]
    late, end = scene.picture(4), scene.picture(6)
    assert not np.array_equal(late[:, :636], end[:, :636])
    assert np.array_equal(late[:, 640:], end[:, 640:])
    single = SideBySide([pair()], 640, 360)
    assert np.array_equal(single.picture(2), RewardScene(*pair(), 640, 360).picture(2))
    with pytest.raises(VideoError, match="too small"):
        SideBySide([pair()] * 4, 640, 360)
    write_scene(tmp_path / "columns.mp4", scene, 10)
    assert read_video(tmp_path / "columns.mp4")[0].shape[1:3] == (720, 1280)


def test_what_fails_while_drawing_reaches_the_caller(tmp_path: Path) -> None:
    scene = RewardScene(*pair(), 640, 360)

    class Broken:
        steps, size = scene.steps, scene.size

        def picture(self, step: float, out: np.ndarray | None = None) -> np.ndarray:
            if step > 3:
                raise RuntimeError("no more pictures")
            return scene.picture(step, out)

    with pytest.raises(RuntimeError, match="no more pictures"):
        write_scene(tmp_path / "a.mp4", Broken(), 10)
    assert not list(tmp_path.iterdir())


def test_stamped_text_is_the_drawn_text() -> None:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (200, 60), theme.PANEL)
    theme.draw_text(ImageDraw.Draw(image), (12, 40), "+0.125", 24, theme.TEXT)
    frame = np.full((60, 200, 3), theme.PANEL, np.uint8)
    theme.stamp_text(frame, (12, 40), "+0.125", 24, theme.TEXT)
    assert np.abs(frame.astype(int) - np.asarray(image)).mean() < 1
    theme.stamp_text(frame, (190, 5), "over the edge", 24, theme.TEXT)
    theme.stamp_text(frame, (-500, 5), "outside", 24, theme.TEXT)


@pytest.mark.skipif(importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed")
def test_rerun_recording_holds_views_and_every_term(tmp_path: Path) -> None:
    from robo.media.rerun_export import write_rerun

    path = write_rerun(tmp_path / "a.rrd", [pair(), pair(4, events=[], hops=None)])
    content = path.read_bytes()
    assert content[:4] == b"RRF2"
    for name in (b"gain", b"cost", b"potential", b"front", b"/0/events", b"/1/reward"):
        assert name in content
    with pytest.raises(VideoError, match=r"end in \.rrd"):
        write_rerun(tmp_path / "a.mp4", [pair()])
