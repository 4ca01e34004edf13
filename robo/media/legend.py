"""A legend that always shows every curve: more columns or smaller text, never fewer names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robo.media import theme
from robo.media.plot_canvas import Box, Curve, value_label
from robo.media.video import VideoError

_SMALLEST = 8


@dataclass(frozen=True)
class Legend:
    """Names in columns, each with room for its current value."""

    curves: Sequence[Curve]
    size: int
    """Text size in pixels."""
    rows: int
    """Entries per column."""
    name_width: int
    """Widest name in pixels."""
    value_width: int
    """Widest value in pixels."""

    @classmethod
    def fit(
        cls, curves: Sequence[Curve], width: int, height: int, largest: int, smallest: int
    ) -> Legend:
        """The legend with the largest text that fits; of equals, that with fewer columns.

        Args:
            curves: one entry each.
            width: available, in pixels.
            height: available, in pixels.
            largest: text size to start from, in pixels.
            smallest: text size below which more columns are preferred, in pixels; text gets
                smaller only where no number of columns helps.

        Raises:
            VideoError: if the names do not fit at any readable size.
        """
        labels = [value_label(float(v)) for curve in curves for v in curve.value]
        for floor in (smallest, _SMALLEST):
            for size in range(largest, floor - 1, -1):
                names = max(theme.text_width(curve.name, size) for curve in curves)
                values = max(theme.text_width(label, size) for label in set(labels))
                rows = max(1, int(height / (1.3 * size)))
                legend = cls(curves, size, min(rows, len(curves)), names, values)
                if legend.width <= width:
                    return legend
        raise VideoError(
            f"{len(curves)} reward terms with names of up to "
            f"{max(len(curve.name) for curve in curves)} characters do not fit the legend; write "
            "a wider and higher video, or shorten the names"
        )

    @property
    def columns(self) -> int:
        """Number of columns."""
        return -(-len(self.curves) // self.rows)

    @property
    def column_width(self) -> int:
        """Width of a column and the gap after it, in pixels."""
        return round(self.name_width + self.value_width + 3.6 * self.size)

    @property
    def width(self) -> int:
        """Width of all columns in pixels."""
        return self.columns * self.column_width - self.size

    def _entries(self, box: Box) -> list[tuple[Curve, int, float]]:
        spacing = min(1.7 * self.size, box.height / self.rows)
        return [
            (
                curve,
                box.left + (i // self.rows) * self.column_width,
                box.top + (i % self.rows + 0.5) * spacing,
            )
            for i, curve in enumerate(self.curves)
        ]

    def draw_names(self, draw: Any, box: Box) -> list[str]:
        """Draw the colours and names, and return the names drawn."""
        drawn = []
        for curve, left, y in self._entries(box):
            half = curve.width / 2 + 0.5
            draw.rectangle((left, y - half, left + self.size, y + half), fill=curve.colour)
            at = (left + 1.5 * self.size, y)
            theme.draw_text(draw, at, curve.name, self.size, theme.TEXT, "lm")
            drawn.append(curve.name)
        return drawn

    def stamp_values(self, frame: Any, box: Box, values: Mapping[str, float]) -> None:
        """Draw the current values on ``uint8 [H, W, 3]``; names without one stay blank."""
        for curve, left, y in self._entries(box):
            if curve.name in values:
                right = left + self.column_width - self.size
                text = value_label(values[curve.name])
                theme.stamp_text(frame, (right, y), text, self.size, curve.colour, "rm")
