"""Standing still for too long."""

from __future__ import annotations

MIN_SPEED = 0.1
"""m/s below which the ego stands."""
MAX_TIME = 90.0
"""s that it may stand."""


class BlockedDetector:
    """Fires once the ego has been slower than 0.1 m/s for more than 90 s in a row (CaRL)."""

    def __init__(self, max_time: float = MAX_TIME, min_speed: float = MIN_SPEED) -> None:
        """Limits in s and m/s."""
        self.max_time = max_time
        self.min_speed = min_speed
        self.standing = 0.0
        """s stood so far."""

    def reset(self) -> None:
        """Start counting anew."""
        self.standing = 0.0

    def update(self, speed: float, delta: float) -> bool:
        """Take one step of ``delta`` s at ``speed`` m/s; returns whether the ego is blocked."""
        self.standing = self.standing + delta if speed < self.min_speed else 0.0
        # Summed steps of 0.1 s are not exact: 900 of them are 90 s, and not more.
        return self.standing > self.max_time + 1e-6

    @property
    def time_left(self) -> float:
        """Share of the time that is left before blocked, [0, 1]."""
        return max(0.0, 1.0 - self.standing / self.max_time)

    def state_dict(self) -> dict[str, float]:
        """Seconds stood."""
        return {"standing": self.standing}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.standing = float(state["standing"])
