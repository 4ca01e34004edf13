"""One simulation behind ``gymnasium.Env``: the vector environment with N = 1 and no autoreset."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from robo.errors import RoboError
from robo.sim.mujoco.rendering import Profile
from robo.sim.mujoco.single import MujocoEnvironment
from robo.sim.robosuite_batch.rules import HORIZON
from robo.sim.robosuite_batch.simulation import SIGNALS
from robo.sim.robosuite_batch.vector import ControllerName, RobosuiteBatchEnvironment


class RobosuiteBatchSingle(MujocoEnvironment):
    """``robosuite-batch/Lift`` with one arm; see :class:`RobosuiteBatchEnvironment`."""

    signal_names = SIGNALS
    _vector: RobosuiteBatchEnvironment  # type: ignore[assignment]

    def __init__(
        self,
        threads: int = 1,
        profile: Profile = "fast",
        horizon: int = HORIZON,
        extras: bool = True,
        controller: ControllerName = "OSC_POSE",
        render_mode: str | None = None,
    ) -> None:
        """Open one simulation; options as :class:`RobosuiteBatchEnvironment`."""
        self._vector = RobosuiteBatchEnvironment(1, threads, profile, horizon, extras, controller)
        self.task, self.instruction = self._vector.task, self._vector.instruction
        self.cameras = self._vector.cameras
        self.max_episode_steps = horizon
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space
        self.render_mode, self.profile = render_mode, profile
        self._window = None
        self._over = True

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step (50 ms).

        Raises:
            RoboError: where the episode has ended, or the action is not finite or of another shape.
        """
        if self._over:
            raise RoboError(f"{self.task}: the episode is over, call reset() before step()")
        return self._unbatched(self._vector.step_without_reset(np.asarray(action)[None]))

    def render(self) -> np.ndarray | None:
        """The front view, uint8 ``[480, 640, 3]``, with ``render_mode="rgb_array"``."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array'")
            return None
        return self._vector.frames_of(0, ("front",), 480, 640)["front"]
