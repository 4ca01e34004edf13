"""Vector environments in worker processes, results in shared memory: for slow simulators.

Workers are started by ``subprocess`` rather than ``multiprocessing``: they never import the
caller's main module, so a script needs no ``__main__`` guard, and no thread or GPU context of
this process is forked. Messages are pickled plainly: ``Connection.send`` would hand over tensors
by a side channel that only ``multiprocessing``'s own children may use.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from multiprocessing import Pipe, reduction
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.in_process import available_cores
from robo.sim.rows import Description, Ending, EnvironmentFactory, frame_layout, row_layout
from robo.sim.shared_memory import SharedArrays
from robo.sim.vector import RowVectorEnvironment, check_same

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from robo.sim.worker_process import main; main(int(sys.argv[1]))"
)
_NUMERIC_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


class WorkerHandle:
    """One worker process and the rows ``first`` ... ``stop - 1`` that it owns."""

    def __init__(self, first: int, factories: list[EnvironmentFactory], timeout: float) -> None:
        """Start the process and ask it to make its environments."""
        self.first, self.stop = first, first + len(factories)
        self.timeout = timeout
        self._sent = 0
        self.connection, theirs = Pipe(duplex=True)
        environment = {**dict.fromkeys(_NUMERIC_THREADS, "1"), **os.environ}
        descriptor = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(descriptor), json.dumps(sys.path)],
            pass_fds=(descriptor,),
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.send("build", first, factories)

    def send(self, command: str, *arguments: Any) -> None:
        """Send a command; a dead worker is noticed by :meth:`receive`."""
        self._sent += 1
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(pickle.dumps((self._sent, command, arguments)))

    def send_descriptor(self, descriptor: int) -> None:
        """Pass an open file descriptor."""
        with contextlib.suppress(OSError):
            reduction.send_handle(self.connection, descriptor, self.process.pid)

    def receive(self) -> Any:
        """The answer to the newest command.

        Older answers are dropped: Ctrl-C may have come between a command and its answer.

        Raises:
            EOFError: the process died.
            TimeoutError: no answer within ``timeout`` seconds.
            Exception: what the worker raised.
        """
        deadline = time.monotonic() + self.timeout
        number = 0
        fine, result = False, RuntimeError("no answer")
        try:
            while number != self._sent:
                while not self.connection.poll(1.0):
                    if self.process.poll() is not None and not self.connection.poll(0):
                        raise EOFError
                    if time.monotonic() > deadline:
                        raise TimeoutError
                number, fine, result = pickle.loads(self.connection.recv_bytes())
        except (ConnectionError, EOFError) as error:
            raise EOFError from error
        if not fine:
            raise result
        return result

    def exit_code(self) -> int | None:
        """Exit code of the process; negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=2.0)
        return None

    def stop_process(self, deadline: float) -> None:
        """Wait for the process until ``deadline`` (monotonic), then kill it."""
        try:
            self.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


class WorkerVectorEnvironment(RowVectorEnvironment):
    """Worker processes with several environments each.

    A worker that dies raises :class:`~robo.errors.RoboError` naming the environment and the
    exit code, and closes the vector.
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
        layout = {
            **row_layout(descriptions[0], self.num_envs),
            "stepping": ((self.num_envs,), np.dtype(np.int64)),
        }
        self._shared = SharedArrays(layout)
        self._shared.arrays["stepping"][:] = -1
        self._bind(self._shared.arrays)
        for worker in self._workers:
            worker.send("bind", layout)
            worker.send_descriptor(self._shared.descriptor)
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
        """The sentence for a worker that died or stopped answering."""
        stepping = -1
        if self._shared is not None and self._shared.arrays:
            stepping = int(self._shared.arrays["stepping"][worker.first])
        rows = range(worker.first, worker.stop) if stepping < 0 else [stepping]
        name = f"environment{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"
        if silent:
            what = f"gave no answer for {worker.timeout:g} s"
        else:
            code = worker.exit_code()
            what = f"died with exit code {code}"
            if code is not None and code < 0:
                with contextlib.suppress(ValueError):
                    what += f" ({signal.Signals(-code).name})"
        return RoboError(
            f"{name} of {self.task} is lost: the worker process {worker.process.pid} {what}; "
            "make the environments again and resume from the last checkpoint"
        )

    def _reset_rows(
        self, seeds: list[int | None], options: dict[str, Any] | None
    ) -> tuple[list[EpisodeInfo], list[dict[str, Any]]]:
        for worker in self._workers:
            worker.send("reset", seeds[worker.first : worker.stop], options)
        episodes, infos = [], []
        for part_episodes, part_infos in self._receive_all():
            episodes += part_episodes
            infos += part_infos
        return episodes, infos

    def _step_rows(self, actions: np.ndarray) -> list[Ending]:
        self._arrays["action"][...] = actions
        return [ending for part in self._ask_all("step") for ending in part]

    def _apply_schedule(self, schedule: CameraSchedule | None) -> dict[str, np.ndarray] | None:
        old = self._frame_memory
        layout = None if schedule is None else frame_layout(schedule, self.num_envs)
        self._frame_memory = None if layout is None else SharedArrays(layout)
        for worker in self._workers:
            worker.send("bind_frames", schedule, layout)
            if self._frame_memory is not None:
                worker.send_descriptor(self._frame_memory.descriptor)
        self._receive_all()
        if old is not None:
            old.close()
        return None if self._frame_memory is None else self._frame_memory.arrays

    def _state_rows(self) -> list[dict[str, Any]]:
        return [state for part in self._ask_all("state_dicts") for state in part]

    def _load_rows(self, states: list[dict[str, Any]]) -> list[EpisodeInfo]:
        for worker in self._workers:
            worker.send("load_state_dicts", states[worker.first : worker.stop])
        return [episode for part in self._receive_all() for episode in part]

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
