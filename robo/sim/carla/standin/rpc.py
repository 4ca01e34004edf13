"""The RPC channel: msgpack-rpc over TCP, without length prefixes.

A request is [0, id, name, [[is_async], argument, ...]], its answer [1, id, nil, result]. Requests
that expect no answer are answered too: the client keeps a slot for each.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.connection import Connection, Listener

REQUEST = 0
OUTBOX_LIMIT = 64 << 20
REQUEST_LIMIT = 64 << 20


def _plain(content: Any) -> Any:
    """Numbers and arrays of numpy as msgpack takes them."""
    if isinstance(content, np.generic):
        return content.item()
    if isinstance(content, np.ndarray):
        return content.tolist()
    raise TypeError(f"cannot send a {type(content).__name__}")


_pack = msgpack.Packer(default=_plain).pack
PACKED_VOID: bytes = _pack(layouts.void())


def pack_result(result: Any) -> bytes:
    """The result of an answer, ready to be sent any number of times."""
    return _pack(result)


def pack_answer(id: int, result: bytes) -> bytes:
    """Answer to request ``id`` with a packed result."""
    return b"\x94\x01" + _pack(id) + b"\xc0" + result


Dispatch = Callable[[str, list[Any]], bytes]
"""From a name and its arguments (without the leading [is_async]) to a packed result."""


class RpcServer:
    """Clients of the RPC port."""

    def __init__(
        self,
        host: str,
        port: int,
        selector: selectors.BaseSelector,
        dispatch: Dispatch,
        after: Callable[[], None],
    ) -> None:
        """Listen.

        Args:
            host: address to bind.
            port: port to bind, 0 for a free one.
            selector: the event loop.
            dispatch: answers a request; must not raise.
            after: called once the answer of a request is on its way, for work that may follow.
        """
        self._selector = selector
        self._dispatch = dispatch
        self._after = after
        self._clients: dict[Connection, msgpack.Unpacker] = {}
        self._listener = Listener(host, port, selector, self._connect)
        self.port = self._listener.port

    def _connect(self, sock: socket.socket) -> None:
        """A new client."""
        connection = Connection(sock, self._selector, self._receive, self._forget, OUTBOX_LIMIT)
        self._clients[connection] = msgpack.Unpacker(max_buffer_size=REQUEST_LIMIT)

    def _forget(self, connection: Connection) -> None:
        """A client left."""
        self._clients.pop(connection, None)

    def _receive(self, connection: Connection, data: bytes) -> None:
        """Answer every whole request among what arrived so far."""
        unpacker = self._clients[connection]
        answers = bytearray()
        try:
            unpacker.feed(data)
            for message in unpacker:
                # Anything else is a notification or no message at all: there is no one to answer.
                if type(message) is not list or len(message) != 4 or message[0] != REQUEST:
                    continue
                _, id, name, arguments = message
                if type(id) is not int:
                    continue
                answers += pack_answer(id, self._answer(name, arguments))
                if self._after is not None and name in SENT_AT_ONCE:
                    connection.send(bytes(answers))
                    answers.clear()
                    self._after()
        except (ValueError, RecursionError, msgpack.UnpackException):
            # Not msgpack: nothing that follows on this connection can be understood.
            connection.close()
            return
        if answers:
            connection.send(bytes(answers))

    def _answer(self, name: Any, arguments: Any) -> bytes:
        """Packed result of one request."""
        if type(name) is not str or type(arguments) is not list or not arguments:
            return pack_result(layouts.error("a request is [0, id, name, [[is_async], ...]]"))
        return self._dispatch(name, arguments[1:])

    def close(self) -> None:
        """Stop listening and drop every client."""
        self._listener.close()
        for connection in list(self._clients):
            connection.close()


SENT_AT_ONCE = frozenset(("tick_cue", "apply_batch"))
"""Calls after which the client waits for a frame: their answers go out before cameras render."""
