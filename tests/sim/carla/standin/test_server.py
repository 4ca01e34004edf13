"""The server as a process: clients, broken requests, slow readers, restarts, the command."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.commands.carla_standin import CarlaStandin
from robo.sim.carla.standin import layouts, layouts_streams
from robo.sim.carla.standin.entry import check_host
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.process import StandinProcess, start_process
from robo.sim.carla.standin.server import StandinServer

ROOT = Path(__file__).parents[4]
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


def test_reload_begins_an_episode_and_keeps_counting_frames(raw: Raw) -> None:
    raw.spawn("vehicle.tesla.model3")
    episode, frame = raw.value("get_episode_info")[0], raw.value("tick_cue")
    assert raw.call("load_new_episode", "Junctions", False, 0) == layouts.VOID
    assert raw.value("get_episode_info")[0] == episode + 1
    assert raw.value("get_map_info")[0] == "Carla/Maps/Junctions"
    assert raw.value("tick_cue") > frame
    assert raw.call("load_new_episode", "Grid", False, 0) == layouts.VOID


def drive(port: int) -> list[bytes]:
    """World states, without their frames' numbers, of a run with traffic and controls.

    A fresh server runs by itself until a client stops it, so the run begins with an episode.
    """
    raw = Raw(port).synchronous()
    raw.call("load_new_episode", "", False, 0)
    (_, token) = raw.value("get_episode_info")
    stream_port = layouts.TOKEN.unpack(token[0])[1]
    places = raw.value("get_map_info")[1]
    attributes = [["role_name", 4, "autopilot"]]
    ids = [
        raw.value("spawn_actor", [0, "vehicle.tesla.model3", attributes], place)[0]
        for place in places[:40:4]
    ]
    states = []
    with subscribe(stream_port, 1) as connection:
        read_state(connection)
        for step in range(100):
            control = layouts.VehicleControl(throttle=0.5, steer=(step % 7) / 20)
            raw.call("apply_control_to_vehicle", ids[0], control)
            raw.value("tick_cue")
            states.append(read_state(connection)[1][16:])
    raw.socket.close()
    return states


@pytest.mark.slow
def test_two_seeded_runs_are_equal_to_the_bit() -> None:
    with start_process("Grid", seed=5) as first, start_process("Grid", seed=5) as second:
        runs = drive(first.port), drive(second.port)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == len(runs[0])


CLIENT_RUN = """
import sys, carla
client = carla.Client("127.0.0.1", int(sys.argv[1]), worker_threads=2)
client.set_timeout(20.0)
world = client.get_world()
settings = world.get_settings()
settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
world.apply_settings(settings)
world = client.reload_world(False)
places = world.get_map().get_spawn_points()
blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
vehicles = [world.spawn_actor(blueprint, place) for place in places[:40:4]]
poses = []
for step in range(int(sys.argv[2])):
    for number, vehicle in enumerate(vehicles):
        vehicle.apply_control(carla.VehicleControl(0.4, 0.02 * (number - 5), 0.0))
    world.tick()
    if step % 50 == 0:
        with open("/proc/self/status") as status:
            used = [int(line.split()[1]) for line in status if line.startswith("VmRSS")][0]
        print("memory", step, used, flush=True)
    for vehicle in vehicles:
        place = vehicle.get_transform()
        poses.append((place.location.x, place.location.y, place.rotation.yaw))
