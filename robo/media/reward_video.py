"""The reward video: camera views above, events, progress and every reward term in time below."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from robo.media import theme
from robo.media.layout import Layout
from robo.media.plot_canvas import Box
from robo.media.reward_panel import RewardPanel
from robo.media.state_panel import StatePanel
from robo.media.timeline import Timeline
from robo.media.traces import RewardTrace
from robo.media.views import enlarge, view_boxes
from robo.media.writing import write_reward_video
from robo.rollout import Episode

__all__ = ["RewardScene", "write_reward_video"]


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
        self.layout = layout = Layout.of(width, height)
        self.scale, self.header = layout.scale, layout.header
        self.left = StatePanel(layout.left, trace, self.steps, layout.scale)
        self.right = RewardPanel(layout.right, trace, self.steps, layout.scale)
        self.views = view_boxes(episode, layout.views, self._px(14))
        self.timeline = Timeline(layout.rail, self.steps, trace.events, self._px(15))
        self.labels: list[str] = []
        """Every text drawn in the still part: views, panel titles, thresholds, curves."""
        still = Image.new("RGB", self.size, theme.BACKGROUND)
        draw = ImageDraw.Draw(still)
        self._draw_header(draw)
        self._draw_captions(draw)
        for panel in (self.left, self.right):
            panel.draw(draw)
            self.labels += panel.labels
        self._still = np.array(still)
        for panel in (self.left, self.right):
            panel.plot.draw_curves(still)
        self._whole = np.asarray(still)
        self._pictures: dict[str, tuple[int, np.ndarray]] = {}

    def _px(self, pixels: float) -> int:
        return round(pixels * self.scale)

    def _draw_header(self, draw: Any) -> None:
        px, box = self._px, self.header
        info = self.episode.info
        width = box.width - self.layout.side
        title = self.trace.title or info.task
        size, lines = theme.fit_text(title, range(px(17), px(11), -1), width, px(24))
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

    @property
    def outcome(self) -> tuple[str, theme.Colour]:
        """Words and colour of how the episode ended."""
        if self.trace.success:
            return f"SUCCESS at step {self.steps}", theme.SUCCESS
        if self.episode.terminated:
            return f"FAILED at step {self.steps}", theme.FAILURE
        return "time-out, no success", theme.FAILURE

    def picture(self, step: float, out: np.ndarray | None = None) -> np.ndarray:
        """The picture at state ``step``: uint8 ``[height, width, 3]``.

        Args:
            step: 0 ... L, held at L after it. Between two states only the cursors move.
            out: uint8 array to draw into, of that shape; None makes one.
        """
        frame = np.empty_like(self._still) if out is None else out
        np.copyto(frame, self._still)
        step = min(float(step), float(self.steps))
        state = math.floor(step)
        for role, box in self.views.items():
            frame[box.top : box.bottom, box.left : box.right] = self._view(role, box, state)
        ended = state >= self.steps
        for panel in (self.left, self.right):
            panel.plot.reveal(frame, self._whole, step, self.outcome[1] if ended else None)
            panel.stamp(frame, state)
        self.timeline.draw(frame, step)
        self._stamp_state(frame, state)
        if ended:
            self._stamp_outcome(frame)
        return frame

    def _stamp_state(self, frame: np.ndarray, step: int) -> None:
        px, box = self._px, self.header
        at = (box.right, box.top + px(26))
        theme.stamp_text(frame, at, f"step {step} / {self.steps}", px(26), theme.TEXT, "rs")
        broken = self.timeline.infractions(step)
        if broken:
            # One line between the outcome and the names of the views.
            sizes = range(px(15), px(9), -1)
            size, lines = theme.fit_text(broken, sizes, self.layout.side, px(19))
            at = (box.right, box.top + px(66) + size)
            theme.stamp_text(frame, at, lines[0], size, theme.FAILURE, "rs")

    def _stamp_outcome(self, frame: np.ndarray) -> None:
        import cv2

        px, (text, colour) = self._px, self.outcome
        right, top = self.header.right, self.header.top + px(34)
        left = right - theme.text_width(text, px(20)) - px(28)
        radius, bottom = px(14), top + px(28)
        cv2.rectangle(frame, (left + radius, top), (right - radius, bottom), colour, -1)
        for x in (left + radius, right - radius):
            cv2.circle(frame, (x, top + radius), radius, colour, -1, cv2.LINE_AA)
        middle = ((left + right) / 2, top + px(14))
        theme.stamp_text(frame, middle, text, px(20), theme.BACKGROUND, "mm")

    def _view(self, role: str, box: Box, step: int) -> np.ndarray:
        rows = np.asarray(self.episode.frame_step)
        row = max(0, int(np.searchsorted(rows, step, side="right")) - 1)
        known = self._pictures.get(role)
        if known is None or known[0] != row:
            known = row, enlarge(self.episode.frames[role][row], box)
            self._pictures[role] = known
        return known[1]
