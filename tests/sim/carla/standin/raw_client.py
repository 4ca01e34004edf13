"""A client without the CARLA library, for tests that speak the protocol themselves."""

from __future__ import annotations

import socket
from typing import Any

import msgpack
import pytest

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.sim.carla.standin import layouts, layouts_streams

HOST = "127.0.0.1"


class Raw:
    """A client without the CARLA library: sends and reads msgpack as it is."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=20.0)
        self.unpacker = msgpack.Unpacker()
        self.id = 0

    def answer(self) -> Any:
        while True:
            for message in self.unpacker:
                return message
            data = self.socket.recv(1 << 16)
            if not data:
                return None
            self.unpacker.feed(data)

    def call(self, name: Any, *arguments: Any) -> Any:
        self.id += 1
        self.socket.sendall(msgpack.packb([0, self.id, name, [[False], *arguments]]))
        kind, id, failure, result = self.answer()
        assert (kind, id, failure) == (1, self.id, None)
        return result[0]

    def value(self, name: str, *arguments: Any) -> Any:
        passed, content = self.call(name, *arguments)
        assert passed == 1, content
        return content

    def error(self, name: Any, *arguments: Any) -> str:
        _, (text,) = self.call(name, *arguments)
        return text

    def synchronous(self) -> Raw:
        settings = layouts.EpisodeSettings(synchronous_mode=True, fixed_delta_seconds=0.05)
        self.value("set_episode_settings", settings.message())
        return self

    def spawn(self, type_id: str, number: int = 0) -> int:
        place = self.value("get_map_info")[1][number]
        return self.value("spawn_actor", [0, type_id, []], place)[0]


def subscribe(port: int, stream: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=20.0)
    connection.sendall(layouts_streams.MESSAGE_SIZE.pack(stream))
    return connection


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "the server closed the stream"
        data += part
    return data


def read_state(connection: socket.socket) -> tuple[int, bytes]:
    """Frame of the next world state, and the state."""
    (size,) = layouts_streams.MESSAGE_SIZE.unpack(read_exactly(connection, 4))
    state = read_exactly(connection, size)
    return layouts_streams.SENSOR_HEADER.unpack_from(state)[1], state
