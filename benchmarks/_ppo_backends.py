"""One stepping backend in the shape that each library asks for: gymnasium's Sync, EnvPool, its own.

``Stepper`` is what they share: numpy in and out, episodes begun anew in the step in which they
ended. Every adapter below is a thin shell around one.
"""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import VectorEnvironment

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[int, np.ndarray]]
"""Observation, reward, terminated, truncated, and the final observation by row."""


class SyncStepper:
    """``gymnasium.vector.SyncVectorEnv``, SAME_STEP autoreset."""

    def __init__(self, task: str, envs: int) -> None:
        """``envs`` environments of gymnasium's id ``task``."""
        self.envs = envs
        self.vector = make_sync(task, envs)
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space

    def reset(self, seed: int) -> np.ndarray:
        """First observations."""
        return self.vector.reset(seed=seed)[0]

    def step(self, actions: np.ndarray) -> Step:
        """One step of all."""
        observation, reward, terminated, truncated, infos = self.vector.step(actions)
        final = {}
        if "final_obs" in infos:
            final = {
                int(row): infos["final_obs"][row] for row in np.flatnonzero(infos["_final_obs"])
            }
        return observation, reward, terminated, truncated, final


class PoolStepper:
    """EnvPool with one thread, reset at once by the row's number, as its own SB3 example does."""

    def __init__(self, task: str, envs: int, seed: int = 0) -> None:
        """``envs`` environments of EnvPool's id ``task``; EnvPool takes ``seed`` here alone."""
        self.envs = envs
        self.pool = make_pool(task, envs, seed)
        self.observation_space = self.pool.single_observation_space
        self.action_space = self.pool.single_action_space

    def reset(self, seed: int) -> np.ndarray:
        """First observations; the seed was fixed when the pool was made."""
        return self.pool.reset()[0]

    def step(self, actions: np.ndarray) -> Step:
        """One step of all."""
        actions = actions.astype(self.action_space.dtype, copy=False)
        observation, reward, terminated, truncated, _ = self.pool.step(actions)
        final: dict[int, np.ndarray] = {}
        ended = terminated | truncated
        if ended.any():
            rows = np.flatnonzero(ended)
            final = {int(row): observation[row].copy() for row in rows}
            begun, info = self.pool.reset(rows.astype(np.int32))
            observation[info["env_id"]] = begun
        return observation, reward, terminated, truncated & ~terminated, final


class RecordingStepper(SyncStepper):
    """Keeps the return of every episode, the same way for every library."""

    def __init__(self, task: str, envs: int) -> None:
        """See :class:`SyncStepper`."""
        super().__init__(task, envs)
        self.episodes: list[tuple[int, float]] = []
        """(environment steps taken so far, return of the episode that ended there)."""
        self._steps = 0
        self._return = np.zeros(envs, np.float64)

    def step(self, actions: np.ndarray) -> Step:
        """One step of all."""
        result = super().step(actions)
        self._steps += self.envs
        self._return += result[1]
        for row in result[4]:
            self.episodes.append((self._steps, float(self._return[row])))
            self._return[row] = 0.0
        return result


def make_sync(task: str, envs: int) -> Any:
    """Gymnasium's in-process loop."""
    keywords = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gymnasium.make_vec(task, envs, vectorization_mode="sync", vector_kwargs=keywords)


def make_pool(task: str, envs: int, seed: int) -> Any:
    """A bare EnvPool with one thread."""
    import envpool

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # bounds rounded to float32
        return envpool.make_gymnasium(task, num_envs=envs, num_threads=1, seed=seed)


def make_stepper(backend: str, task: str, envs: int, seed: int) -> SyncStepper | PoolStepper:
    """``sync`` or ``envpool``."""
    return PoolStepper(task, envs, seed) if backend == "envpool" else SyncStepper(task, envs)


