"""Where a hand that points down can take a thing, from the surfaces of the scene.

The rule is one for all things: two fingers come down with nothing under them, and something thin
enough is between them. It gives the rim of a bowl or mug, the narrow side of a box, the middle of
a can or bottle, and keeps away from neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo.sim.robosuite.experts.arm import Pose, yaw_pose

YAWS = 16
"""Directions that are tried, over half a turn."""
DEPTHS = (0.012, 0.02, 0.03, 0.038)
"""Depths of the fingertips' centre below the top of the thing that are tried, m."""
TIP = 0.012
"""From that centre to the end of the fingers, m."""
PAD = 0.009
"""Half the width and height of the fingers' pads, m."""
WIDE = 0.066
"""Widest thing that is taken; open fingers are 0.08 apart, m."""
INNER, OUTER, SIDE = 0.037, 0.068, 0.016
"""An open finger, from the middle: along the opening, and half its width, m."""
PALM, PALM_SIDE, PALM_HEIGHT = 0.105, 0.04, 0.042
"""The hand above the fingers: half its sides, and its height above the fingertips' centre, m."""
THIN = 0.02
"""Width of walls and rims, which are held best near their edge: lower down they lean, and slip
out of the fingers, m."""
FAR = 0.68
"""Distance from the robot's base from which the arm is nearly stretched, m."""
GAP = 0.006
"""Sideways distance from which two parts of a thing count as apart, m."""
TOUCH = 0.003
"""Depth behind its outermost point to which a pad takes hold of a surface, m."""
SLIVER = 0.006
"""Breadth of surface within that depth below which a pad meets a corner, not a face: a face that
slopes by more than about 27 degrees to the pad, on which the thing turns or slips out, m."""
CORNER = 2.0
"""Cost of a grasp by a corner: it comes after all others."""


@dataclass(frozen=True)
class Grasp:
    """One way to take a thing from above."""

    pose: Pose
    """Of the hand."""
    width: float
    """Of what comes between the fingers, m."""
    cost: float
    """The lower the better."""


def plan(thing: np.ndarray, others: np.ndarray, finger_yaw: float, base: np.ndarray) -> list[Grasp]:
    """Grasps of ``thing``, the best first.

    Narrow and central ones are good, deep ones where the thing is not a thin wall, those near the
    robot, and those for which the hand turns little. Those that hold a corner come last.

    Args:
        thing: ``[P, 3]``, points on its surface, m.
        others: ``[Q, 3]``, points on the surfaces of what must not be hit, m.
        finger_yaw: present direction of the fingers' opening, rad.
        base: ``[2]``, where the robot stands, m.
    """
    bottom, top = float(thing[:, 2].min()), float(thing[:, 2].max())
    middle = (thing[:, :2].min(axis=0) + thing[:, :2].max(axis=0)) / 2
    reach = np.ptp(thing[:, :2], axis=0).max() / 2 + PALM + OUTER
    near = others[np.abs(others[:, :2] - middle).max(axis=1) < reach]
    everything = np.concatenate([thing, near])
    found = []
    for depth in DEPTHS:
        height = max(top - depth, bottom + TIP)
        for yaw in finger_yaw + np.arange(YAWS) * np.pi / YAWS:
            turn = abs((yaw - finger_yaw + np.pi / 2) % np.pi - np.pi / 2)
            for along, side, width, corner in _between(thing, height, yaw):
                if not _free(everything, along, side, height, yaw):
                    continue
                u, v = _axes(yaw)
                place = along * u + side * v
                reached = top - height
                cost = (
                    4 * width
                    + 0.25 * turn
                    + 8 * float(np.linalg.norm(place - middle))
                    + 8 * (abs(reached - DEPTHS[0]) if width < THIN else -reached)
                    + 8 * max(0.0, float(np.linalg.norm(place - base)) - FAR)
                    + CORNER * corner
                )
                found.append(Grasp(yaw_pose(np.array([*place, height]), yaw), width, cost))
        if height == bottom + TIP:
            break  # deeper is the table
    return sorted(found, key=lambda grasp: grasp.cost)


def _axes(yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Directions ``[2]`` along the fingers' opening and across it."""
    return np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])


def _between(
    thing: np.ndarray, height: float, yaw: float
) -> list[tuple[float, float, float, bool]]:
    """What fits between fingers at ``height``: middle along and across, width, by a corner."""
    u, v = _axes(yaw)
    band = thing[np.abs(thing[:, 2] - height) < PAD]
    if not len(band):
        return []
    along, across = band[:, :2] @ u, band[:, :2] @ v
    found = []
    for side in np.arange(across.min() + 0.005, across.max(), 0.01):
        inside = np.flatnonzero(np.abs(across - side) < PAD)
        inside = inside[np.argsort(along[inside])]
        strip, places = along[inside], across[inside]
        if len(strip) < 2:
            continue
        breaks = np.flatnonzero(np.diff(strip) > GAP)
        starts = strip[np.concatenate([[0], breaks + 1])]
        ends = strip[np.concatenate([breaks, [len(strip) - 1]])]
        for first, start in enumerate(starts):
            for end in ends[first:]:
                if end - start < WIDE:
                    corner = _sliver(strip, places, start) or _sliver(strip, places, end)
                    middle = float(start + end) / 2
                    found.append((middle, float(side), float(end - start), corner))
    return found


def _sliver(strip: np.ndarray, places: np.ndarray, end: float) -> bool:
    """Whether a pad that closes on ``end`` meets hardly any surface of ``strip``."""
    held = places[np.abs(strip - end) < TOUCH]
    return bool(np.ptp(held) < SLIVER)


def _free(points: np.ndarray, along: float, side: float, height: float, yaw: float) -> bool:
    """Whether fingers and palm hit none of ``points`` on their way down and there."""
    u, v = _axes(yaw)
    distance = np.abs(points[:, :2] @ u - along)
    across = np.abs(points[:, :2] @ v - side)
    above = points[:, 2] - height
    fingers = (distance > INNER) & (distance < OUTER) & (across < SIDE) & (above > -TIP - 0.003)
    palm = (distance < PALM) & (across < PALM_SIDE) & (above > PALM_HEIGHT)
    return not bool((fingers | palm).any())
