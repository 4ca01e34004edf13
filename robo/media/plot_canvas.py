"""Curves over the steps of an episode, drawn once and revealed step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.media import theme

# Curves are drawn this much larger and averaged down, which smooths their edges.
_SUPERSAMPLING = 4
# A peak this much above 90 % of the values would flatten them on a linear axis.
_PEAK_TO_TYPICAL = 8.0
# Hops below this are noise of the model and would cover the curve.
_SMALLEST_MARKER = 0.01


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left, top, right, bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    def bounds(self) -> tuple[int, int, int, int]:
        """The four numbers in Pillow's order."""
        return self.left, self.top, self.right, self.bottom

    def grown(self, pixels: int) -> Box:
        """The box with ``pixels`` more on every side."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)


@dataclass(frozen=True)
class Scale:
    """Values on the vertical axis: linear, or asinh where a few peaks dwarf the rest."""

    low: float
    high: float
    knee: float = 0.0
    """Size up to which the asinh axis is close to linear; 0 for a linear axis."""

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """The scale that shows ``values`` (any shape, finite) and 0, with a little room."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        low, high = min(0.0, flat.min(initial=0.0)), max(0.0, flat.max(initial=0.0))
        if high - low < 1e-9:
            return cls(-1.0, 1.0)
        size = np.abs(flat[np.abs(flat) > 1e-6 * (high - low)])
        typical = float(np.quantile(size, 0.9)) if len(size) else 0.0
        knee = typical if max(high, -low) > _PEAK_TO_TYPICAL * typical > 0 else 0.0
        linear = cls(low, high, knee)
        first, last = linear.bend(low), linear.bend(high)
        room = 0.06 * (last - first)
        return cls(
            linear.straighten(first - room if low < 0 else first),
            linear.straighten(last + room if high > 0 else last),
            knee,
        )

    def bend(self, value: Any) -> Any:
        """Value to axis units, monotonic."""
        return np.arcsinh(np.asarray(value) / self.knee) if self.knee else np.asarray(value)

    def straighten(self, units: Any) -> float:
        """Axis units to value."""
        return float(np.sinh(units) * self.knee) if self.knee else float(units)

    def fraction(self, value: Any) -> Any:
        """Height of ``value`` on the axis, 0 at the bottom to 1 at the top."""
        first, last = self.bend(self.low), self.bend(self.high)
        return (self.bend(value) - first) / (last - first)

    def ticks(self, count: int) -> list[float]:
        """Up to about ``count`` round values to label, 0 among them where it is shown."""
        if not self.knee:
            return round_values(self.low, self.high, count)
        chosen = [0.0]
        top = math.floor(math.log10(max(self.high, -self.low)))
        powers = range(top, math.floor(math.log10(self.knee)) - 1, -1)
        sizes = [multiple * 10.0**power for multiple in (1, 3) for power in powers]
        for value in (sign * size for size in sizes for sign in (1, -1)):
            if self.low <= value <= self.high:
                gap = min(abs(float(self.fraction(value) - self.fraction(c))) for c in chosen)
                if gap >= 0.7 / count:
                    chosen.append(value)
        return sorted(chosen)


