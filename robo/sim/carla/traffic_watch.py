"""Frees a tick that the client's TrafficManager would hold up for ever."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import msgpack

_HOST = "127.0.0.1"
_ANSWER = 2.0
"""Seconds within which the TrafficManager answers."""


class TrafficWatch:
    """Wakes the TrafficManager when a tick takes longer than any server may.

    In synchronous mode the client's tick and the TrafficManager's thread wake each other through
    condition variables that they set without their lock, so that a wake-up may be lost and both
    wait for ever (carla issue 9172; version 0.9.16 has it still). No time limit of the client
    covers that wait. Leaving synchronous mode wakes the thread, whose step then ends the wait; but
    the client's own call for it needs a lock that the stuck tick holds, and so the message goes to
    the TrafficManager's port.

    A context manager around each tick::

        with watch:
            world.tick(5.0)

    Attributes:
        freed: how many ticks it has freed.
    """

    def __init__(self, port: int, patience: float) -> None:
        """Start the watching thread.

        Args:
            port: of the TrafficManager, on this machine.
            patience: seconds; longer than a tick may wait for its server, because a TrafficManager
                that is woken without need runs one step ahead from then on.
        """
        self.freed = 0
        self._port, self._patience = port, patience
        self._since: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="traffic watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> None:
        """A tick begins."""
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        """It is over."""
        self._since = None

    def close(self) -> None:
        """End the thread."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._patience / 4):
            since = self._since
            if since is not None and time.monotonic() - since > self._patience:
                # Where nothing answers, the next look tries again.
                with suppress(OSError):
                    self._free()
                    self._done.wait(self._patience)

    def _free(self) -> None:
        """Out of synchronous mode and back, in one message, within the step that it wakes."""
        unpacker, answers = msgpack.Unpacker(), 0
        calls = [[0, number, "set_synchronous_mode", [bool(number)]] for number in (0, 1)]
        with socket.create_connection((_HOST, self._port), _ANSWER) as connection:
            connection.sendall(b"".join(map(msgpack.Packer().pack, calls)))
            while answers < len(calls):
                data = connection.recv(4096)
                if not data:
                    return
                unpacker.feed(data)
                answers += sum(1 for _ in unpacker)
        self.freed += 1
