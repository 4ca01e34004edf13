"""How vehicles and walkers move: a kinematic bicycle within the grip of its tyres.

The bicycle is that of World on Rails (Chen et al. 2021, arXiv 2105.00636), with the constants
published there and used by CaRL for the Lincoln MKZ of CARLA: wheel bases, steer gain, brake. Its
throttle constant, 0.56 m/s^2 at full throttle, was fitted to driving at speed: here it is what is
left of the acceleration at :data:`CRUISE`, where a constant engine power works against drag.

What moves vehicles in every tick is compiled (numba): arrays of few vehicles cost more to hand to
numpy, forty times over, than to compute.
"""

from __future__ import annotations

import math
from typing import Any

import numba  # type: ignore[import-not-found]
import numpy as np

from robo.sim.carla.standin.layouts import AckermannControl, VehicleControl

FRONT_WHEEL_BASE = -0.090769015
REAR_WHEEL_BASE = 1.4178275
STEER_GAIN = 0.36848336
"""Radians of the wheel at full steer."""
BRAKE_ACCELERATION = -4.952399
"""m/s^2 at full brake."""
THROTTLE_ACCELERATION = 0.5633837
"""m/s^2 at full throttle at :data:`CRUISE`."""

CRUISE = 30.0
"""Speed in m/s at which the published throttle constant holds."""
TRACTION = 3.8
"""Largest acceleration by the engine, m/s^2."""
ROLLING = 0.15
"""Rolling resistance, m/s^2."""
TOP_SPEED = 45.0
"""Top speed (m/s) of a car whose blueprint names none."""
GRIP = 0.9 * 9.81
"""What the tyres hold in any direction, m/s^2."""
SIDE_GRIP = 0.3 * GRIP
"""What is left sideways under full braking, m/s^2."""
HAND_BRAKE = 6.0
"""m/s^2."""
STEER_RATE = 4.0
"""Steer units per second that the wheel turns."""
REVERSE_SPEED = 6.0
"""Largest speed backwards, m/s."""
GEAR_SPAN = 7.0
"""Metres per second that one forward gear covers."""
SPIN_DECAY = 4.0
"""1/s, at which a spin from a collision dies out."""

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_RATIO = REAR_WHEEL_BASE / (FRONT_WHEEL_BASE + REAR_WHEEL_BASE)


def engine(top_speed: float) -> tuple[float, float]:
    """Power and drag per kg (m^2/s^3, 1/m) of a vehicle that reaches ``top_speed`` (m/s).

    The power leaves :data:`THROTTLE_ACCELERATION` at :data:`CRUISE` for a car of
    :data:`TOP_SPEED`; others keep the car's drag while their power shrinks with their top speed.
    """
    need = THROTTLE_ACCELERATION + ROLLING
    # power/CRUISE - drag CRUISE^2 = need and power/TOP_SPEED - drag TOP_SPEED^2 = ROLLING
    drag = (need * CRUISE - ROLLING * TOP_SPEED) / (TOP_SPEED**3 - CRUISE**3)
    top = top_speed or TOP_SPEED
    return (drag * top**2 + ROLLING) * top, drag


def rear_base(half_length: float) -> float:
    """Metres from the reference point to the rear axle; the published value for cars.

    Bicycles, vans and buses scale it with their length.
    """
    return REAR_WHEEL_BASE if 1.7 <= half_length <= 2.8 else REAR_WHEEL_BASE * half_length / 2.45


@numba.njit(**_OPTIONS)
def _advance(
    throttle: float,
    brake: float,
    hand: float,
    reverse: float,
    speed: float,
    power: float,
    drag: float,
    dt: float,
) -> float:
    """Speed of one vehicle after ``dt`` seconds; see :func:`advance_speed`."""
    force = throttle * min(TRACTION, power / max(abs(speed), 1.0)) * (1.0 - 2.0 * reverse)
    force -= drag * speed * abs(speed)
    free = max(speed + force * dt, min(speed, -REVERSE_SPEED))
    held = (brake * -BRAKE_ACCELERATION + hand * HAND_BRAKE + ROLLING) * dt
    return math.copysign(max(abs(free) - held, 0.0), free)


@numba.njit("float64[::1](float64[:, :], float64)", **_OPTIONS)
def advance_speed(drive: np.ndarray, dt: float) -> np.ndarray:
    """Speed along the heading after ``dt`` seconds, m/s [N].

    Args:
        drive: rows 0 to 6 of :data:`actors.DRIVE` and 11, 12, as [D, N]: throttle, steer, brake,
            hand brake, reverse, wheel, speed ... power, drag.
        dt: seconds.
    """
    now = np.empty(drive.shape[1])
    for i in range(len(now)):
        now[i] = _advance(
            drive[0, i], drive[2, i], drive[3, i], drive[4, i], drive[6, i], drive[11, i],
            drive[12, i], dt,
        )  # fmt: skip
    return now


