"""The stream channel: world states and sensor data, pushed to whoever subscribed.

A subscriber opens a connection of its own, sends the stream's id (u32), and then reads messages,
each a size (u32) and a payload. A subscriber that does not keep up is dropped; the client
connects anew. For the same reason a connection to a stream that is no more is not closed but left
silent: its client would come back at once, for ever.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from robo.sim.carla.standin.connection import Connection, Listener
from robo.sim.carla.standin.layouts_streams import MESSAGE_SIZE

OUTBOX_LIMIT = 32 << 20
SEND_BUFFER = 4 << 20


class StreamServer:
    """Subscribers of the stream port."""

    def __init__(
        self,
        host: str,
        port: int,
        selector: selectors.BaseSelector,
        on_subscribe: Callable[[int, Connection], bool],
    ) -> None:
        """Listen.

        Args:
            host: address to bind.
            port: port to bind, 0 for a free one.
            selector: the event loop.
            on_subscribe: called with the stream's id and the connection; False where there is no
                such stream.
        """
        self._selector = selector
        self._on_subscribe = on_subscribe
        self._waiting: dict[Connection, bytes] = {}
        self._silent: set[Connection] = set()
        self._stream_of: dict[Connection, int] = {}
        self._subscribers: dict[int, list[Connection]] = {}
        self._listener = Listener(host, port, selector, self._connect)
        self.port = self._listener.port

    def _connect(self, sock: socket.socket) -> None:
        """A new connection, which has yet to say what it wants."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection = Connection(sock, self._selector, self._receive, self._forget, OUTBOX_LIMIT)
        self._waiting[connection] = b""

    def _receive(self, connection: Connection, data: bytes) -> None:
        """Read the id of the stream; nothing else is expected from a subscriber."""
        if connection not in self._waiting:
            return
        data = self._waiting[connection] + data
        self._waiting[connection] = data
        if len(data) < MESSAGE_SIZE.size:
            return
        del self._waiting[connection]
        (stream,) = MESSAGE_SIZE.unpack_from(data)
        if not self._on_subscribe(stream, connection):
            self._silent.add(connection)
        elif connection.open:
            self._stream_of[connection] = stream
            self._subscribers.setdefault(stream, []).append(connection)

    def _forget(self, connection: Connection) -> None:
        """A subscriber left."""
        self._waiting.pop(connection, None)
        self._silent.discard(connection)
        stream = self._stream_of.pop(connection, None)
        if stream is None:
            return
        subscribers = self._subscribers[stream]
        subscribers.remove(connection)
        if not subscribers:
            del self._subscribers[stream]

    def wanted(self, stream: int) -> bool:
        """Whether anyone is subscribed."""
        return stream in self._subscribers

    def wanted_streams(self) -> list[int]:
        """Streams that someone is subscribed to, in order."""
        return sorted(self._subscribers)

    def publish(self, stream: int, *parts: bytes | memoryview) -> None:
        """Send one message, given in parts, to every subscriber of ``stream``."""
        subscribers = self._subscribers.get(stream)
        if subscribers:
            size = MESSAGE_SIZE.pack(sum(map(len, parts)))
            for connection in tuple(subscribers):
                connection.send(size, *parts)

    def end(self, stream: int) -> None:
        """Send nothing more on a stream that is no more."""
        for connection in self._subscribers.pop(stream, ()):
            del self._stream_of[connection]
            self._silent.add(connection)

    def close(self) -> None:
        """Stop listening and drop every subscriber."""
        self._listener.close()
        for connection in (*self._waiting, *self._silent, *self._stream_of):
            connection.close()
