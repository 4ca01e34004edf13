"""Leaving the route altogether."""

from __future__ import annotations

MAX_DEVIATION = 30.0
"""m, the leaderboard's limit."""


def deviates(route_offset: float, limit: float = MAX_DEVIATION) -> bool:
    """Whether the ego is more than ``limit`` m from its route."""
    return route_offset > limit
