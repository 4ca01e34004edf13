"""GNSS and IMU: what they would read where their sensor is now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robo.sim.carla.standin import poses

GRAVITY = 9.81
"""m/s^2; an accelerometer at rest reads it upwards."""


def gnss(world: Any, actor: Any) -> tuple[float, float, float]:
    """Position of a GNSS sensor.

    Args:
        world: the world; its map's geographic reference applies.
        actor: the sensor; its ``noise_lat_stddev``, ``noise_lat_bias`` (degrees; also lon, and alt
            in metres) and ``noise_seed`` apply.

    Returns:
        Latitude and longitude in degrees, altitude in metres.
    """
    import carla

    x, y, z = world.pose(actor.id)[:3]
    place = world.map.transform_to_geolocation(carla.Location(x, y, z))
    clean = (place.latitude, place.longitude, place.altitude)
    noise = _noise(
        world,
        actor,
        [f"noise_{axis}_stddev" for axis in ("lat", "lon", "alt")],
        [f"noise_{axis}_bias" for axis in ("lat", "lon", "alt")],
    )
    return clean[0] + noise[0], clean[1] + noise[1], clean[2] + noise[2]


def imu(world: Any, actor: Any) -> tuple[list[float], list[float], float]:
    """Readings of an inertial sensor, in its own frame (x forward, y right, z up).

    Args:
        world: the world.
        actor: the sensor; it moves with its parent, and its noise attributes apply.

    Returns:
        Acceleration with gravity (m/s^2), angular velocity (rad/s), and the heading from north
        (-y of the map), clockwise seen from above, in [0, 2 pi) rad.
    """
    moving = world.actors.get(actor.parent, actor)
    state = world.table.state[moving.row]
    pose = world.pose(actor.id)
    matrix = poses.rotation_matrix(*pose[3:6])
    pull = (float(state[12]), float(state[13]), float(state[14]) + GRAVITY)
    spin = tuple(math.radians(float(rate)) for rate in state[9:12])
    axes = ("x", "y", "z")
    shake = _noise(world, actor, [f"noise_accel_stddev_{axis}" for axis in axes], [])
    drift = _noise(
        world,
        actor,
        [f"noise_gyro_stddev_{axis}" for axis in axes],
        [f"noise_gyro_bias_{axis}" for axis in axes],
    )
    acceleration = [a + b for a, b in zip(_into(matrix, pull), shake, strict=True)]
    gyroscope = [a + b for a, b in zip(_into(matrix, spin), drift, strict=True)]
    compass = (math.radians(pose[4]) + math.pi / 2.0) % (2.0 * math.pi)
    return acceleration, gyroscope, compass


def _into(matrix: poses.Matrix, vector: Sequence[float]) -> list[float]:
    """A vector of the world in the frame whose axes are the matrix's columns."""
    return [sum(matrix[row][axis] * vector[row] for row in range(3)) for axis in range(3)]


def _noise(world: Any, actor: Any, spreads: list[str], biases: list[str]) -> list[float]:
    """Noise by the blueprint's attributes, from its seed, the actor and the frame."""
    attributes: Mapping[str, str] = actor.attributes
    deviation = [float(attributes.get(name, 0.0)) for name in spreads]
    bias = [float(attributes.get(name, 0.0)) for name in biases] or [0.0] * len(deviation)
    if not any(deviation):
        return bias
    seed = int(attributes.get("noise_seed", 0))
    key = [abs(seed), actor.id, world.frame, len(spreads[0])]
    drawn = np.random.default_rng(key).normal(size=len(deviation))
    return [b + s * float(n) for b, s, n in zip(bias, deviation, drawn, strict=True)]
