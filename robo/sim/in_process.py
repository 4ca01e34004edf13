"""Vector environments that stay in this process: a plain loop, or a few threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import numpy as np

from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.rows import (
    Ending,
    EnvironmentFactory,
    EnvironmentRows,
    describe,
    frame_layout,
    row_layout,
)
from robo.sim.shared_memory import allocate
from robo.sim.vector import RowVectorEnvironment, check_same


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class InProcessVectorEnvironment(RowVectorEnvironment):
    """One loop over all environments: the fastest for cheap ones."""

    backend = "in_process"

    def __init__(self, factories: Sequence[EnvironmentFactory]) -> None:
        """Make one environment per factory; all must have equal spaces."""
        self.environments = [factory() for factory in factories]
        descriptions = [describe(environment) for environment in self.environments]
        for other in descriptions[1:]:
            check_same(descriptions[0], other)
        super().__init__(descriptions[0], len(self.environments))
        self._layout = row_layout(descriptions[0], self.num_envs)
        self._parts = self._split()
        arrays = allocate(self._layout)
        self._bind(arrays)
        for part in self._parts:
            part.bind(arrays)

    def _split(self) -> list[EnvironmentRows]:
        return [EnvironmentRows(self.environments)]

    def _reset_rows(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[list[EpisodeInfo], list[dict[str, Any]]]:
        episodes, infos = [], []
        for part in self._parts:
            stop = part.first + len(part.environments)
            part_episodes, part_infos = part.reset(seeds[part.first : stop], options)
            episodes += part_episodes
            infos += part_infos
        return episodes, infos

    def _step_rows(self, actions: np.ndarray) -> list[Ending]:
        return self._parts[0].step(actions)

    def _apply_schedule(self, schedule: CameraSchedule | None) -> dict[str, np.ndarray] | None:
        frames = None if schedule is None else allocate(frame_layout(schedule, self.num_envs))
        for part in self._parts:
            part.bind_frames(schedule, frames)
        return frames

    def _state_rows(self) -> list[dict[str, Any]]:
        return [state for part in self._parts for state in part.state_dicts()]

    def _load_rows(self, states: list[dict[str, Any]]) -> list[EpisodeInfo]:
        episodes = []
        for part in self._parts:
            stop = part.first + len(part.environments)
            episodes += part.load_state_dicts(states[part.first : stop])
        return episodes

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for environment in self.environments:
            environment.close()


class ThreadVectorEnvironment(InProcessVectorEnvironment):
    """A few threads, each with a run of environments: for simulators that release the GIL."""

    backend = "threads"

    def __init__(
        self, factories: Sequence[EnvironmentFactory], num_threads: int | None = None
    ) -> None:
        """Make the environments and ``num_threads`` threads (default: one per core)."""
        self.num_threads = max(1, min(len(factories), num_threads or available_cores()))
        self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="robo-env")
        super().__init__(factories)
        keys = self.observation_space.spaces  # type: ignore[attr-defined]
        self._observes_views = any(key.startswith("views/") for key in keys)

    def _split(self) -> list[EnvironmentRows]:
        bounds = np.linspace(0, len(self.environments), self.num_threads + 1).astype(int)
        return [
            EnvironmentRows(self.environments[start:stop], int(start))
            for start, stop in pairwise(bounds)
        ]

    def _step_rows(self, actions: np.ndarray) -> list[Ending]:
        # A GL context belongs to one thread, so steps that may render stay in this one.
        if self._frames is not None or self._observes_views:
            return [ending for part in self._parts for ending in part.step(actions)]
        futures = [self._pool.submit(part.step, actions) for part in self._parts]
        wait(futures)  # all of them, so that no step still runs when an error is raised
        return [ending for future in futures for ending in future.result()]

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads and close every environment."""
        self._pool.shutdown(wait=True)
        super().close_extras(**kwargs)
