"""The rail of events below the views: what happened when, revealed as time goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robo.media import theme
from robo.media.events import Event
from robo.media.plot_canvas import Box

COLOURS: dict[str, theme.Colour] = {
    "success": theme.SUCCESS,
    "infraction": theme.FAILURE,
    "limit": theme.FAILURE,
    "keyframe": theme.EVENT,
}


@dataclass(frozen=True)
class Timeline:
    """A line from step 0 to L with a mark for every event."""

    box: Box
    steps: int
    """L."""
    events: Sequence[Event]
    """In the order of time."""
    size: int
    """Of the text, in pixels."""

    def x(self, step: float) -> int:
        """Horizontal pixel of a step."""
        return self.box.left + round(step / self.steps * self.box.width)

    def draw(self, frame: np.ndarray, step: float) -> None:
        """Draw the rail at ``step`` on ``uint8 [H, W, 3]``: marks of what has happened so far.

        Every mark is drawn; where names would overlap, the newest is written.
        """
        import cv2

        y, now = self.box.bottom - self.size // 2, self.x(step)
        thick = max(2, self.size // 6)
        frame[y : y + thick, self.box.left : self.box.right] = theme.GRID
        frame[y : y + thick, self.box.left : max(now, self.box.left + 1)] = theme.AXIS
        free = self.box.right
        for event in reversed([event for event in self.events if event.step <= step]):
            x, colour = self.x(event.step), COLOURS[event.kind]
            centre, radius = (x, y + thick // 2), round(0.36 * self.size)
            cv2.circle(frame, centre, radius, colour, -1, cv2.LINE_AA)
            width = theme.text_width(event.name, self.size)
            left = min(x - width // 2, self.box.right - width)
            if max(left, self.box.left) + width <= free:
                at = (max(left, self.box.left), y - self.size // 2)
                theme.stamp_text(frame, at, event.name, self.size, colour, "ls")
                free = max(left, self.box.left) - self.size // 2
        cv2.circle(
            frame, (now, y + thick // 2), round(0.3 * self.size), theme.TEXT, -1, cv2.LINE_AA
        )

    def infractions(self, step: float) -> str:
        """How often each infraction has happened so far, in words; empty without one."""
        counts = Counter(e.name for e in self.events if e.kind == "infraction" and e.step <= step)
        return ", ".join(f"{name} {count}" for name, count in counts.items())
