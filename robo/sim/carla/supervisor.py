"""Servers that this process started: ports, start, watch, restart, and no leftovers.

A server is a child process in a session of its own. The kernel kills it when its parent dies
(``PR_SET_PDEATHSIG``), also by ``kill -9``; nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from robo.errors import RoboError

BLOCK = 6
"""Ports of one server: RPC, two for streams, the second server's, two for the TrafficManager."""
_FIRST_PORT, _LAST_PORT = 20000, 32000
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)
"""Asks for the signal, leaves if the parent died before that, and becomes the server."""
_SHIPPING = "CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping"


class ServerLostError(RoboError):
    """A server that died or stopped answering."""


class PortBlock:
    """:data:`BLOCK` neighbouring free ports, kept from other supervisors of this machine.

    The claim is an abstract Unix socket: it lives in the same network namespace as the ports and
    goes with this process, however it ends.

    Attributes:
        first: the RPC port.
    """

    def __init__(self) -> None:
        """Claim a block.

        Raises:
            RoboError: every port is taken.
        """
        starts = list(range(_FIRST_PORT, _LAST_PORT, BLOCK))
        random.Random(os.getpid() ^ time.monotonic_ns()).shuffle(starts)
        for first in starts:
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0robo-ports-{first}")
            except OSError:
                claim.close()
                continue
            if all(_is_free(port) for port in range(first, first + BLOCK)):
                self.first, self._claim = first, claim
                return
            claim.close()
        raise RoboError(
            f"no {BLOCK} neighbouring ports are free between {_FIRST_PORT} and {_LAST_PORT}; end "
            "servers that are not needed"
        )

    def release(self) -> None:
        """Give the ports back."""
        self._claim.close()


class ServerProcess:
    """A server started by this process.

    Attributes:
        port: RPC port.
        traffic_port: port of the TrafficManager of this server's client.
        process_id: of the server.
    """

    host = "127.0.0.1"

    def __init__(self, command: Callable[[int], Sequence[str]]) -> None:
        """Start ``command(port)``; :meth:`wait` until it answers."""
        self._ports = PortBlock()
        self.port, self.traffic_port = self._ports.first, self._ports.first + BLOCK - 1
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        arguments = [str(part) for part in command(self.port)]
        self._name = arguments[0]
        launcher = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments]
        self._process = subprocess.Popen(
            launcher,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
        self.process_id = self._process.pid
        self._stop = weakref.finalize(self, _end, self._process, self._ports)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait(self, timeout: float) -> None:
        """Until the server accepts connections.

        Raises:
            ServerLostError: it was killed; another may have better luck.
            RoboError: it ended by itself, or did not open its port within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not accepts(self.host, self.port):
            if not self.alive():
                code, said = self._process.returncode, self._last_line()
                killed = code is not None and code < 0
                raise (ServerLostError if killed else RoboError)(
                    f"the server {self._name} ended with exit code {code} before it opened port "
                    f"{self.port}{said}"
                )
            if time.monotonic() > deadline:
                said = self._last_line()
                self.stop()
                raise RoboError(
                    f"the server {self._name} did not open port {self.port} within {timeout:g} s"
                    f"{said}; allow more with start_timeout, or start it by hand to see why"
                )
            time.sleep(0.02)

    def _last_line(self) -> str:
        """What the server said last, for the error's sentence."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f" (it said: {lines[-1].strip()})" if lines else ""

    def stop(self) -> None:
        """End the process and give its ports back; any number of times."""
        self._stop()
        self._log.close()


def _end(process: subprocess.Popen, ports: PortBlock) -> None:
    """Kill the server's own session, which holds it and what it started, and reap it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ports.release()


def _environment() -> dict[str, str]:
    """This process's own, with this package importable and one numeric thread."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**single, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _is_free(port: int) -> bool:
    """Whether a server could listen on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something listens on ``host:port``."""
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True


def standin_command(opendrive_or_town: str, seed: int = 0) -> Callable[[int], list[str]]:
    """Command of our stand-in server for a built-in town or an ``.xodr`` path."""

    def command(port: int) -> list[str]:
        module = "robo.sim.carla.standin"
        where = ["--map", opendrive_or_town, "--port", str(port)]
        return [sys.executable, "-m", module, *where, "--seed", str(seed)]

    return command


def carla_command(carla_root: str, rendering: bool = True) -> Callable[[int], list[str]]:
    """Command of a real CARLA 0.9.16, off screen.

    Raises:
        RoboError: no CARLA in ``carla_root``.
    """
    binary = Path(carla_root) / _SHIPPING
    if not binary.is_file():
        raise RoboError(
            f"carla_root {carla_root!r} holds no {_SHIPPING}; give the folder of an unpacked "
            "CARLA 0.9.16, or host and port of a server that runs already"
        )
    # The binary itself: CarlaUE4.sh would start it as a child that outlives a killed shell.
    graphics = "-RenderOffScreen" if rendering else "-nullrhi"

    def command(port: int) -> list[str]:
        return [str(binary), "CarlaUE4", graphics, "-nosound", f"-carla-rpc-port={port}"]

    return command


class Supervisor:
    """Keeps one server for one environment.

    Attributes:
        restarts: how often a server was replaced.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        start_timeout: float = 60.0,
        episodes_per_server: int = 0,
    ) -> None:
        """Nothing starts before :meth:`server`."""
        self._command = command
        self._start_timeout = start_timeout
        self._budget = episodes_per_server
        self._episodes = 0
        self._server: ServerProcess | None = None
        self._came_up = False
        self.restarts = 0

    def server(self) -> ServerProcess:
        """The running server, started and waited for where needed.

        A server that does not start is ended; the next call starts another.

        Raises:
            ServerLostError: it does not start though an earlier one of this command did, so that
                another may have better luck; or it was killed.
            RoboError: the first one does not start.
        """
        if self._server is None:
            self._server = ServerProcess(self._command)
            self._episodes = 0
        try:
            self._server.wait(self._start_timeout)
        except RoboError as error:
            self.close()
            if self._came_up and not isinstance(error, ServerLostError):
                raise ServerLostError(str(error)) from error
            raise
        self._came_up = True
        return self._server

    def alive(self) -> bool:
        """Whether the server of the last :meth:`server` still runs."""
        return self._server is not None and self._server.alive()

    @property
    def spent(self) -> bool:
        """Whether the leak budget asks for a fresh server before the next episode."""
        return 0 < self._budget <= self._episodes

    def count_episode(self) -> None:
        """An episode has begun on the server."""
        self._episodes += 1

    def replace(self) -> None:
        """End the server, if any, and start the next one without waiting for it."""
        self.close()
        self._server = ServerProcess(self._command)
        self._episodes = 0
        self.restarts += 1

    def close(self) -> None:
        """End the server, if any."""
        if self._server is not None:
            self._server.stop()
            self._server = None
