"""Stack: put the red cube (A) on the green one (B)."""

from __future__ import annotations

import numpy as np

from robo.sim.robosuite.experts.arm import CLOSED, Arm, Pose, Script
from robo.sim.robosuite.experts.grasping import pick, release
from robo.sim.robosuite.experts.lift import cube_grasp

HALVES = 0.02 + 0.025
"""Half the height of both cubes, m."""


def stack(arm: Arm) -> Script:
    """One attempt at Stack."""
    if not (yield from pick(arm, lambda: cube_grasp(arm, "cubeA"))):
        return

    def over(height: float) -> Pose:
        """The hand such that the held cube is ``height`` above its place on the other."""
        place = arm["cubeB_pos"] + np.array([0.0, 0.0, HALVES + height])
        return arm.here().moved(place - arm["cubeA_pos"])

    yield from arm.reach(lambda: over(0.06), CLOSED, 0.01, limit=100)
    yield from arm.reach(lambda: over(0.003), CLOSED, 0.005, limit=60, speed=0.4)
    yield from release(arm)
