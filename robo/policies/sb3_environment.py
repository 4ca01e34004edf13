"""Any vector environment of robo as a vector environment of Stable-Baselines3."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import FrameRows, VectorEnvironment

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class TakenStep:
    """What one step of all N environments brought, beside the observation."""

    reward: np.ndarray
    """float32 ``[N]``, the environment's own."""
    terminated: np.ndarray
    """bool ``[N]``."""
    truncated: np.ndarray
    """bool ``[N]``; false where ``terminated``."""
    infos: dict[str, Any]
    """The vector environment's own ``success``, ``signals`` and ``final_obs``."""
    frames: FrameRows | None
    """Camera frames, where any was due."""
    episode: np.ndarray
    """int64 ``[N]``, the episode that the step belongs to."""
    following: np.ndarray
    """int64 ``[N]``, the episode of the state after it (after autoreset)."""


class SB3Environment(VecEnv):
    """See :func:`sb3_vec_env`. Closing it closes the wrapped environment.

    ``infos[i]`` of each step holds ``is_success``, ``TimeLimit.truncated``, ``signals`` and, where
    an episode ended, ``terminal_observation`` and ``episode`` (r: sum of the environment's own
    reward, l: steps, t: seconds since the start), as SB3's ``Monitor`` would write them.
    """

    def __init__(self, env: VectorEnvironment, observation: str = "dict") -> None:
        """See :func:`sb3_vec_env`."""
        self.env = env
        self.observation_key = None if observation == "dict" else observation
        space, self._keys = _observation_space(env, observation)
        action_space, self._action_start = env.single_action_space, 0
        if isinstance(action_space, gymnasium.spaces.Discrete):
            # SB3 counts actions from 0.
            self._action_start = int(action_space.start)
            action_space = gymnasium.spaces.Discrete(int(action_space.n))
        super().__init__(env.num_envs, space, action_space)
        self.camera: CameraSchedule | None = None
        """The schedule set by :meth:`set_camera_schedule`."""
        self.resets = 0
        """Number of resets so far."""
        self.steps = 0
        """Steps since the last reset."""
        self.last_step: TakenStep | None = None
        """What the newest step brought; None after a reset."""
        self.reset_frames: FrameRows | None = None
        """Frames of the states after the last reset."""
        self.episode = np.full(self.num_envs, -1, np.int64)
        """int64 ``[N]``, ids of the open episodes."""
        self.open_episodes: dict[int, EpisodeInfo] = {}
        """Id to information, of the open episodes."""
        self._next_episode = 0
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, np.int64)
        self._start = time.time()
        self._used_seeds: list[int | None] = [None] * self.num_envs
        self._actions = np.empty(0)

    # ------------------------------------------------------------------ running

    def reset(self) -> Any:
        """Reset every environment, with the seeds and options that were set for it."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        options = self._options[0] or None
        if any(other != self._options[0] for other in self._options):
            raise RoboError(
                f"reset options differ between environments ({self._options}); robo resets all "
                "with the same: pass one dict to set_options"
            )
        self._used_seeds = list(self._seeds)
        # Vector environments take a list of seeds; gymnasium's base class only declares an int.
        first, infos = self.env.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        self.resets += 1
        self.steps = 0
        self.last_step = None
        self.reset_frames = infos.get("frames")
        self.open_episodes = {}
        self._return[:] = 0.0
        self._length[:] = 0
        for row in range(self.num_envs):
            self._open(row)
        return self._given(first)

    def repeat_seeds(self) -> None:
        """Let the next reset use the seeds of the last one."""
        self._seeds = list(self._used_seeds)

    def step_async(self, actions: np.ndarray) -> None:
        """Take in actions ``[N, A]``, or ``[N]`` for discrete ones."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step every environment.

        Returns:
            observation (after autoreset), reward float32 ``[N]``, done bool ``[N]``, infos.
        """
        actions = self._actions
        if isinstance(self.action_space, gymnasium.spaces.Discrete):
            actions = np.asarray(actions).reshape(self.num_envs) + self._action_start
        following, reward, terminated, truncated, infos = self.env.step(actions)
        # Copies: SB3 adds to the rewards in place, and environments may reuse their arrays.
        reward = np.array(reward, np.float32)
        terminated = np.array(terminated, bool)
        truncated = np.array(truncated, bool) & ~terminated
        kept: dict[str, Any] = {
            "success": np.array(infos.get("success", np.zeros(self.num_envs, bool))),
            "signals": {name: np.array(x) for name, x in infos.get("signals", {}).items()},
        }
        if "final_obs" in infos:
            kept["final_obs"] = infos["final_obs"]
        self.steps += 1
        self._return += reward
        self._length += 1
        ended = self.episode.copy()
        done = terminated | truncated
        rows = self._infos(kept, truncated, done)
        self.last_step = TakenStep(
            reward, terminated, truncated, kept, infos.get("frames"), ended, self.episode.copy()
        )
        return self._given(following), reward.copy(), done, rows

    def _infos(
        self, kept: dict[str, Any], truncated: np.ndarray, done: np.ndarray
    ) -> list[dict[str, Any]]:
        """One dict per environment, as SB3 reads them; closes the episodes that ended."""
        signals = {name: array.tolist() for name, array in kept["signals"].items()}
        rows: list[dict[str, Any]] = [
            {
                "is_success": success,
                "TimeLimit.truncated": cut,
                "signals": {name: values[row] for name, values in signals.items()},
            }
            for row, (success, cut) in enumerate(
                zip(kept["success"].tolist(), truncated.tolist(), strict=True)
            )
        ]
        for row in np.flatnonzero(done).tolist():
            final = kept["final_obs"][row]
            rows[row]["terminal_observation"] = self._given(final)
            rows[row]["episode"] = {
                "r": float(self._return[row]),
                "l": int(self._length[row]),
                "t": round(time.time() - self._start, 6),
            }
            self._return[row] = 0.0
            self._length[row] = 0
            del self.open_episodes[int(self.episode[row])]
            self._open(row)
        return rows

    def _open(self, row: int) -> None:
        self.episode[row] = self._next_episode
        info = self.env.episode_info(row)
        self.open_episodes[self._next_episode] = info
        self.reset_infos[row] = {"instruction": info.instruction, "seed": info.seed}
        self._next_episode += 1

    def _given(self, observation: Any) -> Any:
        """Copies of what SB3 reads: it keeps observations until after the next step."""
        if self.observation_key is not None:
            return np.array(observation[self.observation_key])
        return {key: np.array(observation[key]) for key in self._keys}

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; see the contract."""
        self.env.set_camera_schedule(schedule)
        self.camera = schedule

    def close(self) -> None:
        """Close the wrapped environment."""
        self.env.close()

    # ------------------------------------------------------------------ attributes

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once per index: all share it."""
        return [getattr(self.env, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, for all at once."""
        if len(self._rows(indices)) != self.num_envs:
            raise RoboError(
                f"{attr_name!r} cannot be set for environments {indices} alone: robo steps all "
                "together; leave out indices"
            )
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """``episode_info`` of each index; the vector environment has no other such method."""
        if method_name == "episode_info":
            return [self.env.episode_info(row) for row in self._rows(indices)]
        raise RoboError(
            f"method {method_name!r} cannot be called on single environments: robo steps all "
            "together; call it on the vector environment, .env"
        )

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """True for ``Monitor``, whose statistics this class gives; False for others."""
        return [wrapper_class is Monitor] * len(self._rows(indices))

    def _rows(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))


def sb3_vec_env(env: VectorEnvironment, observation: str = "dict") -> SB3Environment:
    """``env`` for a learner of Stable-Baselines3.

    Args:
        env: from :func:`robo.make_vec`; owned by the result from now on.
        observation: ``dict`` for all entries (SB3's MultiInputPolicy), or the key of one entry:
            ``state`` gives a flat Box (MlpPolicy), an image's key suits CnnPolicy.

    Raises:
        RoboError: the observation has no such key.
    """
    return SB3Environment(env, observation)


def _observation_space(
    env: VectorEnvironment, observation: str
) -> tuple[gymnasium.Space, tuple[str, ...]]:
    space = env.single_observation_space
    assert isinstance(space, gymnasium.spaces.Dict)
    if observation != "dict":
        if observation not in space.spaces:
            raise RoboError(
                f"{env.task} has no observation {observation!r}; choose 'dict' or one of "
                f"{sorted(space.spaces)}"
            )
        return space.spaces[observation], (observation,)
    # Environments of images alone have an empty state, which SB3's networks do not take.
    keys = tuple(key for key, part in space.spaces.items() if np.prod(part.shape or (1,)) > 0)
    return gymnasium.spaces.Dict({key: space.spaces[key] for key in keys}), keys
