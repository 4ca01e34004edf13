"""The panel of what is paid: the terms of each step stacked to the total, and every name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.media import theme
from robo.media.legend import Legend
from robo.media.plot_canvas import Box, Curve, Plot, Scale, stack
from robo.media.traces import RewardTrace


@dataclass
class RewardPanel:
    """Bars of the terms that add up to the total; lines for those that do not."""

    box: Box
    trace: RewardTrace
    steps: int
    """L."""
    scale: float
    """Pixels per unit."""
    plot: Plot = field(init=False)
    legend: Legend = field(init=False)
    legend_box: Box = field(init=False)
    title: str = field(init=False)
    labels: list[str] = field(init=False, default_factory=list)
    """Every text of the still part."""

    def __post_init__(self) -> None:
        """Lay the panel out.

        Raises:
            VideoError: more terms than can be named readably.
        """
        trace, box, px = self.trace, self.box, self._px
        arrival = np.arange(1, self.steps + 1)
        total = np.asarray(trace.total, np.float64)
        stacked = trace.stacked
        terms = [
            (name, np.asarray(value, np.float64), theme.line_colour(i))
            for i, (name, value) in enumerate(trace.terms.items())
        ]
        bars = stack([(v, c) for name, v, c in terms if name in stacked] or [(total, theme.TOTAL)])
        self.curves = [Curve("total", arrival, total, theme.TOTAL, 4 * self.scale)]
        for name, value, colour in terms:
            # "total" is taken by the sum itself.
            shown = f"{name} (term)" if name == "total" else name
            width = (11 if name in stacked else 2) * self.scale
            self.curves.append(Curve(shown, arrival, value, colour, width))
        lines = [
            curve
            for curve, (name, *_) in zip(self.curves[1:], terms, strict=True)
            if name not in stacked
        ]
        self._legend(px(58))
        area = Box(
            box.left + px(72),
            box.top + px(44),
            self.legend_box.left - px(24),
            box.bottom - px(54),
        )
        edges = [edge for series in bars for edge in (series.bottom, series.top)]
        scale = Scale.of(np.concatenate([total, *edges, *(line.value for line in lines)]))
        # The total steps over the bars: its value belongs to the whole of step t.
        over = Curve(
            "total",
            np.repeat(np.arange(self.steps + 1), 2)[1:-1],
            np.repeat(total, 2),
            theme.TOTAL,
            2 * self.scale,
        )
        self.plot = Plot(area, self.steps, scale, [*lines, over], px(16), bars=bars)
        notes = ["asinh axis"] if scale.knee else []
        if lines:
            notes.append("lines: not part of the sum" if stacked else "lines do not add up to it")
        self.title = "reward per step" + (f" ({'; '.join(notes)})" if notes else "")

    def _px(self, pixels: float) -> int:
        return round(pixels * self.scale)

    def _legend(self, margin: int) -> None:
        px, box = self._px, self.box
        width = round(0.6 * box.width)
        self.legend = Legend.fit(self.curves, width, box.height - margin, px(20), px(16))
        right = box.right - px(16)
        self.legend_box = Box(
            right - self.legend.width, box.top + px(44), right, box.bottom - px(14)
        )

    def draw(self, draw: Any) -> None:
        """Draw the still part on Pillow's ``draw``."""
        px, box = self._px, self.box
        draw.rounded_rectangle(box.bounds(), radius=px(10), fill=theme.PANEL)
        at = (box.left + px(16), box.top + px(29))
        theme.draw_text(draw, at, self.title, px(18), theme.MUTED)
        self.labels.append(self.title)
        self.plot.draw_axes(draw)
        self.labels += self.legend.draw_names(draw, self.legend_box)

    def stamp(self, frame: np.ndarray, step: int) -> None:
        """Write the rewards of the step that led to state ``step`` on ``uint8 [H, W, 3]``."""
        if step > 0:
            values = {curve.name: float(curve.value[step - 1]) for curve in self.curves}
            self.legend.stamp_values(frame, self.legend_box, values)
