"""Every layout against the real client: what it makes of ours, and what it sends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from robo.sim.carla.standin import layouts, layouts_streams

pytest.importorskip("carla", reason="the CARLA client is not installed")

PROBE = Path(__file__).with_name("layout_probe.py")
ROOT = Path(__file__).parents[4]
# Without HOME the client dies: it keeps a cache of maps there.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
POSE = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
BOX = [float(n) for n in range(1, 10)]
VEHICLE, WALKER, LIGHT = 11, 12, 13


@pytest.fixture(scope="module")
def exchange() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What the client read, and what it sent."""
    command = [sys.executable, str(PROBE)]
    server = subprocess.Popen(
        [*command, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        port = server.stdout.readline().strip()
        client = subprocess.run(
            [*command, "read", port],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        assert client.returncode == 0, client.stderr
        yield json.loads(client.stdout.splitlines()[-1]), sent(int(port))
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(10)


def sent(port: int) -> dict[str, Any]:
    """What the probe's server kept of the client's calls."""
    unpacker = msgpack.Unpacker()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(msgpack.packb([0, 1, "kept", [[False]]]))
        while True:
            unpacker.feed(connection.recv(1 << 16))
            for message in unpacker:
                return message[3][0][1]


PHYSICS = [
    [[1.0, 2.0]], 3.0, 4.0, 5.0, 6.0, 7.0, False, 8.0, 9.0, 10.0, [[11.0, 12.0, 13.0]], 14.0,
    15.0, [16.0, 17.0, 18.0], [[19.0, 20.0]], [*[n + 0.5 for n in range(9)], [21.0, 22.0, 23.0]],
    True,
]  # fmt: skip
SENSOR = [True, 2.5, POSE]
PICTURE = [*SENSOR, 3, 2, 75.0, [n if n % 4 < 3 else 255 for n in range(24)]]

READ = {
    "episode": 77,
    "version": "0.9.16",
    "settings": [True, True, 0.125, False, 0.25, 3, 4.5, True, 5.5, 6.5, False],
    "map": ["Made/Up", [POSE]],
    "opendrive": True,
    "maps": ["Made/Up"],
    "weather": [float(n) for n in range(1, 15)],
    "blueprint": [True, 103, "17,37,103", True, 4, True],
    "lamp": [3, [1.0, 2.0, 3.0], 4.5, 2, 6, True],
    "thing": [POSE, BOX, 1 << 40, "house", 3],
    "boxes": [BOX],
    "point": [[1.0, 2.0, 3.0], 24],
    "error": "text of the error",
    "pose": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    "motion": [[7.5, 8.5, 9.5], [10.5, 11.5, 12.5], [13.5, 14.5, 15.5]],
    "control": [0.25, -0.5, 0.75, True, False, True, 3],
    "vehicle": [37.5, "Yellow", True, LIGHT, 2],
    "actor": [
        "vehicle.tesla.model3",
        {"role_name": "hero", "number_of_wheels": "4"},
        [14, 15],
        BOX,
    ],
    "parent": VEHICLE,
    "lights": 5,
    "wheel": 12.5,
    "walker": [[0.5, 0.25, 0.125], 1.75, True],
    "light": ["signal 7", 1.25, 2.25, 3.25, 4.25, 5, True, "Green"],
    "light_boxes": [BOX],
    "group": [LIGHT],
    "physics": PHYSICS,
    "gains": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "batch": [VEHICLE, "no"],
    "sensor.camera.rgb": PICTURE,
    "sensor.camera.semantic_segmentation": PICTURE,
    "sensor.camera.depth": PICTURE,
    "sensor.lidar.ray_cast": [
        *SENSOR,
        0.75,
        [2, 1],
        [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0]],
    ],
    "sensor.lidar.ray_cast_semantic": [*SENSOR, 0.25, [[1.0, 2.0, 3.0, 0.5, VEHICLE, 14]]],
    "sensor.other.gnss": [*SENSOR, 1.5, 2.5, 3.5],
    "sensor.other.imu": [*SENSOR, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.5],
    "sensor.other.collision": [*SENSOR, VEHICLE, WALKER, [1.0, 2.0, 3.0]],
}

SENT = {
    "apply_control_to_vehicle": layouts.VehicleControl(0.25, -0.5, 0.75, True, False, True, 3),
    "apply_ackermann_control_to_vehicle": layouts.AckermannControl(1.0, 2.0, 3.0, 4.0, 5.0),
    "apply_ackermann_controller_settings": layouts.AckermannSettings(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    "apply_control_to_walker": layouts.WalkerControl([0.5, 0.25, 0.125], 1.75, True),
    "apply_physics_control": [*PHYSICS[:15], [PHYSICS[15]] * 4, True],
    "set_vehicle_light_state": [5],
    "set_actor_transform": layouts.transform(POSE),
    "set_actor_target_velocity": [1.0, 2.0, 3.0],
    "set_weather_parameters": [float(n) for n in range(14, 0, -1)],
}


@pytest.mark.parametrize("layout", READ)
def test_the_client_reads_our_layout(layout: str, exchange: tuple[dict, dict]) -> None:
    assert exchange[0][layout] == READ[layout]


@pytest.mark.parametrize("layout", SENT)
def test_we_read_the_clients_layout(layout: str, exchange: tuple[dict, dict]) -> None:
    # JSON makes named tuples and lists equal.
    assert json.loads(json.dumps(exchange[1][layout])) == json.loads(json.dumps(SENT[layout]))


def test_commands_travel_in_the_order_of_the_variant(exchange: tuple[dict, dict]) -> None:
    commands, tick = exchange[1]["apply_batch"]
    assert tick is False
    names = [layouts.COMMANDS[index] for ((index, _),) in commands]
    assert names == ["spawn_actor", "vehicle_control", "walker_state", "light_state"]
    # The fourth field is the kind of attachment, which this client leaves uninitialised.
    description, _, parent, _, _, follow_ups = commands[0][0][1]
    assert layouts.Description(*description).type_id == "walker.pedestrian.0001"
    assert layouts.from_optional(parent) == VEHICLE
    assert follow_ups == [[[layouts.COMMANDS.index("simulate_physics"), [0, True]]]]
    assert commands[2][0][1] == [WALKER, [[0.0] * 3, [0.0] * 3], 1.5]


def test_settings_go_there_and_back() -> None:
    for step in (None, 0.05):
        settings = layouts.EpisodeSettings(synchronous_mode=True, fixed_delta_seconds=step)
        assert layouts.EpisodeSettings.parse(settings.message()) == settings


def test_sizes_of_binary_layouts() -> None:
    assert layouts.TOKEN.size == 24
    assert layouts_streams.SENSOR_HEADER.size == 48
    assert layouts_streams.EPISODE_STATE.size == 36
    assert layouts_streams.ACTOR_STATE.itemsize == 119
    assert layouts_streams.SEMANTIC_POINT.itemsize == 24
