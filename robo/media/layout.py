"""Where the parts of a reward video lie: side by side in wide pictures, stacked in narrow ones."""

from __future__ import annotations

from dataclasses import dataclass

from robo.media.plot_canvas import Box
from robo.media.video import VideoError

_WIDE = 1.3
"""Width over height from which the two panels lie side by side."""


@dataclass(frozen=True)
class Layout:
    """Boxes of the parts, in pixels."""

    scale: float
    """Pixels per unit; sizes are given for 1280x720 (wide) or 720x810 (narrow)."""
    header: Box
    """Title, instruction, step and outcome."""
    views: Box
    """Camera views may fill this."""
    rail: Box
    """The events in time."""
    left: Box
    """Panel of what describes states: progress, potential, hops."""
    right: Box
    """Panel of what is paid: the reward and its terms."""
    side: int
    """Width at the header's right that belongs to step and outcome."""

    @classmethod
    def of(cls, width: int, height: int) -> Layout:
        """The layout of a picture.

        Raises:
            VideoError: where text would be too small to read.
        """
        wide = width / height >= _WIDE
        base = (1280, 720) if wide else (720, 810)
        scale = min(width / base[0], height / base[1])
        if scale < 0.5:
            raise VideoError(
                f"reward video of {width}x{height} is too small, use 640x360 or more (as much for "
                "each of those side by side)"
            )

        def px(pixels: float) -> int:
            return round(pixels * scale)

        margin, gap = px(24), px(14)
        bottom = height - px(18)
        panel = px(278) if wide else px(196)
        top = bottom - panel if wide else bottom - 2 * panel - gap
        inner = width - 2 * margin
        if wide:
            middle = margin + round(0.38 * inner)
            left = Box(margin, top, middle - gap // 2, bottom)
            right = Box(middle + gap // 2, top, width - margin, bottom)
        else:
            left = Box(margin, top, width - margin, top + panel)
            right = Box(margin, top + panel + gap, width - margin, bottom)
        rail = Box(margin, top - px(36), width - margin, top - px(8))
        views = Box(margin, px(122), width - margin, rail.top - px(4))
        header = Box(margin, px(14), width - margin, px(92))
        return cls(scale, header, views, rail, left, right, px(330 if wide else 236))
