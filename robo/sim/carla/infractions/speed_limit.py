"""The speed limit that holds for the ego."""

from __future__ import annotations

DEFAULT_LIMIT = 6.0
"""m/s, where the simulator knows no limit yet (right after spawning)."""


def speed_limit(kmh: float | None) -> float:
    """Limit in m/s from the client's km/h; 6 m/s where it is None or not positive (CaRL)."""
    return kmh / 3.6 if kmh is not None and kmh > 0.0 else DEFAULT_LIMIT