@numba.njit(
    "Tuple((float64[:, ::1], float64[::1]))(float64[:, :], float64[:, :], float64)", **_OPTIONS
)
def move(state: np.ndarray, drive: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Move vehicles by one step.

    Args:
        state: x, y, z, pitch, yaw, ... (degrees), rows of the state as [15, N]; not changed.
        drive: :data:`actors.DRIVE` as [D, N]; wheel and speed are changed in place.
        dt: seconds.

    Returns:
        Displacement x, y (m) and yaw change (degrees), [3, N]; yaw after the step (rad), [N].

    The steer reaches its command at :data:`STEER_RATE`; where the curve would need more than the
    tyres' grip (shared with braking and accelerating), the curve is wider.
    """
    count, reach = state.shape[1], STEER_RATE * dt
    moved, after, speeds = np.empty((3, count)), np.empty(count), advance_speed(drive, dt)
    for i in range(count):
        drive[5, i] += min(max(drive[1, i] - drive[5, i], -reach), reach)
        speed, now, rear = drive[6, i], speeds[i], drive[10, i]
        tangent = math.tan(STEER_GAIN * drive[5, i]) * _RATIO
        slip = tangent / math.sqrt(1.0 + tangent * tangent)
        along = (now - speed) / dt
        grip = math.sqrt(max(GRIP * GRIP - along * along, SIDE_GRIP * SIDE_GRIP))
        middle = 0.5 * (speed + now)
        bound = grip * rear / max(middle * middle, 1e-6)
        slip = min(max(slip, -bound), bound)
        turn = slip * middle * (dt / rear)
        yaw = state[4, i] * (math.pi / 180.0)
        heading = yaw + 0.5 * turn + math.asin(slip)
        moved[0, i] = middle * dt * math.cos(heading)
        moved[1, i] = middle * dt * math.sin(heading)
        moved[2, i] = turn * (180.0 / math.pi)
        drive[6, i], after[i] = now, yaw + turn
    return moved, after


def slide(drive: np.ndarray, dt: float) -> np.ndarray:
    """Displacement x, y (m) and yaw (degrees) left over from collisions and impulses, [3, N].

    Slides lose speed at the tyres' grip, spins decay exponentially; both are changed in place.
    """
    moved = np.stack((drive[7] * dt, drive[8] * dt, drive[9] * dt))
    size = np.hypot(drive[7], drive[8])
    keep = np.maximum(size - GRIP * dt, 0.0) / np.maximum(size, 1e-9)
    drive[7] *= keep
    drive[8] *= keep
    drive[9] *= math.exp(-SPIN_DECAY * dt)
    drive[9][np.abs(drive[9]) < 0.5] = 0.0
    return moved


def walk(drive: np.ndarray, dt: float) -> np.ndarray:
    """Displacement x, y (m) of walkers by their command, [2, N]."""
    return drive[21:23] * (drive[23] * dt)


def pedals(wanted: np.ndarray, drive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Throttle and brake (0 to 1, [N] each) that give a forward acceleration.

    Args:
        wanted: m/s^2, [N].
        drive: :data:`actors.DRIVE` as [D, N].
    """
    speed = drive[6]
    rolling = np.where((wanted > 0.0) | (speed > 0.1), ROLLING, 0.0)
    need = wanted + drive[12] * speed * np.abs(speed) + rolling
    full = np.minimum(TRACTION, drive[11] / np.maximum(np.abs(speed), 1.0))
    throttle = np.minimum(np.maximum(need / full, 0.0), 1.0)
    brake = np.minimum(np.maximum(need / BRAKE_ACCELERATION, 0.0), 1.0)
    return throttle, brake


def steer_for(curvature: np.ndarray, rear: np.ndarray) -> np.ndarray:
    """Steer (-1 to 1, [N]) on which the rear axle runs on a curve.

    Args:
        curvature: 1/m, positive to the right, [N].
        rear: metres from the reference point to the rear axle, [N].
    """
    steer = np.arctan(curvature * rear / _RATIO) / STEER_GAIN
    return np.minimum(np.maximum(steer, -1.0), 1.0)


def follow_ackermann(command: AckermannControl, drive: np.ndarray, dt: float) -> VehicleControl:
    """Pedals and steer towards a wheel angle (rad) and speed (m/s).

    Args:
        command: ``acceleration`` bounds that of the approach where it is not 0.
        drive: one row of :attr:`ActorTable.drive`.
        dt: seconds.
    """
    backwards = command.speed < 0.0
    speed = -drive[6] if backwards else drive[6]
    bound = abs(command.acceleration) or TRACTION
    wanted = min(max((abs(command.speed) - speed) / max(dt, 0.2), -bound), bound)
    column = drive.copy()[:, None]
    column[6] = speed
    throttle, brake = pedals(np.array([wanted]), column)
    if command.speed == 0.0 and abs(speed) < 0.3:
        throttle[0], brake[0] = 0.0, 1.0
    return VehicleControl(
        throttle=float(throttle[0]),
        steer=min(max(command.steer / STEER_GAIN, -1.0), 1.0),
        brake=float(brake[0]),
        reverse=backwards,
    )
