"""Every binary layout that travels on a stream of CARLA 0.9.16.

A message is its size (u32) and a payload; a payload starts with :data:`SENSOR_HEADER`. All
numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

_pack = msgpack.Packer().pack

MESSAGE_SIZE = struct.Struct("<I")
"""Length of the payload that follows; a subscriber sends the stream's id in the same form."""

SENSOR_HEADER = struct.Struct("<QQd6f")
"""Sensor index, frame, seconds since the episode began, x, y, z, pitch, yaw, roll."""

SENSOR_INDEX = {
    "sensor.other.collision": 0,
    "sensor.camera.depth": 1,
    "sensor.other.gnss": 4,
    "sensor.other.imu": 5,
    "sensor.other.lane_invasion": 6,
    "sensor.lidar.ray_cast_semantic": 10,
    "sensor.lidar.ray_cast": 11,
    "sensor.camera.rgb": 13,
    "sensor.camera.semantic_segmentation": 14,
}
"""Position in the client's registry of serializers; differs between releases of CARLA."""

WORLD_OBSERVER_INDEX = 17
EPISODE_STATE = struct.Struct("<Qdf3iI")
"""Episode id, the server's clock (s), length of the step (s), origin of the map, flags."""
MAP_CHANGED = 1
LIGHTS_CHANGED = 2

VEHICLE_STATE = np.dtype(
    {
        "names": [
            "throttle",
            "steer",
            "brake",
            "hand_brake",
            "reverse",
            "manual_gear_shift",
            "gear",
            "speed_limit",
            "light_state",
            "has_light",
            "light_id",
            "failure",
        ],
        "formats": ["f4", "f4", "f4", "?", "?", "?", "<i4", "f4", "u1", "?", "<u4", "u1"],
        "offsets": [0, 4, 8, 12, 13, 14, 15, 19, 23, 24, 25, 29],
        "itemsize": 54,
    }
)
"""Control, speed limit (km/h), and the traffic light that governs the vehicle."""
VEHICLE_CONTROL = struct.Struct("<fff??")
"""The first five fields of :data:`VEHICLE_STATE`."""

WALKER_STATE = np.dtype(
    {
        "names": ["direction", "speed", "jump"],
        "formats": [("<f4", 3), "<f4", "?"],
        "offsets": [0, 12, 16],
        "itemsize": 54,
    }
)

LIGHT_STATE = np.dtype(
    {
        "names": [
            "opendrive_id",
            "green_time",
            "yellow_time",
            "red_time",
            "elapsed",
            "pole_index",
            "frozen",
            "state",
        ],
        "formats": ["S32", "<f4", "<f4", "<f4", "<f4", "<u4", "?", "u1"],
        "offsets": [0, 32, 36, 40, 44, 48, 52, 53],
        "itemsize": 54,
    }
)
"""A traffic light: state 0 red, 1 yellow, 2 green, 3 off, 4 unknown; times in seconds."""

STATE_OFFSET = 65
"""Where ``vehicle``, ``walker`` and ``light`` begin in :data:`ACTOR_STATE`."""

ACTOR_STATE = np.dtype(
    {
        "names": [
            "id",
            "state",
            "location",
            "rotation",
            "velocity",
            "angular_velocity",
            "acceleration",
            "vehicle",
            "walker",
            "light",
        ],
        "formats": [
            "<u4",
            "u1",
            ("<f4", 3),
            ("<f4", 3),
            ("<f4", 3),
            ("<f4", 3),
            ("<f4", 3),
            VEHICLE_STATE,
            WALKER_STATE,
            LIGHT_STATE,
        ],
        "offsets": [0, 4, 5, 17, 29, 41, 53, *(STATE_OFFSET,) * 3],
        "itemsize": 119,
    }
)
"""One actor in the world observer's message: ``state`` 1 is active; rotation is pitch, yaw, roll in
degrees, angular velocity deg/s; ``vehicle``, ``walker`` and ``light`` share the same 54 bytes."""

IMAGE_HEADER = struct.Struct("<IIf")
"""Width, height, horizontal field of view (degrees); the pixels follow as BGRA bytes."""

LIDAR_HEADER = struct.Struct("<fI")
"""Horizontal angle (rad), channels; points per channel (u32) and the points follow."""

SEMANTIC_POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("cosine", "<f4"), ("actor", "<u4"), ("tag", "<u4")]
)
"""A point of the semantic lidar; the plain lidar's are x, y, z, intensity as float32."""


def sensor_header(index: int, frame: int, seconds: float, pose: Sequence[float]) -> bytes:
    """Head of every payload; ``pose`` is x, y, z, pitch, yaw, roll."""
    return SENSOR_HEADER.pack(index, frame, seconds, *pose)


def world_state(
    frame: int, seconds: float, episode: int, clock: float, step: float, flags: int, actors: bytes
) -> bytes:
    """Payload of the world observer; ``actors`` are rows of :data:`ACTOR_STATE`."""
    return (
        SENSOR_HEADER.pack(WORLD_OBSERVER_INDEX, frame, seconds, 0, 0, 0, 0, 0, 0)
        + EPISODE_STATE.pack(episode, clock, step, 0, 0, 0, flags)
        + actors
    )


def image(width: int, height: int, fov: float, pixels: bytes) -> bytes:
    """Camera data: BGRA, rows from the top."""
    return IMAGE_HEADER.pack(width, height, fov) + pixels


def lidar(angle: float, counts: np.ndarray, points: np.ndarray) -> bytes:
    """Lidar data: counts per channel [C], points [N, 4] or rows of :data:`SEMANTIC_POINT`."""
    head = LIDAR_HEADER.pack(angle, len(counts))
    return head + counts.astype("<u4").tobytes() + points.tobytes()


def gnss(latitude: float, longitude: float, altitude: float) -> bytes:
    """Degrees, degrees, metres."""
    return _pack([latitude, longitude, altitude])


def imu(acceleration: Sequence[float], gyroscope: Sequence[float], compass: float) -> bytes:
    """Acceleration (m/s^2), angular velocity (rad/s), heading from north (rad)."""
    return _pack([list(acceleration), list(gyroscope), compass])


def collision(own: list[Any], other: list[Any], impulse: Sequence[float]) -> bytes:
    """Both actors as RPC structs, and the normal impulse (N s)."""
    return _pack([own, other, list(impulse)])
