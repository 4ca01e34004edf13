"""Reward videos: every state one frame, every term drawn, nothing shown before its time."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.media import theme
from robo.media.plot_canvas import Scale, round_values, value_label
from robo.media.reward_video import RewardScene, write_reward_video
from robo.media.traces import RewardTrace, shaped_trace
from robo.media.video import VideoError, read_video
from robo.rollout import Episode, EpisodeInfo

ROLES = ("front", "side", "wrist", "left_wrist", "right_wrist")
NINE = (
    "route progress",
    "speed",
    "time to collision",
    "comfort",
    "lateral offset",
    "outside lanes",
    "speed limit",
    "junction heading consistency",
    "red light",
)


def episode(
    steps: int = 12, views: int = 3, success: bool = True, size: tuple[int, int] = (32, 32)
) -> Episode:
    """Frames every 5 steps and at the end, each of one grey that tells the row."""
    rows = np.array(sorted({*range(0, steps, 5), steps}))
    frame = np.zeros((len(rows), *size, 3), np.uint8) + (50 * np.arange(len(rows)) + 20)[
        :, None, None, None
    ].astype(np.uint8)
    return Episode(
        EpisodeInfo("mujoco/Lift", "pick up the red cube"),
        {},
        np.zeros((steps, 4), np.float32),
        np.zeros(steps, np.float32),
        success,
        success,
        frames={role: frame for role in ROLES[:views]},
        frame_step=rows,
    )


def trace(steps: int = 12, names: tuple[str, ...] = ("gold", "shaping"), **fields) -> RewardTrace:
    """Plausible terms, their sum, and progress that rises."""
    generator = np.random.default_rng(1)
    terms = {name: generator.normal(0, 0.2, steps) for name in names}
    return RewardTrace(
        total=np.sum(list(terms.values()), axis=0),
        terms=terms,
        **{"progress": np.linspace(0, 1, steps + 1), "success": True, **fields},
    )


def colour_count(picture: np.ndarray, colour: theme.Colour) -> int:
    """Pixels of exactly this colour."""
    return int((picture == np.array(colour, np.uint8)).all(-1).sum())


def test_file(tmp_path: Path) -> None:
    """Codec, size, one frame per state and the last held, pictures that change."""
    path = write_reward_video(tmp_path / "videos" / "a.mp4", episode(), trace(), fps=8)
    frames, fps = read_video(path)
    assert fps == 8
    assert frames.shape == (13 + 12, 720, 1280, 3)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    change = np.abs(np.diff(frames[:13].astype(np.int16), axis=0)).max(axis=(1, 2, 3))
    assert (change > 60).all()
    held = np.abs(frames[13:].astype(np.int16) - frames[12]).mean()
    assert held < 1


def test_odd_size(tmp_path: Path) -> None:
    """The file gains the missing row and column."""
    path = write_reward_video(tmp_path / "a.mp4", episode(2), trace(2), width=801, height=451)
    assert read_video(path)[0].shape[1:3] == (452, 802)


@pytest.mark.parametrize(
    "names", [("gold", "shaping"), NINE, tuple(f"term_{i}" for i in range(24))]
)
def test_every_term_is_drawn(names: tuple[str, ...]) -> None:
    """Labels in the legend, and a curve of its own colour each."""
    scene = RewardScene(episode(), trace(names=names))
    assert {"total", *names} <= set(scene.labels)
    assert set(scene.labels) >= {"front", "side", "wrist", "progress"}
    picture = scene.picture(12)
    for i in range(len(names)):
        assert colour_count(picture, theme.line_colour(i)) > 20


def test_few_terms_have_large_text() -> None:
    """16 pixels or more at 1280x720 up to nine terms."""
    assert RewardScene(episode(), trace()).right.legend.size == 20
    assert RewardScene(episode(), trace(names=NINE)).right.legend.size >= 16


def test_legend_that_cannot_fit_says_so() -> None:
    """Never dropped silently."""
    names = tuple(f"{i} {'long ' * 20}" for i in range(40))
    with pytest.raises(VideoError, match="41 reward terms"):
        RewardScene(episode(), trace(names=names))


def test_legend_stays_inside_its_panel() -> None:
    """And clear of the plot."""
    for names in (("gold",), NINE, tuple(f"term_{i}" for i in range(24))):
        scene = RewardScene(episode(), trace(names=names))
        panel = scene.right
        assert panel.legend_box.left + panel.legend.width <= panel.box.right
        assert panel.legend.rows * 1.3 * panel.legend.size <= panel.legend_box.height + 2
        assert panel.plot.box.right < panel.legend_box.left
        assert panel.plot.box.width > 150


@pytest.mark.parametrize("views", [1, 3, 5])
@pytest.mark.parametrize("size", [(64, 64), (48, 128), (700, 500)])
def test_views_keep_their_aspect_side_by_side(views: int, size: tuple[int, int]) -> None:
    """Between the header and the panels, without overlap."""
    scene = RewardScene(episode(views=views, size=size), trace())
    boxes = list(scene.views.values())
    assert len(boxes) == views
    for box in boxes:
        assert box.width / box.height == pytest.approx(size[1] / size[0], rel=0.03)
        assert box.left >= 0
        assert box.right <= 1280
        assert scene.header.bottom < box.top - 20
        assert box.bottom < scene.left.box.top
    for before, after in itertools.pairwise(boxes):
        assert before.right < after.left
        assert before.top == after.top


def test_frames_hold_until_the_next() -> None:
    """Steps 0, 5, 10 and 12 have frames here."""
    scene = RewardScene(episode(), trace())
    box = scene.views["side"]
    middle = (box.top + box.bottom) // 2, (box.left + box.right) // 2
    greys = [int(scene.picture(step)[middle][0]) for step in range(13)]
    assert greys == [20] * 5 + [70] * 5 + [120] * 2 + [170]


def test_nothing_shows_before_its_time() -> None:
    """A change of later values on the same axes leaves earlier pictures as they are."""
    first, second = trace(), trace()
    assert second.progress is not None
    second.progress[7:12] = second.progress[7:12][::-1]
    for value in (second.total, *second.terms.values()):
        value[7:11] = value[7:11][::-1]
    scenes = [RewardScene(episode(), t) for t in (first, second)]
    for step in range(7):
        assert np.array_equal(scenes[0].picture(step), scenes[1].picture(step))
    assert not np.array_equal(scenes[0].picture(9), scenes[1].picture(9))


def test_outcome_is_marked() -> None:
    """Green or red, only at the end, in words."""
    won = RewardScene(episode(), trace())
    lost = RewardScene(episode(success=False), trace(success=False))
    failed = episode(success=False)
    failed.terminated = True
    assert won.outcome == ("SUCCESS at step 12", theme.SUCCESS)
    assert lost.outcome == ("time-out, no success", theme.FAILURE)
    assert RewardScene(failed, trace(success=False)).outcome[0] == "FAILED at step 12"
    for scene in (won, lost):
        colour = scene.outcome[1]
        assert colour_count(scene.picture(11), colour) == 0
        assert colour_count(scene.picture(12), colour) > 2000


def test_no_progress_shows_the_return() -> None:
    """The sum of rewards takes the place of progress."""
    shown = trace(progress=None)
    scene = RewardScene(episode(), shown)
    assert scene.left.plot.curves[0].name == "return so far"
    assert scene.left.plot.curves[0].value[-1] == pytest.approx(shown.total.sum())


def test_thresholds_are_labelled() -> None:
    """By name and value."""
    scene = RewardScene(episode(), trace(thresholds={"solved": 0.95, "closed": 0.4}))
    assert {"solved 0.95", "closed 0.4"} <= set(scene.labels)
    assert colour_count(scene.picture(0), theme.THRESHOLD) > 300


def test_progress_and_thresholds_out_of_range_stay_in_the_plot() -> None:
    """The axis grows where a value lies outside 0 ... 1."""
    shown = trace(progress=np.linspace(-0.2, 1.1, 13), thresholds={"far": 1.5})
    scale = RewardScene(episode(), shown).left.plot.scale
    assert (scale.low, scale.high) == (-0.2, 1.5)


def test_no_words_at_all() -> None:
    """Neither task, title nor instruction."""
    nameless = episode()
    nameless.info = EpisodeInfo("")
    named = RewardScene(episode(), trace()).picture(0)
    bare = RewardScene(nameless, trace()).picture(0)
    assert (bare[:90, :600] == theme.BACKGROUND).all()
    assert (named[:90, :600] != theme.BACKGROUND).any()


def test_long_and_foreign_text_fits() -> None:
    """Instructions wrap in smaller text, and end visibly where even that is too long."""
    size, lines = theme.fit_text("word " * 150, range(28, 15, -1), 900, 62)
    assert len(lines) * size * 1.25 <= 62
    assert all(theme.text_width(line, size) <= 900 for line in lines)
    assert lines[-1].endswith("...")
    assert theme.fit_text("short", range(28, 15, -1), 900, 62) == (28, ["short"])
    assert theme.wrap("x" * 300, 20, 200)[0]
    RewardScene(episode(), trace(instruction="Würfel → 中文 " * 9)).picture(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"progress": np.zeros(12)}, r"progress has shape \(12,\), expected \(13,\)"),
        ({"total": np.zeros(3)}, "total has shape"),
        ({"terms": {"gold": np.zeros((12, 1))}}, "gold"),
        ({"terms": {"gold": np.full(12, np.nan)}}, "NaN"),
    ],
)
def test_traces_that_do_not_fit_are_refused(change: dict, words: str) -> None:
    """One sentence that names the part."""
    bad = trace()
    for name, value in change.items():
        setattr(bad, name, value)
    with pytest.raises(VideoError, match=words):
        RewardScene(episode(), bad)


def test_episodes_without_pictures_are_refused(tmp_path: Path) -> None:
    """No frames, frames of another number than frame_step, no steps, a picture too small."""
    blind = episode(views=0)
    with pytest.raises(VideoError, match="no camera frames"):
        write_reward_video(tmp_path / "a.mp4", blind, trace())
    wrong = episode()
    wrong.frame_step = wrong.frame_step[:-1]
    with pytest.raises(VideoError, match="'front'"):
        write_reward_video(tmp_path / "a.mp4", wrong, trace())
    with pytest.raises(VideoError, match="no step"):
        write_reward_video(tmp_path / "a.mp4", episode(0), trace(0))
    with pytest.raises(VideoError, match="too small"):
        write_reward_video(tmp_path / "a.mp4", episode(), trace(), width=320, height=200)
    assert not list(tmp_path.iterdir())


def test_one_step_and_constant_zero() -> None:
    """The shortest episode, and a reward that never pays."""
    zero = RewardTrace(np.zeros(1), {"gold": np.zeros(1)}, np.zeros(2))
    scene = RewardScene(episode(1, success=False), zero)
    assert scene.picture(1).shape == (720, 1280, 3)
    assert scene.right.plot.scale.low < scene.right.plot.scale.high


def test_shaped_trace_telescopes() -> None:
    """The discounted sum of the shaping is the potential's at both ends, by the outcome."""
    potential = np.random.default_rng(0).random(13)
    discount = 0.97 ** np.arange(12)
    won = shaped_trace(episode(), potential, 0.97, weight=0.5)
    assert (discount * won.terms["shaping"]).sum() == pytest.approx(-0.5 * potential[0])
    assert won.total.sum() == pytest.approx(1 + won.terms["shaping"].sum())
    lost = shaped_trace(episode(success=False), potential, 0.97)
    end = 0.97**12 * potential[12] - potential[0]
    assert (discount * lost.terms["shaping"]).sum() == pytest.approx(end)
    assert lost.terms["success"].sum() == 0
    with pytest.raises(VideoError, match=r"expected \(13,\)"):
        shaped_trace(episode(), potential[:-1], 0.97)


