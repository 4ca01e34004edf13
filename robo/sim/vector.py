"""Vector environments over preallocated rows: what in-process, threads and workers share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import FrameRows, VectorEnvironment
from robo.sim.rows import Description, Ending, named_arrays


class RowVectorEnvironment(VectorEnvironment):
    """N equal environments whose rows some backend fills.

    Every returned array is a fresh copy. Given a seed, results do not depend on the backend:
    environment i is reset with ``seed + i`` and goes on with its own generator.

    Attributes:
        backend_measurements: backend name to environment steps per second, where the backend
            was chosen by measuring.
    """

    def __init__(self, description: Description, num_envs: int) -> None:
        """Set the spaces; subclasses call :meth:`_bind` with their arrays."""
        self.num_envs = num_envs
        self.task = description.task
        self.cameras = description.cameras
        self.signal_names = description.signal_names
        self.max_episode_steps = description.max_episode_steps
        self.provenance = description.provenance
        self.single_observation_space = description.observation_space
        self.single_action_space = description.action_space
        self.observation_space = batch_space(description.observation_space, num_envs)
        self.action_space = batch_space(description.action_space, num_envs)
        self.backend_measurements: dict[str, float] = {}
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None
        self._frames: dict[str, np.ndarray] | None = None
        self._episodes: list[EpisodeInfo] = []

    def _bind(self, arrays: dict[str, np.ndarray]) -> None:
        """Read results from ``arrays`` (see :func:`robo.sim.rows.row_layout`)."""
        self._arrays = arrays
        self._keys = named_arrays(arrays, "observation/")
        self._final_keys = named_arrays(arrays, "final/")

    @abstractmethod
    def _reset_rows(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[list[EpisodeInfo], list[dict[str, Any]]]:
        """Reset all rows."""

    @abstractmethod
    def _step_rows(self, actions: np.ndarray) -> list[Ending]:
        """Step all rows with checked actions; endings in row order."""

    @abstractmethod
    def _apply_schedule(self, schedule: CameraSchedule | None) -> dict[str, np.ndarray] | None:
        """Give the environments the schedule; returns the frame arrays that they fill."""

    @abstractmethod
    def _state_rows(self) -> list[dict[str, Any]]:
        """Exact states, in row order."""

    @abstractmethod
    def _load_rows(self, states: list[dict[str, Any]]) -> list[EpisodeInfo]:
        """Restore exact states."""

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset every environment.

        Args:
            seed: int (environment i gets ``seed + i``), a list of N, or None to go on with the
                environments' own generators.
            options: passed to every environment.

        Raises:
            RoboError: a list of another length than N.
        """
        self._check_open()
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise RoboError(f"got {len(seeds)} seeds for {self.num_envs} environments")
        if self._pending != self._schedule:
            self._use_schedule(self._pending)
        if self._frames is not None:
            self._frames["due"][:] = False
        self._episodes, row_infos = self._reset_rows(seeds, options)
        infos: dict[str, Any] = {}
        for row, info in enumerate(row_infos):
            infos = self._add_info(infos, info, row)
        self._add_frames(infos)
        return self.current_observation(), infos

    def step(  # type: ignore[override]
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment; see :class:`~robo.sim.contract.VectorEnvironment`.

        Raises:
            RoboError: actions of a wrong shape, or not finite; called before ``reset``.
        """
        self._check_open()
        if not self._episodes:
            raise RoboError(f"step() of {self.task} came before the first reset(); call reset()")
        checked = checked_actions(actions, self.single_action_space, self.num_envs)
        if self._frames is not None:
            self._frames["due"][:] = False
        endings = self._step_rows(checked)
        arrays = self._arrays
        infos: dict[str, Any] = {
            "success": arrays["success"].copy(),
            "signals": {
                name: arrays["signals"][:, index].copy()
                for index, name in enumerate(self.signal_names)
            },
        }
        if endings:
            self._add_endings(infos, endings)
        if self._frames is not None:
            self._add_frames(infos)
        return (
            {key: array.copy() for key, array in self._keys},
            arrays["reward"].copy(),
            arrays["terminated"].copy(),
            arrays["truncated"].copy(),
            infos,
        )

    def _add_endings(self, infos: dict[str, Any], endings: list[Ending]) -> None:
        """Gymnasium's own ``final_obs`` and ``final_info`` of the episodes that ended."""
        final_info: dict[str, Any] = {}
        final_obs = np.full(self.num_envs, None, dtype=object)
        ended = np.zeros(self.num_envs, dtype=np.bool_)
        for row, info, episode in endings:
            final_obs[row] = {key: array[row].copy() for key, array in self._final_keys}
            ended[row] = True
            final_info = self._add_info(final_info, info, row)
            self._episodes[row] = episode
        infos["final_obs"], infos["_final_obs"] = final_obs, ended
        infos["final_info"], infos["_final_info"] = final_info, ended.copy()

    def _add_frames(self, infos: dict[str, Any]) -> None:
        """``infos["frames"]`` where any frame is due."""
        if self._frames is None:
            return
        part, row = np.nonzero(self._frames["due"])
        if row.size:
            views = {
                role: array[part, row] for role, array in self._frames.items() if role != "due"
            }
            infos["frames"] = FrameRows(views, row.astype(np.int64), part == 0)

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; None stops at once.

        Raises:
            RoboError: a view that the environments do not have.
        """
        check_schedule(self.task, self.cameras, schedule)
        self._pending = schedule
        if schedule is None and self._schedule is not None:
            self._use_schedule(None)

    def _use_schedule(self, schedule: CameraSchedule | None) -> None:
        self._frames = self._apply_schedule(schedule)
        self._schedule = schedule

    def episode_info(self, env: int) -> EpisodeInfo:
        """What identifies the current episode of environment ``env``."""
        if not self._episodes:
            raise RoboError(f"{self.task} has no episode before the first reset(); call reset()")
        return self._episodes[env]

    def current_observation(self) -> dict[str, np.ndarray]:
        """Observation of the current states, ``[N, ...]`` each."""
        return {key: array.copy() for key, array in self._keys}

    def state_dict(self) -> dict[str, Any]:
        """Exact state of all environments: tensors, numbers, strings, lists, dicts."""
        import torch

        self._check_open()
        return {
            "environments": self._state_rows(),
            "observation": {key: torch.from_numpy(array.copy()) for key, array in self._keys},
            "schedule": None if self._schedule is None else asdict(self._schedule),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; no reset is needed before or after.

        Raises:
            RoboError: saved from another number of environments.
        """
        self._check_open()
        if len(state["environments"]) != self.num_envs:
            raise RoboError(
                f"the saved state holds {len(state['environments'])} environments, this vector "
                f"has {self.num_envs}; resume with --num-envs {len(state['environments'])}"
            )
        saved = state["schedule"]
        schedule = None
        if saved is not None:
            schedule = CameraSchedule(**{**saved, "views": tuple(saved["views"])})
            self._pending = schedule
        self._use_schedule(schedule)
        self._episodes = self._load_rows(state["environments"])
        for key, array in self._keys:
            array[...] = state["observation"][key].numpy()

    def _check_open(self) -> None:
        if self.closed:
            raise RoboError(f"this vector environment of {self.task} is closed; make a new one")


def check_schedule(task: str, cameras: tuple[str, ...], schedule: CameraSchedule | None) -> None:
    """Refuse a schedule with views that ``cameras`` does not have.

    Raises:
        RoboError: naming the missing views.
    """
    missing = [] if schedule is None else [view for view in schedule.views if view not in cameras]
    if missing:
        raise RoboError(
            f"{task} has no camera {', '.join(missing)}; it offers {', '.join(cameras) or 'none'}"
        )


def check_same(description: Description, other: Description) -> None:
    """Refuse environments of different spaces in one vector.

    Raises:
        RoboError: where spaces or signals differ.
    """
    if (description.observation_space, description.action_space, description.signal_names) != (
        other.observation_space,
        other.action_space,
        other.signal_names,
    ):
        raise RoboError(
            f"{description.task} and {other.task} differ in spaces or signals and cannot share "
            "one vector environment"
        )
