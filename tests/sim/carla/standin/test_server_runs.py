"""Whole runs against servers: equal to the bit, traffic, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.process import start_process
from tests.sim.carla.isolated import run_isolated
from tests.sim.carla.standin.raw_client import Raw, read_state, subscribe

ROOT = Path(__file__).parents[4]


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
from robo.sim.carla.traffic_watch import TrafficWatch
with start_process("Grid") as server:
    client = carla.Client("127.0.0.1", server.port, worker_threads=2)
    client.set_timeout(5.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(8000)
    manager.set_synchronous_mode(True)
    watch = TrafficWatch(8000, 11.0)
    manager.set_random_device_seed(1)
    manager.global_percentage_speed_difference(0.0)
    places = world.get_map().get_spawn_points()
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    vehicles = [world.spawn_actor(blueprint, place) for place in places[:80:8]]
    for vehicle in vehicles:
        vehicle.set_autopilot(True, 8000)
    waited, stuck = set(), set()
    moved = {vehicle.id: 0.0 for vehicle in vehicles}
    with watch:
        world.tick(5.0)
    last = {vehicle.id: vehicle.get_location() for vehicle in vehicles}
    for _ in range(400):
        with watch:
            world.tick(5.0)
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
    printed = run_isolated(TRAFFIC_RUN)
    _, moved, _, waited, _, stuck = printed[-1].split()
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