import hashlib, struct
print("hash", hashlib.sha256(b"".join(struct.pack("<3d", *pose) for pose in poses)).hexdigest())
"""


def client_run(port: int, ticks: int) -> list[str]:
    """Lines printed by a run of the real client in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT_RUN, str(port), str(ticks)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def memory(pid: int) -> int:
    """Resident memory in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_two_runs_of_the_real_client_are_equal_to_the_bit() -> None:
    hashes = []
    for _ in range(2):
        with start_process("Grid", seed=5) as process:
            hashes.append(client_run(process.port, 100)[-1])
    assert hashes[0] == hashes[1]


TRAFFIC_RUN = """
import sys, carla
from robo.sim.carla.standin.process import start_process
with start_process("Grid") as server:
    client = carla.Client("127.0.0.1", server.port, worker_threads=2)
    client.set_timeout(20.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(8000)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    manager.global_percentage_speed_difference(0.0)
    places = world.get_map().get_spawn_points()
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    vehicles = [world.spawn_actor(blueprint, place) for place in places[:80:8]]
    for vehicle in vehicles:
        vehicle.set_autopilot(True, 8000)
    waited, stuck = set(), set()
    moved = {vehicle.id: 0.0 for vehicle in vehicles}
    world.tick()
    last = {vehicle.id: vehicle.get_location() for vehicle in vehicles}
    for _ in range(400):
        world.tick()
        for vehicle in vehicles:
            here = vehicle.get_location()
            moved[vehicle.id] += here.distance(last[vehicle.id])
            last[vehicle.id] = here
            red = vehicle.get_traffic_light_state() == carla.TrafficLightState.Red
            if vehicle.is_at_traffic_light() and red and vehicle.get_velocity().length() < 0.1:
                waited.add(vehicle.id)
            elif moved[vehicle.id] < 5.0:
                stuck.add(vehicle.id)
            stuck -= waited | {id for id, metres in moved.items() if metres > 5.0}
    manager.shut_down()
    print("moved", max(moved.values()), "waited", len(waited), "stuck", len(stuck), flush=True)
"""


@pytest.mark.slow
def test_the_clients_traffic_manager_drives_and_stops_at_red() -> None:
    # It binds every interface, so it gets a network of its own.
    isolated = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("no leave to make a network namespace")
    done = subprocess.run(
        [*isolated, sys.executable, "-c", TRAFFIC_RUN],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    _, moved, _, waited, _, stuck = done.stdout.splitlines()[-1].split()
    assert float(moved) > 50.0
    assert int(waited) > 0
    assert int(stuck) == 0


@pytest.mark.slow
def test_5000_ticks_grow_neither_process() -> None:
    with start_process("Grid", seed=5) as process:
        client_run(process.port, 300)
        raw = Raw(process.port)
        raw.call("load_new_episode", "", True, 0)
        before = memory(process.pid)
        lines = client_run(process.port, 5000)
        after = memory(process.pid)
    used = [int(line.split()[2]) for line in lines if line.startswith("memory")]
    assert after - before < 4096
    # The client's own list of 50,000 poses takes a few MB.
    assert used[-1] - used[10] < 16384


def test_ports_can_be_used_again_at_once_after_a_kill() -> None:
    first = start_process("Grid")
    with subscribe(first.stream_port, 1) as connection:
        read_state(connection)
        # Streams of a server on port 0 take any port; one with a port takes the next.
        first.kill()
        with start_process("Grid", port=first.port) as second:
            assert (second.port, second.stream_port) == (first.port, first.port + 1)
            assert Raw(second.port).value("version") == "0.9.16"
            second.kill()
        with start_process("Grid", port=first.port) as third:
            assert third.port == first.port


def test_a_taken_port_is_named(server: StandinProcess) -> None:
    with pytest.raises(StandinError, match=f"{server.port}.*choose another"):
        start_process("Grid", port=server.port)


def test_unknown_town_and_missing_file() -> None:
    with pytest.raises(StandinError, match="'Nowhere' is no town; expected one of"):
        StandinServer("Nowhere")
    with pytest.raises(StandinError, match="no file"):
        StandinServer("nowhere.xodr")


def test_a_public_address_needs_leave() -> None:
    with pytest.raises(StandinError, match="--allow-public"):
        CarlaStandin(map="Grid", host="0.0.0.0").run()
    with pytest.raises(StandinError, match="IPv4"):
        check_host("somewhere", True)
    assert check_host("localhost", False) == HOST
    assert check_host("0.0.0.0", True) == "0.0.0.0"


def test_in_this_process() -> None:
    server = StandinServer("Grid").start()
    try:
        assert Raw(server.port).value("get_map_info")[0] == "Carla/Maps/Grid"
    finally:
        server.stop()
    server.stop()
    with pytest.raises(OSError):
        socket.create_connection((HOST, server.port), timeout=2.0)


def test_it_ends_on_a_signal_with_code_0() -> None:
    process = start_process("Grid")
    process.stop()
    assert process.poll() == 0


def test_it_ends_with_its_parent() -> None:
    script = (
        "import json, os; from robo.sim.carla.standin.process import start_process; "
        "s = start_process('Grid'); print(json.dumps([s.pid, s.port]), flush=True); os._exit(0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    pid, port = json.loads(done.stdout)
    for _ in range(100):
        time.sleep(0.1)
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            break
    else:
        os.kill(pid, 9)
        pytest.fail("the server outlived its parent")
