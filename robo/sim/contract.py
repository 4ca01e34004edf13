"""The one simulator contract: what every environment of robo offers, single or in a vector.

Single environments are ``gymnasium.Env`` with a Dict observation space whose ``state`` entry is
a float32 vector. Camera frames for rewards are rendered where the environment lives, after the
step and before autoreset, and only when a :class:`~robo.rollout.CameraSchedule` asks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np

from robo.rollout import CameraSchedule, EpisodeInfo


class StateNotSupportedError(RuntimeError):
    """This environment cannot save its exact state; a resumed run resets it instead."""


class Environment(gymnasium.Env):
    """A single environment that keeps robo's contract.

    ``info`` of every ``step`` holds ``success`` (bool), ``signals`` (dict of float) and, where
    the camera schedule asks for a frame of the new state, ``frames`` (role to uint8
    ``[H, W, 3]``). ``info`` of ``reset`` holds ``instruction``, ``initial_state`` (int or None)
    and the first ``frames``. Success terminates.
    """

    task: str = ""
    """Registry id."""
    instruction: str = ""
    """The task in words."""
    cameras: tuple[str, ...] = ()
    """Camera roles that can be rendered."""
    signal_names: tuple[str, ...] = ()
    """Keys of ``info["signals"]``."""
    max_episode_steps: int | None = None
    """Time limit in steps; the environment truncates by itself."""

    @abstractmethod
    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` into ``info["frames"]`` from the next ``reset`` on.

        Until then nothing changes, so that every episode has all its frames or none; None stops
        at once. Set it before :meth:`load_state_dict` too, which goes on in mid-episode.
        """

    @abstractmethod
    def episode_info(self) -> EpisodeInfo:
        """What identifies the current episode."""

    def state_dict(self) -> dict[str, Any]:
        """Exact state: tensors, arrays, numbers, strings. Restores bit for bit."""
        raise StateNotSupportedError(f"{self.task} cannot save its exact state")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        raise StateNotSupportedError(f"{self.task} cannot restore an exact state")


@dataclass
class FrameRows:
    """Camera frames of one step of a vector environment, K rows.

    Final rows (the states in which episodes ended) come first, then rows of current states
    (reset rows included). Each part is ordered by env.
    """

    views: dict[str, np.ndarray]
    """Role to uint8 ``[K, H, W, 3]``."""
    env: np.ndarray
    """int64 ``[K]``."""
    final: np.ndarray
    """bool ``[K]``."""


class VectorEnvironment(gymnasium.vector.VectorEnv):
    """N environments stepped together, SAME_STEP autoreset.

    ``step(actions)`` returns ``(observation, reward, terminated, truncated, infos)``:

    * observation: dict of arrays ``[N, ...]``, after autoreset; arrays are fresh each step or
      documented otherwise (callers copy what they keep);
    * reward float32 ``[N]``, terminated and truncated bool ``[N]``;
    * ``infos["success"]`` bool ``[N]`` and ``infos["signals"]`` dict of float32 ``[N]``: of the
      step just taken, also where the episode ended with it;
    * ``infos["final_obs"]`` (object array ``[N]`` of dict or None), ``infos["_final_obs"]``
      (bool ``[N]``), ``infos["final_info"]``: gymnasium's own, on steps where an episode ended;
    * ``infos["frames"]``: :class:`FrameRows`, on steps where any frame is due.

    ``reset(seed=...)`` returns ``(observation, infos)`` with ``infos["frames"]`` where a camera
    schedule is set (row of every environment). ``seed`` int or list of N ints.
    """

    # Declared as gymnasium's base class declares it.
    metadata: dict[str, Any] = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}  # noqa: RUF012
    provenance: Mapping[str, Any] = MappingProxyType({})
    """JSON values to record with every episode, ``rendering_profile`` among them."""
    task: str = ""
    backend: str = ""
    cameras: tuple[str, ...] = ()
    signal_names: tuple[str, ...] = ()
    max_episode_steps: int | None = None

    @abstractmethod
    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` into ``infos["frames"]`` from the next ``reset`` on.

        Until then nothing changes (an autoreset is no ``reset``), so that every episode has all
        its frames or none; None stops at once. Set it before :meth:`load_state_dict` too, which
        goes on in mid-episode.
        """

    @abstractmethod
    def episode_info(self, env: int) -> EpisodeInfo:
        """What identifies the current episode of environment ``env`` (0 ... N-1)."""

    def state_dict(self) -> dict[str, Any]:
        """Exact state of all environments, generators included.

        Raises:
            StateNotSupportedError: where an environment cannot.
        """
        raise StateNotSupportedError(f"{self.task} cannot save its exact state")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; no reset is needed before or after."""
        raise StateNotSupportedError(f"{self.task} cannot restore an exact state")

    def current_observation(self) -> dict[str, np.ndarray]:
        """Observation of the current states, ``[N, ...]`` each (after a reset or a restore)."""
        raise StateNotSupportedError(f"{self.task} does not keep its current observation")
