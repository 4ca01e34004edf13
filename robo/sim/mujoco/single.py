"""One simulation behind ``gymnasium.Env``: the vector environment with N = 1 and no autoreset."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import Environment
from robo.sim.mujoco.batch_vector import StepResult
from robo.sim.mujoco.rendering import Profile, ViewRenderer
from robo.sim.mujoco.simulation import SIGNALS
from robo.sim.mujoco.vector import CAMERAS, MujocoVectorEnvironment


class MujocoEnvironment(Environment):
    """``mujoco/<Task>`` with one arm; see :class:`MujocoVectorEnvironment` for its spaces."""

    cameras = CAMERAS
    signal_names = SIGNALS
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: str,
        threads: int = 1,
        profile: Profile = "fast",
        render_mode: str | None = None,
    ) -> None:
        """Open one simulation of ``task`` ("Lift")."""
        self._vector = MujocoVectorEnvironment(task, 1, threads, profile)
        self.task, self.instruction = self._vector.task, self._vector.instruction
        self.max_episode_steps = self._vector.max_episode_steps
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space
        self.render_mode, self.profile = render_mode, profile
        self._window: ViewRenderer | None = None
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same ``seed`` gives the same initial state."""
        super().reset(seed=seed)
        observation, infos = self._vector.reset(seed=seed)
        info: dict[str, Any] = {"instruction": self.instruction, "initial_state": None}
        if "frames" in infos:
            info["frames"] = {name: rows[0] for name, rows in infos["frames"].views.items()}
        self._over = False
        return {"state": observation["state"][0]}, info

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step (50 ms).

        Raises:
            RoboError: where the episode has ended, or the action is not four finite numbers.
        """
        if self._over:
            raise RoboError(f"{self.task}: the episode is over, call reset() before step()")
        action = np.asarray(action, np.float64)
        if action.shape != (4,):
            raise RoboError(f"{self.task}: action has shape {action.shape}, expected (4,)")
        return self._unbatched(self._vector.step_without_reset(action[None]))

    def _unbatched(
        self, result: StepResult
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, infos = result
        info: dict[str, Any] = {
            "success": bool(infos["success"][0]),
            "signals": {name: float(value[0]) for name, value in infos["signals"].items()},
            "instruction": self.instruction,
            "initial_state": None,
        }
        if "frames" in infos:
            info["frames"] = {name: rows[0] for name, rows in infos["frames"].views.items()}
        self._over = bool(terminated[0] or truncated[0])
        state = {"state": observation["state"][0]}
        return state, float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset or restored state on; None stops at once."""
        self._vector.set_camera_schedule(schedule)

    def episode_info(self) -> EpisodeInfo:
        """Task, instruction and seed of the current episode."""
        return self._vector.episode_info(0)

    def state_dict(self) -> dict[str, Any]:
        """Exact state."""
        return {"vector": self._vector.state_dict(), "over": self._over}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._vector.load_state_dict(state["vector"])
        self._over = bool(state["over"])

    def render(self) -> np.ndarray | None:
        """The front view, uint8 ``[480, 640, 3]``, with ``render_mode="rgb_array"``."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array'")
            return None
        if self._window is None:
            model = self._vector.simulations.model
            self._window = ViewRenderer(model, ("front",), 480, 640, self._vector.profile)
        return self._window.render(*self._vector.simulations.drawn_state(0))[0]

    def close(self) -> None:
        """Free the GL contexts."""
        self._vector.close()
        if self._window is not None:
            self._window.close()
            self._window = None
