"""One server and its clients: broken requests, slow readers, new episodes."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.process import StandinProcess, start_process
from robo.sim.carla.standin.service import FRESH, SETTLE, WORLD_STREAM
from tests.sim.carla.standin.raw_client import HOST, Raw, read_state, subscribe


@pytest.fixture(scope="module")
def server() -> Iterator[StandinProcess]:
    with start_process("Grid", seed=3) as process:
        yield process


@pytest.fixture
def raw(server: StandinProcess) -> Iterator[Raw]:
    client = Raw(server.port).synchronous()
    yield client
    assert client.call("load_new_episode", "", True, 0) == layouts.VOID
    client.socket.close()


def test_a_new_observer_learns_the_state_at_once(server: StandinProcess, raw: Raw) -> None:
    frame = raw.value("tick_cue")
    with subscribe(server.stream_port, 1) as connection:
        assert read_state(connection)[0] == frame
        assert raw.value("tick_cue") == read_state(connection)[0] == frame + 1


def test_several_clients_share_one_world(server: StandinProcess, raw: Raw) -> None:
    other = Raw(server.port)
    id = other.spawn("vehicle.tesla.model3")
    frames = [client.value("tick_cue") for client in (raw, other, raw)]
    assert frames == list(range(frames[0], frames[0] + 3))
    assert raw.value("get_actors_by_id", [id])[0][0] == id
    other.socket.close()
    assert raw.value("destroy_actor", id) is True


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_such_call", []),
        ("cast_ray", [[0, 0, 0], [1, 1, 1]]),
        ("spawn_actor", []),
        ("spawn_actor", [[0, "vehicle.no.such", []], [[0, 0, 0], [0, 0, 0]]]),
        ("spawn_actor", [[0, "vehicle.tesla.model3", []], [[float("nan"), 0, 0], [0, 0, 0]]]),
        ("set_actor_target_velocity", [999_999, [1.0, 0.0, 0.0]]),
        ("apply_control_to_vehicle", [1, [0.0]]),
        ("apply_control_to_vehicle", ["text", None]),
        ("set_episode_settings", [[1, 2]]),
        ("get_actors_by_id", ["text"]),
        ("set_weather_parameters", [[float("inf")] * 14]),
        ("load_new_episode", ["NoSuchTown"]),
        (7, []),
    ],
)
def test_bad_requests_get_an_error(raw: Raw, name: Any, arguments: list[Any]) -> None:
    assert raw.call(name, *arguments) != [1, None]
    # Errors carry text; a list of actors may be empty instead.
    assert raw.value("version") == "0.9.16"


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        msgpack.packb({"a": 1}),
        msgpack.packb([2, "notify", []]),
        msgpack.packb([0, "id", "version", []]),
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_garbage_ends_at_most_its_own_connection(
    server: StandinProcess, raw: Raw, data: bytes
) -> None:
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(data)
    with socket.create_connection((HOST, server.stream_port)) as connection:
        connection.sendall(data)
    assert raw.value("version") == "0.9.16"


def test_a_failed_command_does_not_end_the_batch(raw: Raw) -> None:
    place = raw.value("get_map_info")[1][0]
    description = [0, "vehicle.tesla.model3", []]
    spawn = [[0, [description, place, [False], 0, "", []]]]
    raw.id += 1
    commands = [spawn, spawn, [[1, [999_999]]], [[99, []]], "garbage"]
    raw.socket.sendall(msgpack.packb([0, raw.id, "apply_batch", [[False], commands, False]]))
    answers = [answer[0] for answer in raw.answer()[3]]
    assert [passed for passed, _ in answers] == [1, 0, 0, 0, 0]
    assert "collision" in answers[1][1][0]


def test_a_subscriber_that_does_not_read_never_blocks_the_tick(
    server: StandinProcess, raw: Raw
) -> None:
    sleepers = [subscribe(server.stream_port, 1) for _ in range(3)]
    began = time.perf_counter()
    for _ in range(500):
        raw.value("tick_cue")
    assert time.perf_counter() - began < 20.0
    for connection in sleepers:
        connection.close()
    raw.value("tick_cue")


def test_it_ticks_by_itself_in_asynchronous_mode(server: StandinProcess, raw: Raw) -> None:
    raw.value("set_episode_settings", layouts.EpisodeSettings().message())
    with subscribe(server.stream_port, 1) as connection:
        first, _ = read_state(connection)
        began = time.perf_counter()
        while read_state(connection)[0] < first + 20:
            pass
        assert 0.5 < time.perf_counter() - began < 10.0


def test_a_client_that_takes_up_a_new_episode_is_left_alone(
    server: StandinProcess, raw: Raw
) -> None:
    """Else the real client may drop the new episode's subscription with the old one's, and die."""
    raw.value("set_episode_settings", layouts.EpisodeSettings().message())
    with subscribe(server.stream_port, WORLD_STREAM) as stream:
        for _ in range(3):  # it ticks by itself
            read_state(stream)
        assert raw.call("load_new_episode", "", True, 0) == layouts.VOID
        began = time.monotonic()
        raw.value("get_episode_info")
        answered = time.monotonic()
        assert answered - began >= SETTLE
        stream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while stream.recv(1 << 20):  # what was sent before the pause
                pass
        stream.setblocking(True)
        read_state(stream)
        assert time.monotonic() - answered >= 0.8 * SETTLE
        raw.value("get_episode_info")
        time.sleep(FRESH)
        began = time.monotonic()
        raw.value("get_episode_info")
        assert time.monotonic() - began < SETTLE


def test_reload_begins_an_episode_and_keeps_counting_frames(raw: Raw) -> None:
    raw.spawn("vehicle.tesla.model3")
    episode, frame = raw.value("get_episode_info")[0], raw.value("tick_cue")
    assert raw.call("load_new_episode", "Junctions", False, 0) == layouts.VOID
    assert raw.value("get_episode_info")[0] == episode + 1
    assert raw.value("get_map_info")[0] == "Carla/Maps/Junctions"
    assert raw.value("tick_cue") > frame
    assert raw.call("load_new_episode", "Grid", False, 0) == layouts.VOID
