"""Would boxes overlap within a second if everyone drove straight on? This is CaRL's TTC."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from robo.sim.carla.driving_state import Bodies, Ego

HORIZON = np.arange(1, 10, 2) * 0.1
"""s ahead at which overlaps are looked for: 0.1, 0.3, 0.5, 0.7, 0.9."""
MIN_SPEED = 0.1
"""m/s below which the ego causes nothing."""


def boxes_overlap(
    offset: np.ndarray,
    yaw: float,
    extent: np.ndarray,
    other_yaw: np.ndarray,
    other_extent: np.ndarray,
) -> np.ndarray:
    """Whether oriented rectangles overlap one given rectangle (separating axes).

    Args:
        offset: ``[M, 2]``, m: centres of the others, seen from the one.
        yaw: rad, of the one.
        extent: ``[2]``, m: half sizes of the one.
        other_yaw: ``[M]``, rad.
        other_extent: ``[M, 2]``, m: half sizes.

    Returns:
        bool ``[M]``; touching counts.
    """
    turn = other_yaw - yaw
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    own_cos, own_sin = np.cos(yaw), np.sin(yaw)
    along = np.abs(offset[:, 0] * own_cos + offset[:, 1] * own_sin)
    across = np.abs(offset[:, 1] * own_cos - offset[:, 0] * own_sin)
    far_cos, far_sin = np.cos(other_yaw), np.sin(other_yaw)
    other_along = np.abs(offset[:, 0] * far_cos + offset[:, 1] * far_sin)
    other_across = np.abs(offset[:, 1] * far_cos - offset[:, 0] * far_sin)
    length, width = other_extent[:, 0], other_extent[:, 1]
    return (
        (along <= extent[0] + length * cos + width * sin)
        & (across <= extent[1] + length * sin + width * cos)
        & (other_along <= length + extent[0] * cos + extent[1] * sin)
        & (other_across <= width + extent[0] * sin + extent[1] * cos)
    )


def _within_reach(bodies: Bodies, here: np.ndarray, own_reach: float, latest: float) -> np.ndarray:
    """Which bodies could come near at all: a cheap bound that leaves few for the exact test.

    Args:
        bodies: of one kind, K.
        here: ``[2]``, m: the ego's centre.
        own_reach: m that the ego's box and its way reach.
        latest: s, the end of the horizon.
    """
    reach = bodies.extent[:, 0] + bodies.extent[:, 1] + latest * np.abs(bodies.forward_speed)
    return np.abs(bodies.center[:, :2] - here).max(1) <= reach + own_reach


def violates_time_to_collision(
    ego: Ego, others: Iterable[Bodies], horizon: np.ndarray = HORIZON
) -> bool:
    """Whether the ego's box meets another's at the same time within the horizon.

    Every box moves straight along its own heading at its present forward speed. Never at an ego
    speed below 0.1 m/s.

    Args:
        ego: The driven vehicle.
        others: Vehicles, walkers and static props.
        horizon: ``[D]``, s, ascending.
    """
    if ego.speed < MIN_SPEED:
        return False
    here, own_speed, latest = ego.center[:2], ego.forward_speed, float(horizon[-1])
    own_reach = float(ego.extent[0] + ego.extent[1]) + latest * abs(own_speed) + 1.0
    groups = []
    for group in others:
        if len(group):
            kept = _within_reach(group, here, own_reach, latest)
            if kept.any():
                groups.append((group, kept))
    if not groups:
        return False
    center = np.concatenate([group.center[kept, :2] for group, kept in groups])
    yaw = np.concatenate([group.yaw[kept] for group, kept in groups])
    speed = np.concatenate([group.forward_speed[kept] for group, kept in groups])
    extent = np.concatenate([group.extent[kept, :2] for group, kept in groups])
    heading = np.concatenate([group.heading[kept] for group, kept in groups])
    velocity = speed[:, None] * heading
    velocity -= own_speed * ego.forward
    offset = (center - here) + horizon[:, None, None] * velocity
    # Circumscribed circles leave few pairs for the exact test.
    reach = np.hypot(extent[:, 0], extent[:, 1]) + np.hypot(ego.extent[0], ego.extent[1])
    near = np.einsum("dki,dki->dk", offset, offset) <= reach * reach
    if not near.any():
        return False
    which = np.nonzero(near)[1]
    return bool(
        boxes_overlap(offset[near], ego.yaw, ego.extent[:2], yaw[which], extent[which]).any()
    )