def round_values(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten within [low, high], at most ``count``."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / max(count, 1)))
    step = next(
        power * m for m in (1, 2, 2.5, 5, 10, 20, 25, 50) if span / (power * m) <= count - 1 + 1e-9
    )
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    name: str
    step: np.ndarray
    """``[K]``, increasing: where each value is known, in steps."""
    value: np.ndarray
    """``[K]``, finite."""
    colour: theme.Colour
    width: float = 2.0
    """In pixels."""
    held: bool = False
    """Each value holds until the next is known; otherwise lines join them."""

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of the corners of the line."""
        if not self.held:
            return self.step, self.value
        return np.repeat(self.step, 2)[1:], np.repeat(self.value, 2)[:-1]


@dataclass(frozen=True)
class Bars:
    """One series of bars, a bar for each step; ``bottom`` and ``top`` stack it on others."""

    bottom: np.ndarray
    """``[L]``, where the bar of step t begins."""
    top: np.ndarray
    """``[L]``, where it ends."""
    colour: theme.Colour


def stack(values: Sequence[tuple[np.ndarray, theme.Colour]]) -> list[Bars]:
    """Bars stacked away from 0: what is paid upwards, what is taken downwards, in order."""
    bars: list[Bars] = []
    up = down = np.zeros(0)
    for value, colour in values:
        value = np.asarray(value, np.float64)
        if not len(up):
            up, down = np.zeros_like(value), np.zeros_like(value)
        bottom = np.where(value >= 0, up, down)
        bars.append(Bars(bottom, bottom + value, colour))
        up, down = up + np.maximum(value, 0), down + np.minimum(value, 0)
    return bars


@dataclass
class Plot:
    """Axes, thresholds, bars and curves in a box, revealed from step 0 on."""

    box: Box
    steps: int
    """L: the horizontal axis runs from 0 to L, with a little room for the outcome band."""
    scale: Scale
    curves: Sequence[Curve]
    font_size: int
    thresholds: dict[str, float] = field(default_factory=dict)
    """Name to value of dashed horizontal lines."""
    tick_step: float | None = None
    """Distance of the vertical axis's labels; None chooses round values."""
    bars: Sequence[Bars] = ()
    """Drawn under the curves; the bar of step t spans t ... t + 1."""
    markers: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """``[K]`` each: step, height and signed value of triangles, such as hops."""

    @property
    def end(self) -> float:
        """Right end of the horizontal axis in steps."""
        return self.steps * 1.03 + 0.2

    def x(self, step: Any) -> Any:
        """Horizontal pixel of a step."""
        return self.box.left + np.asarray(step) / self.end * self.box.width

    def y(self, value: Any) -> Any:
        """Vertical pixel of a value."""
        return self.box.bottom - self.scale.fraction(value) * self.box.height

    def _vertical_ticks(self) -> list[float]:
        if self.tick_step:
            return list(np.arange(self.scale.low, self.scale.high + 1e-9, self.tick_step))
        return self.scale.ticks(max(2, int(self.box.height / (2.0 * self.font_size))))

    def draw_axes(self, draw: Any) -> None:
        """Draw grid, labels and thresholds on Pillow's ``draw``."""
        box, size = self.box, self.font_size
        for value in self._vertical_ticks():
            y = round(float(self.y(value)))
            colour = theme.AXIS if abs(value) < 1e-12 else theme.GRID
            draw.line((box.left, y, box.right, y), fill=colour)
            theme.draw_text(draw, (box.left - 8, y), tick_label(value), size, theme.MUTED, "rm")
        columns = max(2, int(box.width / (3.6 * size)))
        for step in round_values(0, self.steps, min(columns, self.steps + 1)):
            if abs(step - round(step)) > 1e-9:
                continue  # there is no half step
            x = round(float(self.x(step)))
            draw.line((x, box.bottom, x, box.bottom + 5), fill=theme.AXIS)
            at = (x, box.bottom + 8)
            theme.draw_text(draw, at, tick_label(step), size, theme.MUTED, "ma")
        draw.line((box.left, box.top, box.left, box.bottom), fill=theme.AXIS)
        draw.line((box.left, box.bottom, box.right, box.bottom), fill=theme.AXIS)
        middle = ((box.left + box.right) // 2, box.bottom + 10 + round(1.15 * size))
        theme.draw_text(draw, middle, "step", size, theme.MUTED, "ma")
        for value in self.thresholds.values():
            y = round(float(self.y(value)))
            for x in range(box.left + 2, box.right, 12):
                draw.line((x, y, min(x + 6, box.right), y), fill=theme.THRESHOLD)

    def draw_curves(self, image: Any) -> None:
        """Draw all bars and curves, whole and smooth, on a Pillow image that holds the axes."""
        from PIL import Image, ImageDraw

        self._draw_bars(ImageDraw.Draw(image))
        area = self.box.grown(8)
        factor = _SUPERSAMPLING
        large = image.crop(area.bounds()).resize(
            (area.width * factor, area.height * factor), Image.Resampling.NEAREST
        )
        draw = ImageDraw.Draw(large)
        for curve in self.curves:
            step, value = curve.points()
            x = (self.x(step) - area.left) * factor
            y = (self.y(value) - area.top) * factor
            points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
            draw.line(points, fill=curve.colour, width=round(curve.width * factor), joint="curve")
        image.paste(
            large.resize((area.width, area.height), Image.Resampling.BOX), (area.left, area.top)
        )

    def _draw_bars(self, draw: Any) -> None:
        edge = np.round(self.x(np.arange(self.steps + 1))).astype(int)
        gap = 1 if len(edge) > 1 and edge[1] - edge[0] >= 4 else 0
        for bars in self.bars:
            first, last = self.y(bars.bottom), self.y(bars.top)
            for t in np.flatnonzero(bars.bottom != bars.top).tolist():
                top, bottom = sorted((round(float(first[t])), round(float(last[t]))))
                # Edges meet; the smallest payment still leaves a pixel.
                right = max(edge[t], edge[t + 1] - 1 - gap)
                draw.rectangle((edge[t], top, right, max(top, bottom - 1)), fill=bars.colour)

    def reveal(
        self,
        frame: np.ndarray,
        whole: np.ndarray,
        step: float,
        outcome: theme.Colour | None = None,
    ) -> None:
        """Copy bars and curves from ``whole`` to ``frame`` up to ``step``; the cursor there.

        Args:
            frame: uint8 ``[H, W, 3]`` that holds the axes; changed.
            whole: the same picture with all bars and curves.
            step: 0 ... L; between two steps only the cursor moves on.
            outcome: tints the last step and the room after it.
        """
        import cv2

        area = self.box.grown(8)
        seen = round(float(self.x(math.floor(step)))) + 1
        frame[area.top : area.bottom, area.left : seen] = whole[
            area.top : area.bottom, area.left : seen
        ]
        if outcome is not None:
            left = round(float(self.x(self.steps - 0.5)))
            part = frame[self.box.top : self.box.bottom, left : self.box.right]
            part[...] = (0.65 * part + 0.35 * np.array(outcome)).astype(np.uint8)
        self._reveal_markers(frame, step)
        x = round(float(self.x(step)))
        frame[self.box.top : self.box.bottom, x] = theme.TEXT
        for curve in self.curves:
            known = int(np.searchsorted(curve.step, step, side="right")) - 1
            if known >= 0:
                y = float(self.y(curve.value[known]))
                centre = (16 * x, round(16 * y))
                radius = round(16 * (2 + curve.width / 2))
                cv2.circle(frame, centre, radius, curve.colour, -1, cv2.LINE_AA, 4)

    def _reveal_markers(self, frame: np.ndarray, step: float) -> None:
        if self.markers is None:
            return
        import cv2

        at, height, value = self.markers
        known = (at <= step) & np.isfinite(value) & (np.abs(value) > _SMALLEST_MARKER)
        x, y = self.x(at[known]), self.y(height[known])
        for column, row, one in zip(x, y, value[known], strict=True):
            half = self.font_size * (0.22 + 0.3 * min(1.0, math.sqrt(abs(one))))
            up = 1 if one > 0 else -1
            # Above the curve for a hop forwards, below it for one backwards.
            base = row - up * 0.35 * self.font_size
            corners = [(column - half, base), (column + half, base)]
            corners.append((column, base - up * 1.6 * half))
            points = np.round(16 * np.array(corners)).astype(np.int32)
            colour = theme.SUCCESS if up > 0 else theme.FAILURE
            cv2.fillPoly(frame, [points], colour, cv2.LINE_AA, 4)


def tick_label(value: float) -> str:
    """Short text of a round value."""
    return "0" if abs(value) < 1e-12 else f"{value:.4g}"


def value_label(value: float) -> str:
    """Signed text of a measured value, with a steady number of digits."""
    size = abs(value)
    if size < 5e-4:
        return "+0.000"
    if size >= 1e5:
        return f"{value:+.2e}"
    return f"{value:+.1f}" if size >= 100 else f"{value:+.3f}"
