"""One worker process, seen from the process that started it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe, reduction
from typing import Any

from robo.sim.rows import EnvironmentFactory
from robo.sim.worker_process import RETIRED

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
        self.factories = factories
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

    def fate(self, silent: bool) -> str:
        """What became of a lost process, in words."""
        if silent:
            return f"gave no answer for {self.timeout:g} s"
        code = self.exit_code()
        if code == RETIRED:
            return "retired: its simulator was lost and cannot be started again in one process"
        what = f"died with exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                what += f" ({signal.Signals(-code).name})"
        return what

    def stop_process(self, deadline: float) -> None:
        """Wait for the process until ``deadline`` (monotonic), then kill it."""
        try:
            self.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()
