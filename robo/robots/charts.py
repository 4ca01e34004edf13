"""Small SVG charts for the report: text in, text out, no library and no script."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from robo.media.theme import FAILURE, LINES, MUTED, SUCCESS, THRESHOLD, Colour

OUTCOME_COLOURS: dict[str, Colour] = {
    "success": SUCCESS,
    "partial": THRESHOLD,
    "failure": FAILURE,
    "missing": MUTED,
}
OUTCOME_SIGNS = {"success": "✓", "partial": "~", "failure": "✕", "missing": "·"}
WIDTH = 720


def css(colour: Colour) -> str:
    """The colour as CSS."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def line_css(index: int) -> str:
    """Colour of the ``index``-th policy."""
    return css(LINES[index % len(LINES)])


def text(value: object) -> str:
    """Escaped for HTML."""
    return html.escape(str(value), quote=True)


def short(name: str, length: int) -> str:
    """The end of a long name, which is where run folders differ."""
    return name if len(name) <= length else "…" + name[1 - length :]


def brief(name: str, length: int) -> str:
    """Both ends of a long name: rewards differ in their kind and in the file that they read."""
    head = length // 2
    return name if len(name) <= length else name[:head] + "…" + name[head + 1 - length :]


def svg(height: int, label: str, parts: Sequence[str], width: int = WIDTH) -> str:
    """A picture of ``width`` x ``height`` that scales with the page."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def intervals(
    rows: Sequence[tuple[str, float, float, float, str]],
    low: float,
    high: float,
    label: str,
    zero: float | None = None,
) -> str:
    """Points with intervals, a row each.

    Args:
        rows: name, value, lower and upper end, colour.
        low: left end of the axis.
        high: right end of it.
        label: for readers who cannot see it.
        zero: where to draw a line across all rows.
    """
    left, right, step = 190, WIDTH - 90, 34
    height = step * len(rows) + 34

    def at(value: float) -> float:
        return left + (right - left) * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        x, bottom = at(value), height - 26
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" class="tick">{value:.0%}</text>')
    if zero is not None:
        x = at(zero)
        parts.append(f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 26}"/>')
    for i, (name, value, bottom, top, colour) in enumerate(rows):
        y = 4 + step * i + step / 2
        parts += [
            f'<text x="{left - 12}" y="{y + 5}" class="name">{text(name)}</text>',
            f'<line x1="{at(bottom):.1f}" x2="{at(top):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="4" stroke-linecap="round"/>',
            f'<circle cx="{at(value):.1f}" cy="{y}" r="7" fill="{colour}"/>',
            f'<text x="{right + 14}" y="{y + 5}">{value:{"+" if low < 0 else ""}.0%}</text>',
        ]
    return svg(height, label, parts)


def lines(
    series: Sequence[tuple[Sequence[float], Sequence[float], str]],
    label: str,
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_name: str,
    mark: float | None = None,
    mark_name: str = "",
    opacity: float = 1.0,
    y_text: Callable[[float], str] = "{:.3g}".format,
) -> str:
    """Curves of (x, y, colour) over common axes, with one dashed line across."""
    left, right, top, bottom, height = 60, WIDTH - 20, 14, 190, 226
    width_x = max(x_range[1] - x_range[0], 1e-9)
    width_y = max(y_range[1] - y_range[0], 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        y = min(max(y, y_range[0]), y_range[1])
        return (
            left + (right - left) * (x - x_range[0]) / width_x,
            bottom - (bottom - top) * (y - y_range[0]) / width_y,
        )

    parts = []
    for i in range(5):
        value = y_range[0] + width_y * i / 4
        y = at(x_range[0], value)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" class="name">{y_text(value)}</text>')
        value = x_range[0] + width_x * i / 4
        x = at(value, y_range[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="tick">{value:.3g}</text>')
    parts.append(f'<text x="{right}" y="{height - 4}" class="name">{text(x_name)}</text>')
    if mark is not None:
        y = at(x_range[0], mark)[1]
        parts.append(
            f'<line class="zero" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left + 8}" y="{y - 6:.1f}" class="small">{text(mark_name)}</text>'
        )
    for x_values, y_values, colour in series:
        points = (at(x, y) for x, y in zip(x_values, y_values, strict=True))
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-opacity="{opacity}"/>'
        )
    return svg(height, label, parts)


def histogram(counts: Sequence[int], edges: Sequence[float], label: str) -> str:
    """Bars of ``counts`` over bins that begin at ``edges``, milliseconds."""
    left, right, bottom, height = 60, WIDTH - 20, 110, 140
    width, most = (right - left) / len(counts), max([*counts, 1])
    parts = []
    for i, count in enumerate(counts):
        x, tall = left + i * width, 90 * count / most
        parts.append(
            f'<rect x="{x + 2:.1f}" y="{bottom - tall:.1f}" width="{width - 4:.1f}" '
            f'height="{tall:.1f}" rx="2" class="bar"><title>{count}</title></rect>'
        )
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="tick">{edges[i]:g}</text>')
    parts.append(f'<text x="{right}" y="{height - 2}" class="name">ms</text>')
    return svg(height, label, parts)
