"""N simulations of one of gymnasium's MuJoCo models in MuJoCo's native threads."""

from __future__ import annotations

import importlib
import importlib.util
from abc import abstractmethod
from typing import Any

import numpy as np

from robo.sim.gl import choose_backend
from robo.sim.native_gym.dynamics import Dynamics


def batch_available() -> bool:
    """Whether this MuJoCo steps batches (``mujoco.batch``, since 3.17)."""
    if importlib.util.find_spec("mujoco") is None:
        return False
    choose_backend()  # looking for mujoco.batch imports MuJoCo
    return importlib.util.find_spec("mujoco.batch") is not None


class Physics(Dynamics):
    """MuJoCo's part: gymnasium's model, stepped ``frame_skip`` times per step.

    Fields that MuJoCo derives (``xpos``) are those of the last substep's start, as gymnasium
    reads them after ``mj_step``. Environments that read contact forces are not among these:
    gymnasium calls ``mj_rnePostConstraint`` for them, and a batch does not.

    Attributes:
        core: the prototype.
        qpos: live positions ``[N, nq]``.
        qvel: live velocities ``[N, nv]``.
    """

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """Open ``num_envs`` simulations of ``core.model`` on ``threads`` threads."""
        batch = importlib.import_module("mujoco.batch")
        self._mujoco: Any = importlib.import_module("mujoco")
        self.core = core
        self.batch = batch.Batch(core.model, nsim=num_envs, nthread=threads)
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self._ctrl = self.batch.bind("ctrl")
        self._signature = self._mujoco.mjtState.mjSTATE_INTEGRATION.value

    def take(self, row: int) -> None:
        """Copy the prototype's integration state, solver warm start included."""
        core, state = self.core, self.batch.state
        self._mujoco.mj_getState(core.model, core.data, state[row], self._signature)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step of all simulations; see :class:`~robo.sim.native_gym.dynamics.Dynamics`."""
        before = self.qpos[:, 0].copy()
        self._ctrl[:] = actions
        self.batch.step(nstep=self.core.frame_skip)
        return self.outcome(before, actions)

    @abstractmethod
    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward and terminated of the step just taken.

        Args:
            before: first coordinate of ``qpos`` before the step, ``[N]``.
            actions: float32 ``[N, nu]``.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """MuJoCo's integration state ``[N, nstate]``."""
        return {"integration": self.batch.state}
