"""Collisions, by what was hit."""

from __future__ import annotations

from collections.abc import Iterable

from robo.sim.carla.driving_state import CollisionEvent


def collision_signals(events: Iterable[CollisionEvent], speed: float) -> dict[str, float]:
    """The collision signals of one step.

    Args:
        events: Contacts since the last step.
        speed: The ego's speed just before, m/s.

    Returns:
        ``collision``, ``collision_vehicle``, ``collision_walker``, ``collision_static`` (0 or 1;
        anything that is neither vehicle nor walker is static) and ``collision_speed`` (``speed``
        where anything was hit, else 0).
    """
    kinds = {event.other if event.other in ("vehicle", "walker") else "static" for event in events}
    return {
        "collision": float(bool(kinds)),
        "collision_vehicle": float("vehicle" in kinds),
        "collision_walker": float("walker" in kinds),
        "collision_static": float("static" in kinds),
        "collision_speed": float(speed) if kinds else 0.0,
    }
