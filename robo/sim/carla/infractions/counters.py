"""A violation that goes on counting for a while after it ended."""

from __future__ import annotations

PENALTY_TICKS = 500
"""Ticks that a violation stays active (50 s at 10 Hz): CaRL's Python configuration."""


class TickCounter:
    """Active on the violating tick and the 499 after it; a new violation starts it afresh."""

    def __init__(self, ticks: int = PENALTY_TICKS) -> None:
        """Inactive; ``ticks`` is how long a violation lasts, its own tick included."""
        self.ticks = ticks
        self.remaining = 0
        """Ticks for which it is active, this one included; 0 when inactive."""

    @property
    def active(self) -> bool:
        """Whether a violation happened now or less than ``ticks`` ticks ago."""
        return self.remaining > 0

    def update(self, violated: bool) -> bool:
        """Count one tick; returns :attr:`active`."""
        self.remaining = self.ticks if violated else max(0, self.remaining - 1)
        return self.active

    def state_dict(self) -> dict[str, int]:
        """The count."""
        return {"remaining": self.remaining}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.remaining = int(state["remaining"])
