"""Vector environments in worker processes, results in shared memory: for slow simulators.

Workers are started by ``subprocess`` rather than ``multiprocessing``: they never import the
caller's main module, so a script needs no ``__main__`` guard, and no thread or GPU context of
this process is forked. Messages are pickled plainly: ``Connection.send`` would hand over tensors
by a side channel that only ``multiprocessing``'s own children may use.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.in_process import available_cores
from robo.sim.rows import (
    CURRENT,
    FINAL,
    Description,
    Ending,
    EnvironmentFactory,
    frame_layout,
    row_layout,
)
from robo.sim.shared_memory import Layout, SharedArrays
from robo.sim.vector import RowVectorEnvironment, check_same
from robo.sim.worker_handle import WorkerHandle

MAX_LOSSES = 3
"""Times that one worker may be lost without an episode that ended in between."""


class Cut(NamedTuple):
    """What is still to be reported of an episode whose worker was lost."""

    reason: str
    observation: dict[str, np.ndarray]
    """The last one that was shown."""
    signals: np.ndarray
    """The last ones that were shown."""
    frames: dict[str, np.ndarray]
    """The last frames of the old episode; empty where nothing renders."""


class WorkerVectorEnvironment(RowVectorEnvironment):
    """Worker processes with several environments each.

    A worker that dies or falls silent is replaced, with a warning that names its environments
    and the exit code. Their episodes are truncated: the last observation, signals and frames
    once more, reward 0, and ``worker_lost`` (the reason) in the final info. New episodes begin
    from seeds derived from the old ones. A worker that is lost :data:`MAX_LOSSES` times without
    an episode that ended in between raises :class:`~robo.errors.RoboError` and closes the vector.
    """

    backend = "workers"

    def __init__(
        self,
        factories: Sequence[EnvironmentFactory],
        num_workers: int | None = None,
        timeout: float = 600.0,
    ) -> None:
        """Start the workers; factories must be picklable.

        Args:
            factories: one per environment.
            num_workers: processes; default one per core, at most one per environment.
            timeout: seconds after which a silent worker counts as lost.

        Raises:
            RoboError: no support on this platform, or an environment that cannot be made.
        """
        if os.name != "posix":
            raise RoboError('worker processes need Linux or macOS; use backend="threads"')
        self._workers: list[WorkerHandle] = []
        self._shown: dict[str, np.ndarray] = {}
        self._shown_frames: dict[str, np.ndarray] = {}
        self._rendered: CameraSchedule | None = None
        self._cuts: dict[int, Cut] = {}
        self.losses = 0
        self._shared: SharedArrays | None = None
        self._frame_memory: SharedArrays | None = None
        self.task = "the environment"
        count = max(1, min(len(factories), num_workers or available_cores()))
        bounds = np.linspace(0, len(factories), count + 1).astype(int).tolist()
        try:
            for start, stop in pairwise(bounds):
                self._workers.append(WorkerHandle(start, list(factories[start:stop]), timeout))
            described: list[list[Description]] = self._receive_all()
        except BaseException:
            self.close()
            raise
        descriptions = [description for part in described for description in part]
        super().__init__(descriptions[0], len(factories))
        for other in descriptions[1:]:
            check_same(descriptions[0], other)
        self._layout: Layout = {
            **row_layout(descriptions[0], self.num_envs),
            "stepping": ((self.num_envs,), np.dtype(np.int64)),
        }
        self._shared = SharedArrays(self._layout)
        self._shared.arrays["stepping"][:] = -1
        self._bind(self._shared.arrays)
        self._in_a_row = [0] * len(self._workers)
        for worker in self._workers:
            self._send_memory(worker)
        self._receive_all()

    @property
    def process_ids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def rebuild(self) -> None:
        """Make fresh environments in the running workers (after a measurement)."""
        self._use_schedule(None)
        self._episodes = []
        self._ask_all("rebuild")

    def _ask_all(self, command: str, *arguments: Any) -> list[Any]:
        for worker in self._workers:
            worker.send(command, *arguments)
        return self._receive_all()

    def _receive_all(self) -> list[Any]:
        """One answer per worker; every worker is heard before the first error is raised."""
        results, failure = [], None
        for worker in self._workers:
            try:
                results.append(worker.receive())
            except (EOFError, TimeoutError) as error:
                lost = self._lost(worker, isinstance(error, TimeoutError))
                self.close()
                raise lost from None
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return results

    def _lost(self, worker: WorkerHandle, silent: bool) -> RoboError:
        """The sentence for a worker that cannot be replaced."""
        return RoboError(
            f"{self._fate(worker, silent)}; "
            "make the environments again and resume from the last checkpoint"
        )

    def _fate(self, worker: WorkerHandle, silent: bool) -> str:
        """Which environments were lost with a worker, and how."""
        stepping = -1
        if self._shared is not None and self._shared.arrays:
            stepping = int(self._shared.arrays["stepping"][worker.first])
        rows = range(worker.first, worker.stop) if stepping < 0 else [stepping]
        name = f"environment{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"
        return (
            f"{name} of {self.task} is lost: the worker process {worker.process.pid} "
            f"{worker.fate(silent)}"
        )

    # --- Replacement ------------------------------------------------------------------------

    def _send_memory(self, worker: WorkerHandle) -> None:
        """Let a worker map the row arrays; it answers once."""
        assert self._shared is not None
        worker.send("bind", self._layout)
        worker.send_descriptor(self._shared.descriptor)

    def _send_frames(self, worker: WorkerHandle, layout: Layout | None) -> None:
        """Let a worker map the frame arrays, or drop them; it answers once."""
        worker.send("bind_frames", self._rendered, layout)
        if self._frame_memory is not None:
            worker.send_descriptor(self._frame_memory.descriptor)

    def _ask(self, index: int, command: str, *arguments: Any) -> Any:
        """A worker's answer; None where it was lost, and replaced by one with new episodes."""
        self._workers[index].send(command, *arguments)
        return self._hear(index)

    def _hear(self, index: int) -> Any:
        """The answer to what was sent; None as :meth:`_ask`."""
        try:
            return self._workers[index].receive()
        except (EOFError, TimeoutError) as error:
            self._replace(index, isinstance(error, TimeoutError))
            return None

    def _hear_all(self) -> list[Any]:
        """The answers to what was sent to all; a loss before any episode is no replacement's."""
        if not self._episodes:
            return self._receive_all()
        return [self._hear(index) for index in range(len(self._workers))]

    def _replace(self, index: int, silent: bool) -> None:
        """A new worker for a lost one; its episodes are to be reported as truncated."""
        old = self._workers[index]
        reason = self._fate(old, silent)
        self.losses += 1
        self._in_a_row[index] += 1
        if self._in_a_row[index] > MAX_LOSSES:
            self.close()
            raise RoboError(
                f"{reason}, for the {self._in_a_row[index]}th time in a row; "
                "make the environments again and resume from the last checkpoint"
            )
        warnings.warn(f"{reason}; its episodes are truncated and go on anew", stacklevel=2)
        old.process.kill()
        old.stop_process(time.monotonic())
        for row in range(old.first, old.stop):
            self._cuts.setdefault(row, self._cut(row, reason))
        for attempt in range(MAX_LOSSES):
            try:
                self._start_anew(index, old)
                return
            except BaseException as error:
                # What ran before may run again: its server was slow to start, or died at once.
                if isinstance(error, RoboError) and attempt < MAX_LOSSES - 1:
                    self._workers[index].process.kill()
                    self._workers[index].stop_process(time.monotonic())
                    continue
                self.close()
                if isinstance(error, (EOFError, TimeoutError)):
                    raise RoboError(f"{reason}, and a new one cannot be started") from error
                raise

    def _start_anew(self, index: int, old: WorkerHandle) -> None:
        """A worker in place of ``old``, in the same memory, with new episodes."""
        self._workers[index] = new = WorkerHandle(old.first, old.factories, old.timeout)
        new.receive()
        self._arrays["stepping"][old.first] = -1
        self._send_memory(new)
        new.receive()
        if self._rendered is not None:
            self._send_frames(new, frame_layout(self._rendered, self.num_envs))
            new.receive()
        new.send("reset", [self._new_seed(row) for row in range(new.first, new.stop)], None)
        episodes, _ = new.receive()
        self._episodes[new.first : new.stop] = episodes

    def _cut(self, row: int, reason: str) -> Cut:
        """What will be reported of the episode in ``row``."""
        return Cut(
            reason,
            {key: array[row].copy() for key, array in self._shown.items()},
            self._shown_signals[row].copy(),
            {role: array[row].copy() for role, array in self._shown_frames.items()},
        )

    def _new_seed(self, row: int) -> int:
        """Of the episode that follows a lost one: another, and the same in a repeated run."""
        sequence = np.random.SeedSequence([self._episodes[row].seed or 0, row, self.losses])
        return int(sequence.generate_state(1)[0] >> 1)

    def _report_cuts(self, worker: WorkerHandle) -> list[Ending]:
        """Write the truncation of a replaced worker's old episodes into its rows."""
        arrays, endings = self._arrays, []
        for row in range(worker.first, worker.stop):
            cut = self._cuts.pop(row)
            arrays["reward"][row] = 0.0
            arrays["terminated"][row] = arrays["success"][row] = False
            arrays["truncated"][row] = True
            arrays["signals"][row] = cut.signals
            for key, value in cut.observation.items():
                arrays[f"final/{key}"][row] = value
            if self._frame_memory is not None:
                frames = self._frame_memory.arrays
                for role, frame in cut.frames.items():
                    frames[role][FINAL, row] = frame
                # The replacement wrote the first frame of the new episode.
                frames["due"][:, row] = True
            signals = dict(zip(self.signal_names, cut.signals.tolist(), strict=True))
            info = {"success": False, "signals": signals, "worker_lost": cut.reason}
            endings.append(Ending(row, info, self._episodes[row]))
        return endings

    def _remember(self, observation: dict[str, np.ndarray]) -> None:
        """Keep what was shown last: a dying worker may leave half of something newer."""
        self._shown = observation
        self._shown_signals = self._arrays["signals"].copy()
        if self._frames is not None and self._frames["due"].any():
            self._shown_frames = {
                role: array[CURRENT].copy() for role, array in self._frames.items() if role != "due"
            }

    # --- The vector contract ----------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """See :class:`~robo.sim.vector.RowVectorEnvironment`."""
        result = super().reset(seed=seed, options=options)
        self._remember(result[0])
        return result

    def step(
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """See :class:`~robo.sim.vector.RowVectorEnvironment`."""
        result = super().step(actions)
        self._remember(result[0])
        return result

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~robo.sim.vector.RowVectorEnvironment`."""
        super().load_state_dict(state)
        self._cuts.clear()
        self._remember(self.current_observation())

    def _reset_rows(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[list[EpisodeInfo], list[dict[str, Any]]]:
        if not self._episodes:
            # Nothing has begun: a loss now is a start that failed.
            for worker in self._workers:
                worker.send("reset", seeds[worker.first : worker.stop], options)
            parts = self._receive_all()
        else:
            for worker in self._workers:
                worker.send("reset", seeds[worker.first : worker.stop], options)
            parts = [self._hear(index) for index in range(len(self._workers))]
            for index, worker in enumerate(self._workers):
                while parts[index] is None:
                    mine = seeds[worker.first : worker.stop]
                    parts[index] = self._ask(index, "reset", mine, options)
            self._cuts.clear()
        episodes = [episode for part, _ in parts for episode in part]
        return episodes, [info for _, part in parts for info in part]

    def _step_rows(self, actions: np.ndarray) -> list[Ending]:
        self._arrays["action"][...] = actions
        stepping = [worker.first not in self._cuts for worker in self._workers]
        for worker, goes in zip(self._workers, stepping, strict=True):
            if goes:
                worker.send("step")
        endings: list[Ending] = []
        failure: Exception | None = None
        for index, goes in enumerate(stepping):
            try:
                part = self._hear(index) if goes else None
            except Exception as error:
                if not self._workers:
                    raise  # It was lost for good, and the vector is closed.
                failure = failure or error
                continue
            if part is None:
                part = self._report_cuts(self._workers[index])
            elif part:
                self._in_a_row[index] = 0
            endings += part
        if failure is not None:
            raise failure
        return endings

    def _apply_schedule(self, schedule: CameraSchedule | None) -> dict[str, np.ndarray] | None:
        old = self._frame_memory
        layout = None if schedule is None else frame_layout(schedule, self.num_envs)
        self._frame_memory = None if layout is None else SharedArrays(layout)
        self._rendered, self._shown_frames = schedule, {}
        for worker in self._workers:
            self._send_frames(worker, layout)
        self._hear_all()
        if old is not None:
            old.close()
        return None if self._frame_memory is None else self._frame_memory.arrays

    def _state_rows(self) -> list[dict[str, Any]]:
        for worker in self._workers:
            worker.send("state_dicts")
        parts = [self._hear(index) for index in range(len(self._workers))]
        for index in range(len(parts)):
            # The state of a replacement is that of its new episodes.
            while parts[index] is None:
                parts[index] = self._ask(index, "state_dicts")
        return [state for part in parts for state in part]

    def _load_rows(self, states: list[dict[str, Any]]) -> list[EpisodeInfo]:
        for worker in self._workers:
            worker.send("load_state_dicts", states[worker.first : worker.stop])
        parts = self._hear_all()
        for index, worker in enumerate(self._workers):
            while parts[index] is None:
                mine = states[worker.first : worker.stop]
                parts[index] = self._ask(index, "load_state_dicts", mine)
        return [episode for part in parts for episode in part]

    def close_extras(self, **kwargs: Any) -> None:
        """Ask the workers to close, kill those that have not after two seconds."""
        for worker in self._workers:
            worker.send("close")
        deadline = time.monotonic() + 2.0
        for worker in self._workers:
            worker.stop_process(deadline)
        self._workers = []
        for memory in (self._shared, self._frame_memory):
            if memory is not None:
                memory.close()
