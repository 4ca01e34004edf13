"""Picking up and putting down: what the scripts of single tasks share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robo.sim.robosuite.experts.arm import CLOSED, OPEN, Arm, Motion, Pose

FUNNEL = 0.012
"""Sideways distance up to which the hand may go down, m."""

SLOW = 0.0007
"""Change of the fingers' opening per step below which they count as at rest, m."""


def pick(
    arm: Arm,
    grasp: Callable[[], Pose],
    clearance: float = 0.10,
    rise: float = 0.12,
    label: str = "",
) -> Motion:
    """Go above ``grasp``, down to it, close, and rise.

    Args:
        arm: the arm.
        grasp: the hand's pose at the object, asked at each step.
        clearance: height above the grasp from which the hand goes down, m.
        rise: height to rise to above the grasp, m.
        label: added to the names of the keyframes ``grasp`` and ``lift``.

    Returns:
        Whether something is between the fingers afterwards.
    """
    start = grasp().backed(clearance)
    if arm.position[2] < start.position[2] - 0.02:  # up first, so that nothing is swept away
        above = arm.here()
        level = np.array([*arm.position[:2], start.position[2]])
        yield from arm.reach(Pose(level, above.fingers, above.approach), OPEN, 0.03, limit=40)
    yield from arm.reach(lambda: grasp().backed(clearance), OPEN, FUNNEL, limit=120)
    arrived = yield from arm.reach(grasp, OPEN, limit=60, speed=0.8)
    if not arrived:
        yield from arm.reach(start, OPEN, 0.03, limit=30)
        return False
    arm.mark(f"grasp{label}")
    yield from squeeze(arm, grasp())
    arm.mark(f"lift{label}")
    top = arm.here().moved((0.0, 0.0, rise))
    yield from arm.reach(top, CLOSED, 0.02, turned=0.3, limit=40)
    return holds(arm)


def squeeze(arm: Arm, pose: Pose, limit: int = 30) -> Motion:
    """Close until the fingers have come to rest, and two steps more for the force to build up."""
    still = 0
    for step in range(limit):
        before = arm.opening
        yield arm.toward(pose, CLOSED)
        still = still + 1 if step > 3 and abs(arm.opening - before) < SLOW else 0
        if still == 3:
            return True
    return False


def holds(arm: Arm, least: float = 0.004) -> bool:
    """Whether closed fingers are kept apart by more than ``least`` (m)."""
    return arm.opening > least


def release(arm: Arm, steps: int = 6, rise: float = 0.10, label: str = "") -> Motion:
    """Open the fingers and back away from what they held; marks ``release``."""
    arm.mark(f"release{label}")
    yield from arm.hold(steps, OPEN)
    return (yield from arm.reach(arm.here().backed(rise), OPEN, 0.02, turned=0.3, limit=40))
