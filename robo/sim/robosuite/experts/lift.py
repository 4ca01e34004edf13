"""Lift: take the cube and raise it."""

from __future__ import annotations

import numpy as np

from robo.sim.robosuite.experts.arm import Arm, Pose, Script, finger_yaw, nearest_yaw, yaw_of
from robo.sim.robosuite.experts.arm import yaw_pose as pointing_down
from robo.sim.robosuite.experts.grasping import pick


def cube_grasp(arm: Arm, name: str) -> Pose:
    """A hand from above at the centre of the cube ``name``, fingers along its nearest side."""
    yaw = nearest_yaw(yaw_of(arm.orientation(name)), finger_yaw(arm), np.pi / 2)
    return pointing_down(arm[f"{name}_pos"], yaw)


def lift(arm: Arm) -> Script:
    """One attempt at Lift."""
    yield from pick(arm, lambda: cube_grasp(arm, "cube"), rise=0.15)
