"""Physics and controller of some simulations, on one thread.

robosuite computes new torques at each physics step (500 Hz). A persistent batch lets them in
between the halves of MuJoCo's step: positions, velocities, inertia and bias of all simulations
first, then the compiled controller over all of them, then forces and integration. Python runs
twice per physics step and block of simulations, never per simulation.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from robo.sim.robosuite_batch.control import command_arm, command_fingers, set_goals
from robo.sim.robosuite_batch.scene import LiftScene

ROWS = (
    ("goal", 3),
    ("goal_rotation", 9),
    ("initial", 7),
    ("fingers", 2),
    ("drawn", 16),
    ("tool", 3),
    ("hand", 4),
    ("cube", 3),
    ("spin", 4),
    ("fresh", 1),
    ("inertia", 50),
)
"""Name and width of the arrays that belong to a simulation's state beside MuJoCo's own.

The goal; where the null space draws the arm; the commanded fingers. Then what the last control
step showed, which in robosuite is one physics step (2 ms) old: qpos, positions of tool and cube,
quaternions (wxyz) of hand and cube. Last, whether no physics step was made since the reset, and
the inertia that the first one is controlled with.
"""


class Block:
    """A run of simulations; ``rows`` are their slices of the environment's arrays.

    Attributes:
        batch: ``mujoco.batch.Batch`` with data of its own for each simulation.
        rows: name to float64 ``[n, width]``, see :data:`ROWS`.
        qpos: live positions ``[n, 16]``: arm 7, fingers 2, cube 3, its quaternion (wxyz) 4.
        qvel: live velocities ``[n, 15]``.
    """

    def __init__(self, scene: LiftScene, rows: dict[str, np.ndarray]) -> None:
        """Open one simulation per row of ``rows``."""
        mujoco: Any = importlib.import_module("mujoco")
        module: Any = importlib.import_module("mujoco.batch")
        self.scene, self.rows = scene, rows
        count = len(rows["goal"])
        self.batch = module.Batch(scene.model, nsim=count, nthread=1, persistent=True)
        bind = self.batch.bind
        self.qpos, self.qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._mass, self._bias = bind("M"), bind("qfrc_bias")
        self._axis, self._anchor = bind("xaxis"), bind("xanchor")
        self._position = bind("site_xpos")[:, scene.site]
        self._rotation = bind("site_xmat")[:, scene.site].reshape(count, 9)
        self._places, self._quaternions = bind("xpos"), bind("xquat")
        self._mass_rows = np.array(scene.model.M_rowadr[:7], np.int64)
        self._middle = mujoco.mjtStage.mjSTAGE_VEL.value
        self._nothing = mujoco.mjtStage.mjSTAGE_NONE.value

    def start(self, index: np.ndarray, joints: np.ndarray, cubes: np.ndarray) -> None:
        """Begin episodes in simulations ``index`` (int ``[K]``, ascending).

        Args:
            index: which.
            joints: ``[K, 7]`` of the arm, rad.
            cubes: ``[K, 7]`` position (m) and quaternion (wxyz).
        """
        rows, batch = self.rows, self.batch
        batch.reset(ids=index, stage=self._nothing)
        self.qpos[index, :7] = rows["initial"][index] = joints
        # robosuite makes the controller before it places the fingers, and the controller does not
        # look again before its first torques.
        batch.forward(ids=index, stage=self._middle)
        rows["inertia"][index] = self._mass[index]
        rows["fresh"][index] = 1.0
        self.qpos[index, 7:9] = self.scene.gripper.initial
        self.qpos[index, 9:16] = cubes
        batch.forward(ids=index, stage=self._middle)
        rows["goal"][index] = self._position[index]
        rows["goal_rotation"][index] = self._rotation[index]
        rows["fingers"][index] = 0.0
        self._look(index)

    def advance(self, actions: np.ndarray) -> None:
        """One control step; ``actions`` float64 ``[n, 7]`` in [-1, 1]."""
        scene, rows = self.scene, self.rows
        own, gripper, fingers = scene.controller, scene.gripper, rows["fingers"]
        goal, goal_rotation = rows["goal"], rows["goal_rotation"]
        position, rotation = self._position, self._rotation
        set_goals(actions, own.scale, position, rotation, goal, goal_rotation)
        state = (self._mass_rows, self._bias, self._axis, self._anchor, position, rotation)
        state += (self.qpos, self.qvel, rows["initial"], goal, goal_rotation)
        mass = self._mass
        if rows["fresh"].any():
            mass = np.where(rows["fresh"] > 0, rows["inertia"], mass)
        for substep in range(scene.substeps):
            if substep == scene.substeps - 1:
                self._look(slice(None))
            command_arm(own.gains, own.limits, mass, *state, self._ctrl)
            mass = self._mass
            command_fingers(
                actions, gripper.speed, gripper.middle, gripper.half, fingers, self._ctrl
            )
            self.batch.step(nstep=1, stage=self._middle)
        rows["fresh"][:] = 0.0

    def _look(self, index: Any) -> None:
        """Keep what robosuite's observations and cameras show after the coming physics step."""
        rows, scene = self.rows, self.scene
        rows["drawn"][index] = self.qpos[index]
        rows["tool"][index] = self._position[index]
        rows["hand"][index] = self._quaternions[index, scene.hand]
        rows["cube"][index] = self._places[index, scene.cube]
        rows["spin"][index] = self._quaternions[index, scene.cube]

    def state(self) -> np.ndarray:
        """MuJoCo's integration state ``[n, size]``, a copy."""
        return np.array(self.batch.state)

    def load(self, state: np.ndarray) -> None:
        """Restore what :meth:`state` returned (``rows`` are the caller's to restore)."""
        self.batch.state[:] = state
        self.batch.forward(stage=self._middle)
