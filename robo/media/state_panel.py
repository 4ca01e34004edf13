"""The panel of what describes states: progress, potential and other curves, hops, thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.media import theme
from robo.media.plot_canvas import Box, Curve, Plot, Scale, value_label
from robo.media.traces import RewardTrace


@dataclass
class StatePanel:
    """Curves over the states s_0 ... s_L, with the current value of each."""

    box: Box
    trace: RewardTrace
    steps: int
    """L."""
    scale: float
    """Pixels per unit."""
    plot: Plot = field(init=False)
    labels: list[str] = field(init=False, default_factory=list)
    """Every text of the still part."""

    def __post_init__(self) -> None:
        """Lay the panel out."""
        curves, value_scale, tick = self._curves()
        self._rows = self._arrange(curves)
        rows = 34 + 22 * (len(self._rows) + bool(self.thresholds))
        px, box = self._px, self.box
        area = Box(
            box.left + px(66), box.top + px(rows + 10), box.right - px(16), box.bottom - px(54)
        )
        markers = self._markers(curves[0])
        self.plot = Plot(
            area,
            self.steps,
            value_scale,
            curves,
            px(16),
            self.thresholds,
            tick_step=tick,
            markers=markers,
        )

    def _px(self, pixels: float) -> int:
        return round(pixels * self.scale)

    @property
    def thresholds(self) -> dict[str, float]:
        """Dashed lines; they belong to the progress."""
        return self.trace.thresholds if self.trace.progress is not None else {}

    def _curves(self) -> tuple[list[Curve], Scale, float | None]:
        trace, state = self.trace, np.arange(self.steps + 1)
        named: dict[str, np.ndarray] = {}
        if trace.progress is not None:
            named[trace.progress_name] = np.asarray(trace.progress, np.float64)
        named |= {name: np.asarray(v, np.float64) for name, v in trace.curves.items()}
        if not named:
            total = np.asarray(trace.total, np.float64)
            named["return so far"] = np.concatenate([[0.0], np.cumsum(total)])
            value_scale, tick = Scale.of(named["return so far"]), None
        else:
            shown = [0.0, 1.0, *self.thresholds.values(), *np.concatenate(list(named.values()))]
            low, high = float(min(shown)), float(max(shown))
            value_scale, tick = Scale(low, high), 0.25 if high - low < 1.6 else None
        colours = [theme.ACCENT, theme.POTENTIAL]
        colours += [theme.line_colour(i + 3) for i in range(len(named))]
        return (
            [
                Curve(name, state, value, colour, (3 if i == 0 else 2) * self.scale, held=True)
                for i, ((name, value), colour) in enumerate(
                    zip(named.items(), colours, strict=False)
                )
            ],
            value_scale,
            tick,
        )

    def _markers(self, curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        hops = self.trace.hops
        if hops is None:
            return None
        step = np.asarray(hops.step, np.int64)
        return step, curve.value[step], np.asarray(hops.value, np.float64)

    def _arrange(self, curves: list[Curve]) -> list[list[tuple[str, theme.Colour, int]]]:
        """Names of the further curves and of the hops in rows: name, colour, left edge."""
        size, room = self._px(16), self.box.width - self._px(32)
        entries = [(curve.name, curve.colour) for curve in curves[1:]]
        if self.trace.hops is not None:
            entries.append((self.trace.hops.name, theme.MUTED))
        rows: list[list[tuple[str, theme.Colour, int]]] = []
        left = room
        for name, colour in entries:
            width = theme.text_width(f"{name}  +0.000", size) + 3 * size
            if left + width > room or not rows:
                rows.append([])
                left = 0
            rows[-1].append((name, colour, self.box.left + self._px(16) + left))
            left += width
        return rows

    def draw(self, draw: Any) -> None:
        """Draw the still part on Pillow's ``draw``."""
        px, box = self._px, self.box
        draw.rounded_rectangle(box.bounds(), radius=px(10), fill=theme.PANEL)
        title = self.plot.curves[0].name
        theme.draw_text(
            draw, (box.left + px(16), box.top + px(29)), title, px(18), self.plot.curves[0].colour
        )
        self.labels.append(title)
        for i, row in enumerate(self._rows):
            y = box.top + px(46 + 22 * i)
            for name, colour, left in row:
                draw.rectangle((left, y - px(1), left + px(14), y + px(1)), fill=colour)
                theme.draw_text(draw, (left + px(22), y), name, px(16), theme.TEXT, "lm")
                self.labels.append(name)
        self._draw_threshold_names(draw)
        self.plot.draw_axes(draw)

    def _draw_threshold_names(self, draw: Any) -> None:
        names = [f"{name} {value:.3g}" for name, value in self.thresholds.items()]
        if not names:
            return
        px, box = self._px, self.box
        text = ", ".join(names)
        size, lines = theme.fit_text(text, range(px(16), px(7), -1), box.width - px(56), px(24))
        y = box.top + px(48 + 22 * len(self._rows))
        for x in range(box.left + px(16), box.left + px(40), px(12)):
            draw.line((x, y, x + px(6), y), fill=theme.THRESHOLD, width=max(1, px(2)))
        theme.draw_text(draw, (box.left + px(46), y), lines[0], size, theme.THRESHOLD, "lm")
        self.labels += names

    def stamp(self, frame: np.ndarray, step: int) -> None:
        """Write the values at state ``step`` on ``uint8 [H, W, 3]``."""
        px, box = self._px, self.box
        first, *rest = self.plot.curves
        now = float(first.value[step])
        text = value_label(now) if first.name == "return so far" else f"{now:.3f}"
        at = (box.right - px(16), box.top + px(29))
        theme.stamp_text(frame, at, text, px(22), first.colour, "rs")
        values = {curve.name: f"{float(curve.value[step]):.3f}" for curve in rest}
        hops = self.trace.hops
        if hops is not None:
            seen = int(np.searchsorted(hops.step, step, side="right")) - 1
            known = seen >= 0 and np.isfinite(hops.value[seen])
            values[hops.name] = value_label(float(hops.value[seen])) if known else "none"
        for i, row in enumerate(self._rows):
            y = box.top + px(46 + 22 * i)
            for name, colour, left in row:
                x = left + px(22) + theme.text_width(f"{name} ", px(16)) + px(4)
                theme.stamp_text(frame, (x, y), values[name], px(16), colour, "lm")
