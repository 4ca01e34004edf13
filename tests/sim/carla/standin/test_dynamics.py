"""The kinematic bicycle: published constants, plausible speeds, grip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from robo.sim.carla.standin import dynamics
from robo.sim.carla.standin.actors import DRIVE
from robo.sim.carla.standin.layouts import AckermannControl

DT = 0.05


def car(top_speed: float = 45.0, half_length: float = 2.45, **values: float) -> np.ndarray:
    drive = np.zeros((len(DRIVE), 1))
    drive[DRIVE["rear"]] = dynamics.rear_base(half_length)
    drive[DRIVE["power"]], drive[DRIVE["drag"]] = dynamics.engine(top_speed)
    for name, value in values.items():
        drive[DRIVE[name]] = value
    return drive


def run(drive: np.ndarray, seconds: float) -> np.ndarray:
    """Poses x, y (m) and yaw (degrees) after each step, [T, 3]."""
    state, poses = np.zeros((15, 1)), []
    for _ in range(round(seconds / DT)):
        moved, _ = dynamics.move(state, drive, DT)
        state[:2] += moved[:2]
        state[4] += moved[2]
        poses.append(state[[0, 1, 4], 0].copy())
    return np.array(poses)


def test_full_throttle_reaches_50_km_h_in_about_five_seconds() -> None:
    drive = car(throttle=1.0)
    run(drive, 5.0)
    assert 12.5 < drive[DRIVE["speed"], 0] < 15.5


@pytest.mark.parametrize("top", [10.0, 30.0, 45.0])
def test_drag_bounds_the_top_speed(top: float) -> None:
    drive = car(top_speed=top, throttle=1.0)
    run(drive, 200.0)
    assert drive[DRIVE["speed"], 0] == pytest.approx(top, rel=0.03)


def test_published_throttle_constant_holds_at_cruise() -> None:
    drive = car(throttle=1.0, speed=dynamics.CRUISE)
    gained = (dynamics.advance_speed(drive, 0.01) - dynamics.CRUISE) / 0.01
    assert gained[0] == pytest.approx(dynamics.THROTTLE_ACCELERATION, abs=1e-6)


def test_full_brake_is_the_published_deceleration_and_never_reverses() -> None:
    drive = car(brake=1.0, speed=10.0)
    run(drive, DT)
    lost = 10.0 - drive[DRIVE["speed"], 0]
    expected = -dynamics.BRAKE_ACCELERATION + dynamics.ROLLING
    assert lost / DT == pytest.approx(expected, abs=0.05)
    run(drive, 5.0)
    assert drive[DRIVE["speed"], 0] == 0.0


def test_full_steer_at_walking_pace_is_the_published_circle() -> None:
    drive = car(steer=1.0, wheel=1.0, speed=2.0)
    drive[DRIVE["throttle"]] = dynamics.ROLLING / dynamics.TRACTION
    poses = run(drive, 2.0)
    step = np.hypot(*np.diff(poses[:, :2], axis=0).T)
    radius = step[-1] / math.radians(poses[-1, 2] - poses[-2, 2])
    base = dynamics.FRONT_WHEEL_BASE + dynamics.REAR_WHEEL_BASE
    ratio = dynamics.REAR_WHEEL_BASE / base
    slip = math.atan(ratio * math.tan(dynamics.STEER_GAIN))
    assert radius == pytest.approx(dynamics.REAR_WHEEL_BASE / math.sin(slip), rel=1e-3)
    assert poses[-1, 2] > 0.0  # positive steer turns right


def test_reverse_and_hand_brake() -> None:
    drive = car(throttle=1.0, reverse=1.0)
    poses = run(drive, 10.0)
    assert poses[-1, 0] < -10.0
    assert drive[DRIVE["speed"], 0] >= -dynamics.REVERSE_SPEED - 1e-9
    held = car(throttle=0.0, hand_brake=1.0, speed=5.0)
    run(held, 1.0)
    assert held[DRIVE["speed"], 0] == 0.0


@given(
    steer=st.floats(-1, 1),
    throttle=st.floats(0, 1),
    brake=st.floats(0, 1),
    speed=st.floats(0, 40),
    half_length=st.floats(0.7, 5.2),
)
def test_tyres_hold_no_more_than_their_grip(
    steer: float, throttle: float, brake: float, speed: float, half_length: float
) -> None:
    drive = car(
        half_length=half_length, steer=steer, wheel=steer, throttle=throttle, brake=brake,
        speed=speed,
    )  # fmt: skip
    moved, _ = dynamics.move(np.zeros((15, 1)), drive, DT)
    now = drive[DRIVE["speed"], 0]
    assert np.isfinite(moved).all()
    middle = (speed + now) / 2.0
    sideways = middle * math.radians(moved[2, 0]) / DT
    along = (now - speed) / DT
    bound = math.sqrt(max(dynamics.GRIP**2 - along**2, dynamics.SIDE_GRIP**2))
    assert abs(sideways) <= bound * 1.001 + 1e-6


def test_the_wheel_takes_time_to_turn() -> None:
    drive = car(steer=1.0, speed=5.0)
    run(drive, DT)
    assert drive[DRIVE["wheel"], 0] == pytest.approx(dynamics.STEER_RATE * DT)


@given(wanted=st.floats(-4, 2), speed=st.floats(1, 15))
def test_pedals_give_the_acceleration_asked_for(wanted: float, speed: float) -> None:
    drive = car(speed=speed)
    drive[DRIVE["throttle"]], drive[DRIVE["brake"]] = dynamics.pedals(np.array([wanted]), drive)
    gained = (dynamics.advance_speed(drive, 0.01)[0] - speed) / 0.01
    reachable = min(wanted, drive[DRIVE["power"], 0] / speed - dynamics.ROLLING - 0.1)
    assert gained == pytest.approx(reachable, abs=0.12)


def test_slides_die_out() -> None:
    drive = car(slide_x=4.0, slide_y=-3.0, spin=90.0)
    for _ in range(40):
        dynamics.slide(drive, DT)
    assert not drive[DRIVE["slide_x"] : DRIVE["spin"] + 1].any()


def test_ackermann_reverses() -> None:
    control = dynamics.follow_ackermann(AckermannControl(speed=-2.0), car()[:, 0], DT)
    assert control.reverse
    assert control.throttle > 0.0
