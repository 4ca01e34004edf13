"""The stand-in server as a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from robo.sim.carla.standin.errors import StandinError

READY = "carla-standin ready:"
LOOPBACK = "127.0.0.1"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0
KEPT_LINES = 20


@dataclass
class StandinProcess:
    """A running server; also a context manager that stops it."""

    process: subprocess.Popen[str]
    """The process; ours to end."""
    port: int
    """RPC port, the one given to ``carla.Client``."""
    stream_port: int
    """Port of the streams."""
    errors: deque[str]
    """The last lines that it wrote to standard error."""

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> StandinProcess:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()


def start_process(
    town_or_xodr: str | Path,
    port: int = 0,
    seed: int = 0,
    host: str = LOOPBACK,
    timeout: float = START_TIMEOUT,
) -> StandinProcess:
    """Start a server in a process of its own and wait until it serves.

    It ends when the process that started it does.

    Args:
        town_or_xodr: a built-in town or the path of an .xodr file.
        port: RPC port; streams take the next one. 0 takes free ones.
        seed: seed of the world.
        host: address to bind.
        timeout: seconds until it must be ready.

    Returns:
        The process, its ports known.

    Raises:
        StandinError: it ended or said nothing within ``timeout``.
    """
    arguments = ["--map", str(town_or_xodr), "--port", str(port), "--seed", str(seed)]
    arguments += ["--host", host, "--parent-pid", str(os.getpid())]
    package = Path(__file__).parents[4]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "robo.sim.carla.standin", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
        },
        start_new_session=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    errors: deque[str] = deque(maxlen=KEPT_LINES)
    for stream, keep in ((process.stdout, lines.put), (process.stderr, errors.append)):
        assert stream is not None
        threading.Thread(target=_read, args=(stream, keep), daemon=True).start()
    ready = _await_ready(process, lines, errors, timeout)
    rpc, stream = (int(word) for word in ready.removeprefix(READY).split()[-2:])
    return StandinProcess(process, rpc, stream, errors)


def _read(stream: IO[str], keep) -> None:
    """Drain a pipe, so that the server never waits for us to read; '' marks its end."""
    with stream:
        for line in stream:
            keep(line.rstrip("\n"))
    keep("")


def _await_ready(
    process: subprocess.Popen[str], lines: queue.Queue[str], errors: deque[str], timeout: float
) -> str:
    """The line that says that the server serves; ends the process where there is none."""
    try:
        line = lines.get(timeout=timeout)
    except queue.Empty:
        process.kill()
        process.wait()
        raise StandinError(f"the stand-in server was not ready after {timeout:g} s") from None
    if not line.startswith(READY):
        process.kill()
        process.wait()
        said = " ".join(filter(None, errors)) or "it said nothing"
        raise StandinError(f"the stand-in server did not start: {said}")
    return line