numbers = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30))
def test_scale_shows_every_value(values: list[float]) -> None:
    """All values and 0 lie within the axis, in order, and the ticks too."""
    scale = Scale.of(np.array(values))
    height = np.array([scale.fraction(v) for v in sorted([*values, 0.0])])
    assert ((height > -1e-6) & (height < 1 + 1e-6)).all()
    assert (np.diff(height) >= -1e-12).all()
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 10
    assert all(-1e-6 <= scale.fraction(t) <= 1 + 1e-6 for t in ticks)


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4), st.integers(2, 12))
def test_round_values(low: float, span: float, count: int) -> None:
    """At most as many as asked for, within the range."""
    ticks = round_values(low, low + span, count)
    assert len(ticks) <= count
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in ticks)


def test_value_labels_stay_short() -> None:
    """For any size."""
    values = (0.0, -0.12345, 12.3456, -1234.5, 1e9, -1e-9)
    assert [value_label(v) for v in values][:4] == ["+0.000", "-0.123", "+12.346", "-1234.5"]
    assert max(len(value_label(v)) for v in values) <= 9


@pytest.mark.alone
def test_fast_enough(tmp_path: Path) -> None:
    """An episode of 60 steps takes seconds, not minutes (3 s alone on one core)."""
    start = time.perf_counter()
    write_reward_video(tmp_path / "a.mp4", episode(60), trace(60, NINE))
    assert time.perf_counter() - start < 20
