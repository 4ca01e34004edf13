"""A scripted expert and scripted failures for ``robosuite-batch/Lift``, for N environments at once.

The scripts of ``mujoco/Lift`` in robosuite's action space: the same funnel down to the cube and the
same failures, with the hand turned to the nearest face of the cube first. They read the ``state``
observation; rewards never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.mujoco.expert import (
    CLEAN,
    FAILURES,
    OPENING,
    TOWARD_CUBE,
    CubeWanderer,
    ExpertStyle,
    LiftExpert,
    ScriptedExpert,
)
from robo.sim.robosuite_batch.simulation import CONTROLLERS

# Parts of the state observation of robosuite's Lift.
HAND_QUATERNION, FINGERS, CUBE_QUATERNION = slice(24, 28), slice(28, 30), slice(35, 39)
FROM_CUBE = slice(39, 42)
TURN = 0.5
"""Rotation per unit of action, rad."""
PATIENCE = 8
"""Control steps that the fingers take from open to a firm grasp."""
SCRIPTS = tuple(name for name in FAILURES if name != "drop")
"""Scripted failures; a cube that is dropped here was lifted 2 cm before, which is a success."""


class _InRobosuite(ScriptedExpert):
    """Translates observations and actions; the scripts below it are those of ``mujoco/Lift``.

    Attributes:
        controller: whose actions it gives; ``OSC_POSITION`` leaves out the rotation.
    """

    controller = "OSC_POSE"

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions ``[N, 7]`` or ``[N, 4]``; ``started`` bool ``[N]`` marks first steps."""
        state = observation["state"].astype(np.float64)
        seen = np.zeros((len(state), TOWARD_CUBE.stop))
        seen[:, OPENING] = 0.5 * (state[:, FINGERS] * (1.0, -1.0)).sum(axis=1)
        seen[:, TOWARD_CUBE] = -state[:, FROM_CUBE]
        own = super().__call__({"state": seen}, started)
        action = np.zeros((len(state), 7), np.float32)
        action[:, :3], action[:, 6] = own[:, :3], -own[:, 3]
        action[:, 5] = np.clip(-turn_to_cube(state) / TURN, -1.0, 1.0)
        return action if self.controller == "OSC_POSE" else action[:, [0, 1, 2, 6]]


def turn_to_cube(state: np.ndarray) -> np.ndarray:
    """Angle ``[N]`` about the vertical from the cube's nearest face to the hand, rad.

    Within 45 degrees of zero: the cube looks the same after a quarter turn.
    """
    hand, cube = _heading(state[:, HAND_QUATERNION]), _heading(state[:, CUBE_QUATERNION])
    return (hand - cube + np.pi / 4) % (np.pi / 2) - np.pi / 4


def _heading(quaternion: np.ndarray) -> np.ndarray:
    """Angle of the x axis in the horizontal plane, of quaternions xyzw ``[N, 4]``."""
    x, y, z, w = quaternion.T
    return np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))


class BatchLiftExpert(_InRobosuite, LiftExpert):
    """Over the cube with open fingers, down, close, rise."""

    def _advance(self, mask: np.ndarray) -> None:
        """As in ``mujoco/Lift``, with patience for robosuite's slower fingers."""
        super()._advance(mask & ~((self.phase == 1) & (self.since < PATIENCE)))


class BatchCubeWanderer(_InRobosuite, CubeWanderer):
    """Moves from point to point near the cube, fingers about as wide as the cube."""


def make_expert(
    task: str,
    style: ExpertStyle = CLEAN,
    seed: int = 0,
    script: str = "expert",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> ScriptedExpert:
    """The scripted actor of ``robosuite-batch/Lift``, for the controller that ``options`` name.

    Raises:
        RoboError: for another task or controller, or an unknown failure script.
    """
    if task != "robosuite-batch/Lift":
        raise RoboError(f"task {task!r} has no expert here, only robosuite-batch/Lift")
    if script != "expert" and script not in SCRIPTS:
        raise RoboError(f"script {script!r} does not exist for {task}; it has {list(SCRIPTS)}")
    controller = options.get("controller", "OSC_POSE")
    if controller not in CONTROLLERS:
        raise RoboError(f"{task} has no controller {controller!r}, only {list(CONTROLLERS)}")
    kind: Any = BatchCubeWanderer if script == "wander" else BatchLiftExpert
    actor = kind(style, seed, script)
    actor.controller = controller
    return actor
