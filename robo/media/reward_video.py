"""The reward video: camera views above, progress and every reward term growing in time below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robo.media import theme
from robo.media.legend import Legend
from robo.media.plot_canvas import Box, Curve, Plot, Scale, value_label
from robo.media.traces import RewardTrace
from robo.media.video import VideoError, VideoWriter
from robo.media.views import enlarge, view_boxes
from robo.rollout import Episode

HOLD_SECONDS = 1.5
"""How long the last frame stays."""


class RewardScene:
    """The pictures of one reward video; everything that does not move is drawn once."""

    def __init__(
        self, episode: Episode, trace: RewardTrace, width: int = 1280, height: int = 720
    ) -> None:
        """Lay the picture out.

        Raises:
            VideoError: if trace and episode do not fit, no camera frames are stored, or the
                picture is too small to be read.
        """
        from PIL import Image, ImageDraw

        self.steps = len(episode)
        self.trace = trace.check(self.steps)
        self.episode = episode
        self.size = (width, height)
        self.scale = min(width / 1280, height / 720)
        if self.scale < 0.5:
            raise VideoError(f"reward video of {width}x{height} is too small, use 640x360 or more")
        self._lay_out()
        self.labels: list[str] = []
        """Every text drawn in the still part: views, panel titles, thresholds, curves."""
        self._still = Image.new("RGB", self.size, theme.BACKGROUND)
        draw = ImageDraw.Draw(self._still)
        self._draw_header(draw)
        self._draw_captions(draw)
        self._draw_panels(draw)
        self._whole = self._still.copy()
        for plot in (self.left, self.right):
            plot.draw_curves(self._whole)
        self._pictures: dict[tuple[str, int], Any] = {}

    def _px(self, pixels: float) -> int:
        return round(pixels * self.scale)

    def _lay_out(self) -> None:
        px, (width, height) = self._px, self.size
        margin = px(24)
        self.header = Box(margin, px(14), width - margin, px(92))
        panels = height - px(296), height - px(18)
        middle = margin + round(0.38 * (width - 2 * margin))
        self.left_panel = Box(margin, panels[0], middle - px(7), panels[1])
        self.right_panel = Box(middle + px(7), panels[0], width - margin, panels[1])
        self.views = view_boxes(
            self.episode, Box(margin, px(122), width - margin, panels[0] - px(14)), px(14)
        )
        self._build_progress()
        self._build_rewards()

    def _build_progress(self) -> None:
        trace, px = self.trace, self._px
        state = np.arange(self.steps + 1)
        if trace.progress is not None:
            value, name = np.asarray(trace.progress, dtype=np.float64), trace.progress_name
            shown = [0.0, 1.0, *trace.thresholds.values(), *value]
            low, high = float(min(shown)), float(max(shown))
            scale, tick = Scale(low, high), 0.25 if high - low < 1.6 else None
        else:
            value = np.concatenate([[0.0], np.cumsum(np.asarray(trace.total, dtype=np.float64))])
            name, scale, tick = "return so far", Scale.of(value), None
        curve = Curve(name, state, value, theme.ACCENT, 3 * self.scale, held=True)
        box = self.left_panel
        rows = 34 + (22 if self._shown_thresholds() else 0)
        area = Box(
            box.left + px(66), box.top + px(rows + 10), box.right - px(16), box.bottom - px(54)
        )
        self.left = Plot(
            area, self.steps, scale, [curve], px(16), self._shown_thresholds(), tick_step=tick
        )

    def _shown_thresholds(self) -> dict[str, float]:
        return self.trace.thresholds if self.trace.progress is not None else {}

    def _build_rewards(self) -> None:
        trace, px, box = self.trace, self._px, self.right_panel
        arrival = np.arange(1, self.steps + 1)
        total = np.asarray(trace.total, dtype=np.float64)
        curves = [Curve("total", arrival, total, theme.TOTAL, 5 * self.scale)]
        for i, (name, value) in enumerate(trace.terms.items()):
            colour = theme.line_colour(i)
            # "total" is taken by the sum itself.
            shown = f"{name} (term)" if name == "total" else name
            value = np.asarray(value, dtype=np.float64)
            curves.append(Curve(shown, arrival, value, colour, 2 * self.scale))
        height = box.height - px(58)
        legend = Legend.fit(curves, round(0.6 * box.width), height, px(20), px(16))
        right = box.right - px(16)
        self.legend = legend
        self.legend_box = Box(right - legend.width, box.top + px(44), right, box.bottom - px(14))
        area = Box(
            box.left + px(72),
            box.top + px(44),
            self.legend_box.left - px(24),
            box.bottom - px(54),
        )
        scale = Scale.of(np.concatenate([curve.value for curve in curves]))
        self.right = Plot(area, self.steps, scale, curves, px(16))

    def _draw_header(self, draw: Any) -> None:
        px, box = self._px, self.header
        info = self.episode.info
        width = box.width - px(330)
        title = self.trace.title or info.task
        size, lines = theme.fit_text(title, range(px(17), px(16) - 1, -1), width, px(24))
        theme.draw_text(draw, (box.left, box.top + px(17)), lines[0], size, theme.MUTED)
        text = self.trace.instruction or info.instruction or info.task
        room = px(62)
        size, lines = theme.fit_text(text, range(px(28), px(16) - 1, -1), width, room)
        baseline = box.top + px(24) + size
        for i, line in enumerate(lines):
            at = (box.left, baseline + round(i * 1.2 * size) + px(2))
            theme.draw_text(draw, at, line, size, theme.TEXT)

    def _draw_captions(self, draw: Any) -> None:
        for role, box in self.views.items():
            name = role.replace("_", " ")
            size, lines = theme.fit_text(
                name, range(self._px(17), self._px(9), -1), box.width, self._px(24)
            )
            at = (box.left, box.top - self._px(8))
            theme.draw_text(draw, at, lines[0], size, theme.MUTED)
            self.labels.append(name)

    def _draw_panels(self, draw: Any) -> None:
        px = self._px
        peaks = " (asinh axis)" if self.right.scale.knee else ""
        titles = {
            self.left.curves[0].name: self.left_panel,
            f"reward per step{peaks}": self.right_panel,
        }
        for title, box in titles.items():
            draw.rounded_rectangle(box.bounds(), radius=px(10), fill=theme.PANEL)
            at = (box.left + px(16), box.top + px(29))
            theme.draw_text(draw, at, title, px(18), theme.MUTED)
            self.labels.append(title)
        self._draw_threshold_names(draw)
        for plot in (self.left, self.right):
            plot.draw_axes(draw)
        self.labels += self.legend.draw_names(draw, self.legend_box)

    def _draw_threshold_names(self, draw: Any) -> None:
        names = [f"{name} {value:.3g}" for name, value in self.left.thresholds.items()]
        if not names:
            return
        px, box = self._px, self.left_panel
        text = ", ".join(names)
        size, lines = theme.fit_text(text, range(px(16), px(7), -1), box.width - px(56), px(24))
        y = box.top + px(48)
        for x in range(box.left + px(16), box.left + px(40), px(12)):
            draw.line((x, y, x + px(6), y), fill=theme.THRESHOLD, width=max(1, px(2)))
        theme.draw_text(draw, (box.left + px(46), y), lines[0], size, theme.THRESHOLD, "lm")
        self.labels += names

    @property
    def outcome(self) -> tuple[str, theme.Colour]:
        """Words and colour of how the episode ended."""
        if self.trace.success:
            return f"SUCCESS at step {self.steps}", theme.SUCCESS
        if self.episode.terminated:
            return f"FAILED at step {self.steps}", theme.FAILURE
        return "time-out, no success", theme.FAILURE

    def picture(self, step: int) -> np.ndarray:
        """The picture at state ``step``, 0 ... L: uint8 ``[height, width, 3]``."""
        from PIL import ImageDraw

        frame = self._still.copy()
        for role, box in self.views.items():
            frame.paste(self._view(role, box, step), (box.left, box.top))
        ended = step >= self.steps
        for plot in (self.left, self.right):
            plot.reveal(frame, self._whole, step, self.outcome[1] if ended else None)
        draw = ImageDraw.Draw(frame)
        self._draw_state(draw, step)
        if ended:
            self._draw_outcome(draw)
        return np.asarray(frame)

    def _draw_state(self, draw: Any, step: int) -> None:
        px, box = self._px, self.left_panel
        at = (self.header.right, self.header.top + px(26))
        theme.draw_text(draw, at, f"step {step} / {self.steps}", px(26), theme.TEXT, "rs")
        now = float(self.left.curves[0].value[step])
        text = f"{now:.3f}" if self.trace.progress is not None else value_label(now)
        at = (box.right - px(16), box.top + px(29))
        theme.draw_text(draw, at, text, px(22), theme.ACCENT, "rs")
        if step > 0:
            values = {curve.name: float(curve.value[step - 1]) for curve in self.right.curves}
            self.legend.draw_values(draw, self.legend_box, values)

    def _draw_outcome(self, draw: Any) -> None:
        px, (text, colour) = self._px, self.outcome
        right, top = self.header.right, self.header.top + px(40)
        left = right - theme.text_width(text, px(22)) - px(28)
        box = (left, top, right, top + px(36))
        draw.rounded_rectangle(box, radius=px(18), fill=colour)
        middle = ((left + right) / 2, top + px(18))
        theme.draw_text(draw, middle, text, px(22), theme.BACKGROUND, "mm")

    def _view(self, role: str, box: Box, step: int) -> Any:
        rows = np.asarray(self.episode.frame_step)
        row = max(0, int(np.searchsorted(rows, step, side="right")) - 1)
        if (role, row) not in self._pictures:
            self._pictures = {key: p for key, p in self._pictures.items() if key[0] != role}
            self._pictures[role, row] = enlarge(self.episode.frames[role][row], box)
        return self._pictures[role, row]


def write_reward_video(
    path: str | Path,
    episode: Episode,
    trace: RewardTrace,
    fps: float = 10.0,
    width: int = 1280,
    height: int = 720,
) -> Path:
    """Write the reward video of one episode.

    One frame per state s_0 ... s_L, then the last is held for ``HOLD_SECONDS``. Nothing of a
    later step shows before its time; camera frames at a stride hold until the next.

    Args:
        path: of the mp4 file; it appears when it is complete.
        episode: with camera frames.
        trace: what a reward said about it.
        fps: steps shown per second.
        width: in pixels; text is at least 16 pixels high from 1280x720 on, as long as all terms
            fit.
        height: in pixels.

    Returns:
        The path.

    Raises:
        VideoError: if episode and trace do not fit each other, or the file cannot be written.
    """
    scene = RewardScene(episode, trace, width, height)
    with VideoWriter(path, fps, width, height) as writer:
        for step in range(scene.steps + 1):
            writer.write(picture := scene.picture(step))
        for _ in range(round(HOLD_SECONDS * fps)):
            writer.write(picture)
    return Path(path)
