"""The vector contract over :class:`Dynamics`: seeds, time limit, autoreset, exact state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import StateNotSupportedError, VectorEnvironment
from robo.sim.gym_adapter import GymEnvironment
from robo.sim.in_process import InProcessVectorEnvironment
from robo.sim.native_gym.dynamics import Dynamics
from robo.sim.state import generator_state, restore_generator
from robo.sim.vector import check_schedule

StepResult = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class NativeGymEnvironment(VectorEnvironment):
    """A ``gym/<id>`` for N environments, stepped without Python per environment.

    Equal to the other backends bit for bit, but for ``infos["final_info"]``, which holds
    ``success`` alone. Where frames are asked for, rendering takes nearly all of the time and
    gymnasium must draw them: from the next reset on, until one without a camera schedule, the
    generic loop steps (``backend`` says so), with the same random generators.

    Attributes:
        backend: "native", or "in_process" while frames are drawn.
    """

    backend = "native"

    def __init__(
        self,
        prototype: GymEnvironment,
        dynamics: Dynamics,
        num_envs: int,
        make_generic: Callable[[], InProcessVectorEnvironment],
    ) -> None:
        """Take over.

        Args:
            prototype: begins the episodes; ``dynamics`` reads its state.
            dynamics: steps them.
            num_envs: N.
            make_generic: makes the loop over N equal environments that draws frames.
        """
        self.num_envs = num_envs
        self.task, self.instruction = prototype.task, prototype.instruction
        self.cameras = prototype.cameras
        self.max_episode_steps = prototype.max_episode_steps
        self.single_observation_space = prototype.observation_space
        self.single_action_space = prototype.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.dynamics = dynamics
        self._prototype = prototype
        self._make_generic = make_generic
        self._generic: InProcessVectorEnvironment | None = None
        self._schedule: CameraSchedule | None = None
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._elapsed = np.full(num_envs, -1, np.int64)
        size = self.single_observation_space["state"].shape  # type: ignore[index]
        self._observation = np.zeros((num_envs, *size), np.float32)

    # --- the contract -----------------------------------------------------------------------

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset all: environment i gets ``seed + i``, ``seed[i]``, or goes on as its generator.

        Raises:
            RoboError: a list of another length than N.
        """
        self._check_open()
        self._switch(self._schedule is not None)
        if self._generic is not None:
            return self._generic.reset(seed=seed, options=options)
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise RoboError(f"got {len(seeds)} seeds for {self.num_envs} environments")
        infos: dict[str, Any] = {}
        for row, one in enumerate(seeds):
            infos = self._add_info(infos, self._start(row, one, options), row)
        return self.current_observation(), infos

    def step(self, actions: Any) -> StepResult:  # type: ignore[override]
        """One step of all; see :class:`~robo.sim.contract.VectorEnvironment`.

        Raises:
            RoboError: actions of a wrong shape, or not finite; called before ``reset``.
        """
        self._check_open()
        if self._generic is not None:
            return self._generic.step(actions)
        if self._elapsed[0] < 0:
            raise RoboError(f"step() of {self.task} came before the first reset(); call reset()")
        checked = checked_actions(actions, self.single_action_space, self.num_envs)
        reward, terminated = self.dynamics.advance(checked)
        self._observation[...] = self.dynamics.observe()
        self._elapsed += 1
        truncated = self._elapsed >= self._prototype.time_limit
        truncated &= ~terminated
        ended = terminated | truncated
        infos: dict[str, Any] = {"success": np.zeros(self.num_envs, np.bool_), "signals": {}}
        if np.count_nonzero(ended):
            self._end(ended, infos)
        observation = self.current_observation()
        return observation, reward.astype(np.float32), terminated.copy(), truncated, infos

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; None stops at once.

        Raises:
            RoboError: a view that the environment does not have.
        """
        check_schedule(self.task, self.cameras, schedule)
        self._schedule = schedule
        if self._generic is not None:
            self._generic.set_camera_schedule(schedule)

    def episode_info(self, env: int) -> EpisodeInfo:
        """Task and, after a seeded reset, the seed."""
        if self._generic is not None:
            return self._generic.episode_info(env)
        if self._elapsed[0] < 0:
            raise RoboError(f"{self.task} has no episode before the first reset(); call reset()")
        return EpisodeInfo(self.task, self.instruction, seed=self._seeds[env])

    def current_observation(self) -> dict[str, np.ndarray]:
        """Observation of the current states, ``[N, S]``, fresh."""
        if self._generic is not None:
            return self._generic.current_observation()
        return {"state": self._observation.copy()}

    def state_dict(self) -> dict[str, Any]:
        """Exact state: tensors, numbers, strings, lists.

        While frames are drawn it is the generic loop's.

        Raises:
            StateNotSupportedError: before the first reset.
        """
        import torch

        self._check_open()
        if self._generic is not None:
            return self._generic.state_dict()
        generators = [one for one in self._generators if one is not None]
        if len(generators) < self.num_envs:
            raise StateNotSupportedError(f"{self.task} has no state before its first reset")
        arrays = {**self.dynamics.arrays(), "elapsed": self._elapsed}
        return {
            "native": {name: torch.from_numpy(array.copy()) for name, array in arrays.items()},
            "observation": {"state": torch.from_numpy(self._observation.copy())},
            "generators": [generator_state(generator) for generator in generators],
            "seeds": list(self._seeds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, here or by a generic backend of the same id.

        Raises:
            RoboError: saved from another number of environments.
        """
        self._check_open()
        count = len(state["generators" if "native" in state else "environments"])
        if count != self.num_envs:
            raise RoboError(
                f"the saved state holds {count} environments, this vector has {self.num_envs}; "
                f"resume with --num-envs {count}"
            )
        self._switch("native" not in state)
        if self._generic is not None:
            self._generic.load_state_dict(state)
            return
        arrays = {**self.dynamics.arrays(), "elapsed": self._elapsed}
        for name, array in arrays.items():
            array[...] = state["native"][name].numpy()
        self._observation[...] = state["observation"]["state"].numpy()
        self._generators = [restore_generator(saved) for saved in state["generators"]]
        self._seeds = list(state["seeds"])

    def close_extras(self, **kwargs: Any) -> None:
        """Close the prototype, and the loop that draws frames."""
        self._prototype.close()
        if self._generic is not None:
            self._generic.close()

    # --- inside -----------------------------------------------------------------------------

    def _start(self, row: int, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        """Begin an episode in ``row``; returns gymnasium's info."""
        prototype = self._prototype
        prototype._np_random = self._generators[row]
        observation, info = prototype.reset(seed=seed, options=options)
        self._generators[row] = prototype._np_random
        self.dynamics.take(row)
        self._observation[row] = observation["state"]
        self._elapsed[row] = 0
        self._seeds[row] = seed
        return info

    def _end(self, ended: np.ndarray, infos: dict[str, Any]) -> None:
        """Final observations of the episodes that ended; begin new ones."""
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final[row] = {"state": self._observation[row].copy()}
            self._start(int(row), None, None)
        infos["final_obs"], infos["_final_obs"] = final, ended
        success = {"success": np.zeros(self.num_envs, np.bool_), "_success": ended.copy()}
        infos["final_info"], infos["_final_info"] = success, ended.copy()

    def _switch(self, drawing: bool) -> None:
        """Go over to the generic loop or back, handing the generators over."""
        if drawing and self._generic is None:
            self._generic = self._make_generic()
            self._generic.set_camera_schedule(self._schedule)
            for one, generator in zip(self._generic.environments, self._generators, strict=True):
                one._np_random = generator
        elif not drawing and self._generic is not None:
            self._generators = [one._np_random for one in self._generic.environments]
            self._generic.close()
            self._generic = None
        self.backend = "native" if self._generic is None else self._generic.backend

    def _check_open(self) -> None:
        if self.closed:
            raise RoboError(f"this vector environment of {self.task} is closed; make a new one")