class ContractEnvironment(VectorEnvironment):
    """A stepper under robo's contract, so that we too can run on gymnasium's own Sync."""

    backend = "gymnasium.sync"

    def __init__(self, stepper: Any, task: str) -> None:
        """``stepper`` has a 1-D Box observation."""
        space: Any = stepper.observation_space
        box = gymnasium.spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))
        self.stepper, self.task, self.num_envs = stepper, f"gym/{task}", stepper.envs
        self.single_observation_space = gymnasium.spaces.Dict(state=box)
        self.single_action_space = stepper.action_space

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """First observations."""
        return {"state": self.stepper.reset(seed).astype(np.float32)}, {}

    def step(self, actions: Any) -> Any:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        observation, reward, terminated, truncated, final = self.stepper.step(actions)
        infos: dict[str, Any] = {"success": np.zeros(self.num_envs, np.bool_), "signals": {}}
        if final:
            rows = np.full(self.num_envs, None, dtype=object)
            for row, last in final.items():
                rows[row] = {"state": last.astype(np.float32)}
            infos["final_obs"], infos["_final_obs"] = rows, terminated | truncated
        state = observation.astype(np.float32)
        return {"state": state}, reward.astype(np.float32), terminated, truncated, infos

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Nothing is drawn here."""

    def episode_info(self, env: int) -> EpisodeInfo:
        """The task."""
        return EpisodeInfo(self.task)


def sb3_environment(backend: str, task: str, envs: int, seed: int, stepper: Any = None) -> Any:
    """For Stable-Baselines3 and sbx: their own DummyVecEnv (``own``), or a stepper's shell."""
    if stepper is not None:
        return _sb3_class()(stepper, seed)
    if backend == "own":
        from stable_baselines3.common.vec_env import DummyVecEnv

        return DummyVecEnv([lambda: gymnasium.make(task) for _ in range(envs)])
    return _sb3_class()(make_stepper(backend, task, envs, seed), seed)


def _sb3_class() -> Any:
    from stable_baselines3.common.vec_env import VecEnv

    class Shell(VecEnv):
        """A stepper as SB3's VecEnv."""

        def __init__(self, stepper: Any, seed: int) -> None:
            self.stepper, self.first_seed = stepper, seed
            super().__init__(stepper.envs, stepper.observation_space, stepper.action_space)

        def reset(self) -> np.ndarray:
            return self.stepper.reset(self.first_seed)

        def step_async(self, actions: np.ndarray) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            observation, reward, terminated, truncated, final = self.stepper.step(self.actions)
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            for row, last in final.items():
                infos[row] = {
                    "terminal_observation": last,
                    "TimeLimit.truncated": bool(truncated[row]),
                }
            return observation, reward.astype(np.float32), terminated | truncated, infos

        def close(self) -> None:
            """The process ends with the run."""

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [getattr(self.stepper, attr_name, None)] * self.num_envs

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError(attr_name)

        def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[Any]:
            raise NotImplementedError(method_name)

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    return Shell


def rsl_environment(backend: str, task: str, envs: int, seed: int, limit: int) -> Any:
    """For rsl_rl: torch in and out, actions clipped to the space here."""
    import torch
    from rsl_rl.env import VecEnv
    from tensordict import TensorDict

    class Shell(VecEnv):
        """A stepper as rsl_rl's VecEnv."""

        def __init__(self) -> None:
            self.stepper = make_stepper(backend, task, envs, seed)
            space: Any = self.stepper.action_space
            self.low, self.high = space.low, space.high
            self.num_envs, self.num_actions = envs, int(space.shape[0])
            self.max_episode_length, self.device, self.cfg = limit, "cpu", {}
            self.episode_length_buf = torch.zeros(envs, dtype=torch.long)
            self.observation = self._wrap(self.stepper.reset(seed))

        def _wrap(self, observation: np.ndarray) -> Any:
            state = torch.from_numpy(observation.astype(np.float32))
            return TensorDict({"policy": state}, batch_size=[envs])

        def get_observations(self) -> Any:
            return self.observation

        def step(self, actions: Any) -> Any:
            clipped = np.clip(actions.numpy(), self.low, self.high)
            observation, reward, terminated, truncated, _ = self.stepper.step(clipped)
            self.observation = self._wrap(observation)
            done = torch.from_numpy(terminated | truncated)
            extras = {"time_outs": torch.from_numpy(truncated)}
            return self.observation, torch.from_numpy(reward.astype(np.float32)), done, extras

    return Shell()
