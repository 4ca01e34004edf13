"""Environments as rows of preallocated arrays: the loop that every vector backend runs.

The in-process backend runs one such loop over plain arrays, threads run several over the same
arrays, and worker processes run theirs over shared memory: one stepping code, equal results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import Environment
from robo.sim.shared_memory import Layout

EnvironmentFactory = Callable[[], Environment]

FINAL, CURRENT = 0, 1
"""First index of the frame arrays: the state in which an episode ended, the current state."""


class Description(NamedTuple):
    """What a vector environment must know of one of its (equal) environments."""

    task: str
    observation_space: gymnasium.spaces.Dict
    action_space: gymnasium.Space
    cameras: tuple[str, ...]
    signal_names: tuple[str, ...]
    max_episode_steps: int | None
    provenance: dict[str, Any]
    """What is recorded with every episode: JSON values, the rendering profile among them."""


class Ending(NamedTuple):
    """One episode that ended with the step just taken."""

    row: int
    info: dict[str, Any]
    """``info`` of the ending step, without frames."""
    episode: EpisodeInfo
    """Of the episode that began in the same step."""


def describe(environment: Environment) -> Description:
    """Spaces and metadata of ``environment``."""
    space = environment.observation_space
    assert isinstance(space, gymnasium.spaces.Dict)
    profile = getattr(environment, "profile", None)
    return Description(
        environment.task,
        space,
        environment.action_space,
        environment.cameras,
        environment.signal_names,
        environment.max_episode_steps,
        {
            **({} if profile is None else {"rendering_profile": profile}),
            **getattr(environment, "provenance", {}),
        },
    )


def row_layout(description: Description, num_envs: int) -> Layout:
    """Arrays of one step of ``num_envs`` environments."""
    flag = ((num_envs,), np.dtype(np.bool_))
    layout: dict[str, tuple[tuple[int, ...], np.dtype]] = {
        "reward": ((num_envs,), np.dtype(np.float32)),
        "terminated": flag,
        "truncated": flag,
        "success": flag,
        "signals": ((num_envs, len(description.signal_names)), np.dtype(np.float32)),
    }
    for key, space in description.observation_space.items():
        assert space.shape is not None and space.dtype is not None
        entry = ((num_envs, *space.shape), np.dtype(space.dtype))
        layout[f"observation/{key}"] = entry
        layout[f"final/{key}"] = entry
    action = description.action_space
    assert action.shape is not None and action.dtype is not None
    layout["action"] = ((num_envs, *action.shape), np.dtype(action.dtype))
    return layout


def frame_layout(schedule: CameraSchedule, num_envs: int) -> Layout:
    """Arrays of the camera frames of one step: final frames, then current ones."""
    image = (2, num_envs, schedule.height, schedule.width, 3)
    views = {role: (image, np.dtype(np.uint8)) for role in schedule.views}
    return {**views, "due": ((2, num_envs), np.dtype(np.bool_))}


class EnvironmentRows:
    """A run of environments that write what they return into rows ``first``, ``first + 1``, ...

    Attributes:
        environments: the environments, in row order.
    """

    def __init__(self, environments: list[Environment], first: int = 0) -> None:
        """Take over ``environments``; :meth:`bind` gives them their arrays."""
        self.environments = environments
        self.first = first
        self.signal_names = environments[0].signal_names
        self._steps = [
            (first + index, environment, getattr(environment, "step_checked", environment.step))
            for index, environment in enumerate(environments)
        ]
        self._frames: dict[str, np.ndarray] | None = None

    def bind(self, arrays: dict[str, np.ndarray]) -> None:
        """Use ``arrays`` (see :func:`row_layout`) from now on."""
        self.arrays = arrays
        self._observation = named_arrays(arrays, "observation/")
        self._final = named_arrays(arrays, "final/")

    def bind_frames(
        self, schedule: CameraSchedule | None, frames: dict[str, np.ndarray] | None
    ) -> None:
        """Use ``frames`` (see :func:`frame_layout`); environments render ``schedule``."""
        self._frames = frames
        for environment in self.environments:
            environment.set_camera_schedule(schedule)

    def reset(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[list[EpisodeInfo], list[dict[str, Any]]]:
        """Reset every environment with its own seed; episode infos and infos without frames."""
        episodes, infos = [], []
        for (row, environment, _), seed in zip(self._steps, seeds, strict=True):
            observation, info = environment.reset(seed=seed, options=options)
            self._write(self._observation, row, observation)
            self._write_frames(CURRENT, row, info)
            episodes.append(environment.episode_info())
            infos.append({key: value for key, value in info.items() if key != "frames"})
        return episodes, infos

    def step(
        self, actions: np.ndarray, progress: Callable[[int], None] | None = None
    ) -> list[Ending]:
        """Step every environment with its row of ``actions`` and reset those that ended.

        Args:
            actions: all rows, ``[N, ...]``, not just this run's.
            progress: called with each row before its step, to name a row that never returns.
        """
        arrays = self.arrays
        reward_rows, success_rows = arrays["reward"], arrays["success"]
        terminated_rows, truncated_rows = arrays["terminated"], arrays["truncated"]
        mine = slice(self.first, self.first + len(self._steps))
        success_rows[mine] = terminated_rows[mine] = truncated_rows[mine] = False
        signal_rows, signal_names = arrays["signals"], self.signal_names
        rendering = self._frames is not None
        targets = self._observation
        endings: list[Ending] = []
        for row, environment, step in self._steps:
            if progress is not None:
                progress(row)
            observation, reward, terminated, truncated, info = step(actions[row])
            reward_rows[row] = reward
            if signal_names:
                signals = info["signals"]
                signal_rows[row] = [signals[name] for name in signal_names]
            if terminated or truncated:
                terminated_rows[row] = terminated
                truncated_rows[row] = truncated
                success_rows[row] = info["success"]  # success ends the episode
                if rendering:
                    self._write_frames(FINAL, row, info)
                self._write(self._final, row, observation)
                info.pop("frames", None)
                final_info = info
                observation, info = environment.reset()
                endings.append(Ending(row, final_info, environment.episode_info()))
            if rendering:
                self._write_frames(CURRENT, row, info)
            for key, target in targets:
                target[row] = observation[key]
        return endings

    def state_dicts(self) -> list[dict[str, Any]]:
        """Exact state of each environment."""
        return [environment.state_dict() for environment in self.environments]

    def load_state_dicts(self, states: list[dict[str, Any]]) -> list[EpisodeInfo]:
        """Restore each environment; returns what identifies the episodes now running."""
        for environment, state in zip(self.environments, states, strict=True):
            environment.load_state_dict(state)
        return [environment.episode_info() for environment in self.environments]

    def close(self) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()

    @staticmethod
    def _write(targets: list[tuple[str, np.ndarray]], row: int, observation: Any) -> None:
        for key, target in targets:
            target[row] = observation[key]

    def _write_frames(self, part: int, row: int, info: dict[str, Any]) -> None:
        """Copy the frames of ``info``, if any are due, into the frame arrays."""
        frames = info.get("frames")
        if frames is None or self._frames is None:
            return
        for role, target in self._frames.items():
            if role != "due":
                target[part, row] = frames[role]
        self._frames["due"][part, row] = True


def named_arrays(arrays: dict[str, np.ndarray], prefix: str) -> list[tuple[str, np.ndarray]]:
    """(observation key, array) of the arrays under ``prefix``."""
    return [
        (name.removeprefix(prefix), array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    ]
