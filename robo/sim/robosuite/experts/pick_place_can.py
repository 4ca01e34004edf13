"""PickPlaceCan: put the can into its bin."""

from __future__ import annotations

import numpy as np

from robo.sim.robosuite.experts.arm import CLOSED, Arm, Pose, Script
from robo.sim.robosuite.experts.arm import yaw_pose as pointing_down
from robo.sim.robosuite.experts.grasping import pick, release

BIN = np.array([0.15, 0.35])
"""Where in its bin the can goes, m. The bin, the far left one of the four, spans 0.10 to 0.295 by
0.28 to 0.525; beyond its middle the arm is at full stretch."""
CARRY = 1.03
"""Height of the hand on its way over the wall between the bins, m."""
RELEASE = 0.90
"""Height of the can's centre when it is let go, m; its bin's floor is at 0.8, it is 0.1 tall."""
GRASP_LIFT = 0.01
"""The can is taken this much above its body's origin, m."""


def pick_place_can(arm: Arm) -> Script:
    """One attempt at PickPlaceCan."""

    def grasp() -> Pose:
        # The arm hardly turns the hand on its way to the bin if the fingers open along y.
        return pointing_down(arm["Can_pos"] + np.array([0.0, 0.0, GRASP_LIFT]), np.pi / 2)

    if not (yield from pick(arm, grasp, clearance=0.12, rise=0.17)):
        return
    over = pointing_down(np.array([*BIN, CARRY]), np.pi / 2)
    if not (yield from arm.reach(over, CLOSED, 0.03, limit=120)):
        return
    low = pointing_down(np.array([*BIN, RELEASE]), np.pi / 2)
    yield from arm.reach(low, CLOSED, 0.02, limit=40)
    yield from release(arm)
