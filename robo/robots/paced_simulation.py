"""One simulated arm that moves between commands too: physics by the millisecond, not by the step.

With a command every 50 ms it is the arm of ``mujoco/<Task>``, bit for bit.
"""

from __future__ import annotations

import numpy as np

from robo.sim.mujoco.control import FINGER_STEP, STEP
from robo.sim.mujoco.simulation import Simulations
from robo.sim.mujoco.tasks import Task

TIMESTEP = 0.005
"""Seconds of one physics step."""
ONE = np.array([0])


class PacedSimulation(Simulations):
    """A simulation of ``task`` that takes commands at any time."""

    def __init__(self, task: Task) -> None:
        """One arm, stepped by the calling thread."""
        super().__init__(task, 1, threads=1)

    def flow(self, steps: int) -> None:
        """Let ``steps`` physics steps pass."""
        if steps > 0:
            self._batch.step(nstep=steps, stage=self._stage)
            self._read_tool(slice(None))

    def command(self, target: np.ndarray, fingers: float) -> None:
        """Move towards the tool position ``target [3]`` (m) and finger position (m).

        The controller walks there by at most 2.5 cm per axis and command.
        """
        action = np.empty((1, 4))
        action[0, :3] = (target - self._control.target[0]) / STEP
        action[0, 3] = (fingers - self._control.fingers[0]) / FINGER_STEP
        translation, rotation = self._batch.jac(self._hand, self.tool)
        jacobian = np.concatenate([translation[:, :, :7], rotation[:, :, :7]], axis=1)
        self._ctrl[:] = self._control.joint_targets(
            np.clip(action, -1, 1), self._qpos[:, :7], self.tool, self.rotation, jacobian
        )
        self.tool_previous[:] = self.tool
        self.elapsed += 1

    def freeze(self) -> None:
        """Hold the joints where they are."""
        self._ctrl[0, :7] = self._qpos[0, :7]
        self._control.target[:] = self.tool

    @property
    def joints(self) -> np.ndarray:
        """``[7]`` arm joints, rad."""
        return self._qpos[0, :7].copy()

    @property
    def fingers(self) -> float:
        """Mean finger position, m."""
        return float(self._qpos[0, 7:9].mean())

    @property
    def commanded(self) -> np.ndarray:
        """``[4]`` tool position and finger position that the controller is heading for, m."""
        return np.append(self._control.target[0], self._control.fingers[0])

    def contact_force(self) -> float:
        """Force at the tool that explains the contacts' joint torques, N (least squares)."""
        torque = self._batch.bind("qfrc_constraint")[0, :7]
        translation, _ = self._batch.jac(self._hand, self.tool)
        force = np.linalg.lstsq(translation[0, :, :7].T, torque, rcond=None)[0]
        return float(np.linalg.norm(force))
