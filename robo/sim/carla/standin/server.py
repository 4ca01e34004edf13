"""The stand-in server: in this process (a thread) or in one of its own.

One thread does everything (RPC, world, streams), so that no request waits for a lock. Given the
same calls the server does the same, to the bit.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import threading
import time
from pathlib import Path

from robo.sim.carla.standin.connection import READ
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import Dispatcher
from robo.sim.carla.standin.rpc import RpcServer
from robo.sim.carla.standin.service import open_service
from robo.sim.carla.standin.streams import StreamServer

LOOPBACK = "127.0.0.1"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
LAST_PORT = 65535


class StandinServer:
    """A server on one map; several may run in one process.

    In this process the server shares Python's interpreter lock with its clients, and some calls
    of the client hold that lock while they wait: run clients in other processes, or the server by
    :func:`~robo.sim.carla.standin.process.start_process`.

    Example:
        >>> server = StandinServer("Grid").start()
        >>> server.port  # doctest: +SKIP
        40123
        >>> server.stop()
    """

    def __init__(
        self, town_or_xodr: str | Path, port: int = 0, seed: int = 0, host: str = LOOPBACK
    ) -> None:
        """Load the map and bind the ports; nothing is served before :meth:`start` or :meth:`run`.

        Args:
            town_or_xodr: a built-in town or the path of an .xodr file.
            port: RPC port; streams take the next one. 0 takes free ones.
            seed: seed of the world.
            host: address to bind.

        Raises:
            StandinError: no such map, or a port is taken.
        """
        if not 0 <= port < LAST_PORT:
            raise StandinError(f"port is {port}, expected 0 to {LAST_PORT - 1}")
        self.host = host
        self._service = open_service(town_or_xodr, seed)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, READ, self._awake)
        self._running = True
        self._thread: threading.Thread | None = None
        try:
            self._rpc = RpcServer(
                host,
                port,
                self._selector,
                Dispatcher(self._service),
                self._service.finish_tick,
            )
            self._streams = self._service.streams = StreamServer(
                host, port + 1 if port else 0, self._selector, self._service.subscribe
            )
        except OSError as error:
            raise StandinError(
                f"cannot listen on {host}:{port} and the port after it: {error.strerror}; "
                "choose another --port"
            ) from error

    @property
    def port(self) -> int:
        """RPC port, the one given to ``carla.Client``."""
        return self._rpc.port

    @property
    def stream_port(self) -> int:
        """Port of the streams."""
        return self._streams.port

    def start(self) -> StandinServer:
        """Serve in a thread of this process."""
        self._thread = threading.Thread(target=self.run, name="carla-standin", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the ports; harmless when repeated."""
        self.interrupt()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT)
            self._thread = None
        self._close()

    def interrupt(self) -> None:
        """Make :meth:`run` return soon; may be called from a signal handler."""
        self._running = False
        try:
            self._wake.send(b"\0")
        except OSError:
            return

    def run(self, parent: int | None = None) -> None:
        """Serve until :meth:`interrupt`, or until process ``parent`` is no longer our parent."""
        # The map's objects live as long as the server does: no need to look at them again.
        gc.collect()
        gc.freeze()
        service, select = self._service, self._selector.select
        service.next_tick = time.monotonic()
        orphan_check = 0.0
        while self._running:
            wait = service.run_due()
            for key, mask in select(wait):
                key.data(mask)
                service.finish_tick()
            if parent is not None and time.monotonic() > orphan_check:
                orphan_check = time.monotonic() + 1.0
                if os.getppid() != parent:
                    break
        self._close()

    def _awake(self, mask: int) -> None:
        """Empty the socket that woke the loop."""
        self._woken.recv(64)

    def _close(self) -> None:
        """Free the ports."""
        if self._wake.fileno() < 0:
            return
        self._rpc.close()
        self._streams.close()
        self._selector.close()
        self._wake.close()
        self._woken.close()
