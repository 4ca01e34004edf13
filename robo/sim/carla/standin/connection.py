"""A non-blocking TCP connection with a bounded outbox."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
READ_SIZE = 1 << 18


class Connection:
    """Sends what the socket takes at once and keeps the rest, up to a limit.

    A peer that reads more slowly than it is written to is dropped: nothing here ever waits.
    """

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        on_data: Callable[[Connection, bytes], None],
        on_close: Callable[[Connection], None],
        limit: int,
    ) -> None:
        """Take over ``sock`` and listen to it.

        Args:
            sock: connected socket.
            selector: event loop; the key's data is :meth:`handle`.
            on_data: called with bytes that arrived.
            on_close: called once after the connection ended, from either side.
            limit: bytes kept for a slow peer before it is dropped.
        """
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._selector = selector
        self._on_data = on_data
        self._on_close = on_close
        self._limit = limit
        self._outbox = bytearray()
        self.open = True
        selector.register(sock, READ, self.handle)

    def handle(self, mask: int) -> None:
        """Serve an event of the selector."""
        if mask & WRITE:
            self._flush()
        if mask & READ and self.open:
            self._read()

    def _read(self) -> None:
        """Pass on what arrived; an empty read is the peer's farewell."""
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(self, data)
        else:
            self.close()

    def send(self, *parts: bytes | memoryview) -> None:
        """Send parts in order, at once where the socket takes them."""
        if not self.open:
            return
        sent = 0
        if not self._outbox:
            try:
                sent = self._sock.send(parts[0]) if len(parts) == 1 else self._sock.sendmsg(parts)
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        rest = sum(map(len, parts)) - sent
        if rest:
            self._keep(parts, sent, rest)

    def _keep(self, parts: tuple[bytes | memoryview, ...], sent: int, rest: int) -> None:
        """Keep what was not sent, or drop the peer."""
        # One message may be larger than the limit; a second one behind it may not.
        if self._outbox and len(self._outbox) + rest > self._limit:
            self.close()
            return
        if not self._outbox:
            self._selector.modify(self._sock, READ | WRITE, self.handle)
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                self._outbox += memoryview(part)[sent:]
                sent = 0

    def _flush(self) -> None:
        """Send more of what was kept."""
        try:
            sent = self._sock.send(self._outbox)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._outbox[:sent]
        if not self._outbox:
            self._selector.modify(self._sock, READ, self.handle)

    def close(self) -> None:
        """End the connection; harmless when repeated."""
        if not self.open:
            return
        self.open = False
        self._outbox.clear()
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(self._sock)
        self._sock.close()
        self._on_close(self)


class Listener:
    """Accepts connections on a port."""

    def __init__(
        self,
        host: str,
        port: int,
        selector: selectors.BaseSelector,
        on_connect: Callable[[socket.socket], None],
    ) -> None:
        """Bind and listen; ``port`` 0 takes a free one.

        Raises:
            OSError: the address cannot be bound.
        """
        self._selector = selector
        self._on_connect = on_connect
        self._sock = socket.create_server((host, port), backlog=128, reuse_port=False)
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        selector.register(self._sock, READ, self._accept)

    def _accept(self, mask: int) -> None:
        """Accept one connection."""
        # The peer may be gone already, or this process may have no descriptor left.
        with contextlib.suppress(OSError):
            self._on_connect(self._sock.accept()[0])

    def close(self) -> None:
        """Stop accepting."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._sock)
        self._sock.close()
