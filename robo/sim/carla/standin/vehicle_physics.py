"""The physics record of a vehicle as clients read it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robo.sim.carla.standin.blueprints import BLUEPRINTS
from robo.sim.carla.standin.layouts import VehiclePhysics, WheelPhysics

GEARS = ((4.0, 0.65, 0.5), (2.0, 0.65, 0.5), (1.5, 0.65, 0.5), (1.1, 0.65, 0.5), (1.0, 0.65, 0.5))
"""Ratio, and the engine speeds (share of the largest) at which to shift down and up."""
TORQUE = ((0.0, 400.0), (1890.0, 500.0), (5730.0, 400.0))
STEERING = ((0.0, 1.0), (20.0, 0.9), (60.0, 0.8), (120.0, 0.7))
"""Share of the steer angle that remains at a speed (km/h)."""
CENTIMETRES = 100.0


def wheel_positions(type_id: str, pose: Sequence[float]) -> list[tuple[float, float, float]]:
    """Hubs in the world's frame in metres: front left, front right, rear left, rear right."""
    blueprint = BLUEPRINTS[type_id]
    along, across = blueprint.wheelbase / 2, 0.8 * blueprint.extent[1]
    yaw = math.radians(pose[4])
    cosine, sine = math.cos(yaw), math.sin(yaw)
    sides = (-across, across) if blueprint.wheels == 4 else (0.0,)
    return [
        (
            pose[0] + x * cosine - y * sine,
            pose[1] + x * sine + y * cosine,
            pose[2] + wheel_radius(type_id),
        )
        for x in (along, -along)
        for y in sides
    ]


def wheel_radius(type_id: str) -> float:
    """Radius of the wheels in metres, in proportion to the body."""
    return round(min(max(0.15 * BLUEPRINTS[type_id].extent[0], 0.3), 0.5), 3)


def default_physics(type_id: str, pose: Sequence[float]) -> VehiclePhysics:
    """Physics of a vehicle of type ``type_id`` that stands at ``pose``."""
    blueprint = BLUEPRINTS[type_id]
    positions = wheel_positions(type_id, pose)
    wheels = [
        WheelPhysics(
            tire_friction=3.5,
            damping_rate=0.25,
            max_steer_angle=blueprint.max_steer if number < len(positions) // 2 else 0.0,
            radius=CENTIMETRES * wheel_radius(type_id),
            max_brake_torque=1500.0,
            max_handbrake_torque=0.0 if number < len(positions) // 2 else 3000.0,
            lat_stiff_max_load=3.0,
            lat_stiff_value=20.0,
            long_stiff_value=3000.0,
            position=[CENTIMETRES * number for number in position],
        )
        for number, position in enumerate(positions)
    ]
    return VehiclePhysics(
        torque_curve=TORQUE,
        max_rpm=5800.0,
        moi=1.0,
        damping_rate_full_throttle=0.15,
        damping_rate_zero_throttle_clutch_engaged=2.0,
        damping_rate_zero_throttle_clutch_disengaged=0.35,
        use_gear_autobox=True,
        gear_switch_time=0.5,
        clutch_strength=10.0,
        final_ratio=4.0,
        forward_gears=GEARS,
        mass=blueprint.mass,
        drag_coefficient=0.3,
        center_of_mass=(0.0, 0.0, -0.1),
        steering_curve=STEERING,
        wheels=wheels,
        use_sweep_wheel_collision=False,
    )
