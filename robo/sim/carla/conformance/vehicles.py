"""Checks of vehicles: controls, physics, lamps, speed limits."""

from __future__ import annotations

import math
from functools import partial

from robo.sim.carla.conformance.session import Check, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS)


def _speed(vehicle: object) -> float:
    """Speed in the plane, m/s."""
    velocity = vehicle.get_velocity()  # type: ignore[attr-defined]
    return math.hypot(velocity.x, velocity.y)


@_check("Vehicle.apply_control", "full throttle: 5 to 40 km/h after 2 s, forwards")
def _apply_control(session: Session) -> Outcome:
    import carla

    place = session.straight_place()
    vehicle = session.vehicle(place)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    session.tick(40)
    ahead = vehicle.get_location() - place.location
    forward = place.get_forward_vector()
    distance = ahead.x * forward.x + ahead.y * forward.y
    return 1.4 < _speed(vehicle) < 11.2 and distance > 0.5, (_speed(vehicle), distance)


@_check("Vehicle.get_control", "the control that was applied")
def _get_control(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    wanted = carla.VehicleControl(0.25, -0.5, 0.125, True, False, False, 0)
    vehicle.apply_control(wanted)
    session.tick(2)
    found = vehicle.get_control()
    same = (found.throttle, found.steer, found.brake) == (0.25, -0.5, 0.125)
    return same and found.hand_brake and not found.reverse, str(found)


@_check("Vehicle.apply_control, brake", "stands within 4 s of full brake")
def _brake(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place())
    vehicle.apply_control(carla.VehicleControl(throttle=0.7))
    session.tick(30)
    before = _speed(vehicle)
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    session.tick(80)
    return before > 0.5 and _speed(vehicle) < 0.1, (before, _speed(vehicle))


@_check("Vehicle.apply_control, steer", "positive steer turns right (yaw grows)")
def _steer(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place())
    before = vehicle.get_transform().rotation.yaw
    vehicle.apply_control(carla.VehicleControl(throttle=0.6, steer=0.3))
    session.tick(30)
    turn = (vehicle.get_transform().rotation.yaw - before + 180.0) % 360.0 - 180.0
    return turn > 1.0, turn


@_check("Vehicle.apply_control, reverse", "drives backwards")
def _reverse(session: Session) -> Outcome:
    import carla

    place = session.straight_place()
    vehicle = session.vehicle(place)
    vehicle.apply_control(carla.VehicleControl(throttle=0.7, reverse=True))
    session.tick(40)
    ahead = vehicle.get_location() - place.location
    forward = place.get_forward_vector()
    distance = ahead.x * forward.x + ahead.y * forward.y
    return distance < -0.3, distance


@_check("Actor.get_acceleration, get_angular_velocity", "acceleration while speeding up")
def _acceleration(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place())
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    most = 0.0
    for _ in range(20):
        session.tick()
        rate = vehicle.get_acceleration()
        most = max(most, math.hypot(rate.x, rate.y))
    spin = vehicle.get_angular_velocity()
    return 0.5 < most < 30.0 and abs(spin.z) < 30.0, (most, spin.z)


@_check("Vehicle.apply_ackermann_control", "about the target speed after 6 s")
def _ackermann(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place(80.0))
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(speed=5.0, acceleration=2.0))
    session.tick(120)
    return 3.0 < _speed(vehicle) < 7.0, _speed(vehicle)


@_check("Vehicle.apply_ackermann_controller_settings", "gains that read back")
def _ackermann_settings(session: Session) -> Outcome:
    vehicle = session.vehicle()
    settings = vehicle.get_ackermann_controller_settings()
    settings.speed_kp = 0.5
    vehicle.apply_ackermann_controller_settings(settings)
    session.tick()
    found = vehicle.get_ackermann_controller_settings()
    return math.isclose(found.speed_kp, 0.5), str(found)


@_check("Vehicle.get_physics_control", "mass, gears and four wheels of which two steer")
def _physics_control(session: Session) -> Outcome:
    physics = session.vehicle().get_physics_control()
    steering = [wheel.max_steer_angle > 1.0 for wheel in physics.wheels]
    plausible = 500 < physics.mass < 5000 and len(physics.forward_gears) > 0
    return plausible and steering == [True, True, False, False], (physics.mass, steering)


@_check("Vehicle.apply_physics_control", "a mass that reads back")
def _apply_physics_control(session: Session) -> Outcome:
    vehicle = session.vehicle()
    physics = vehicle.get_physics_control()
    physics.mass = 2500.0
    vehicle.apply_physics_control(physics)
    session.tick(2)
    found = vehicle.get_physics_control()
    return math.isclose(found.mass, 2500.0) and len(found.wheels) == 4, found.mass


@_check("Vehicle.set_light_state", "lamps that read back")
def _light_state(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    lamps = carla.VehicleLightState
    wanted = lamps(lamps.LowBeam | lamps.Brake)
    vehicle.set_light_state(wanted)
    session.tick(2)
    found = vehicle.get_light_state()
    return found == wanted, str(found)


@_check("Vehicle.get_speed_limit", "5 to 150 km/h")
def _speed_limit(session: Session) -> Outcome:
    vehicle = session.vehicle()
    session.tick()
    limit = vehicle.get_speed_limit()
    return 5.0 <= limit <= 150.0, limit


@_check("Vehicle.get_failure_state", "none")
def _failure_state(session: Session) -> Outcome:
    import carla

    state = session.vehicle().get_failure_state()
    return state == carla.VehicleFailureState.NONE, str(state)


@_check("Vehicle.get_wheel_steer_angle", "front wheels turn right at positive steer")
def _wheel_steer_angle(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    vehicle.apply_control(carla.VehicleControl(steer=0.5))
    session.tick(20)
    angle = vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel)
    return angle > 1.0, angle


@_check("Vehicle.open_door, close_door", "accepted")
def _doors(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    vehicle.open_door(carla.VehicleDoor.All)
    vehicle.close_door(carla.VehicleDoor.All)
    session.tick()
    return vehicle.is_alive, "accepted"


@_check("Vehicle.show_debug_telemetry", "accepted")
def _telemetry(session: Session) -> Outcome:
    vehicle = session.vehicle()
    vehicle.show_debug_telemetry(True)
    vehicle.show_debug_telemetry(False)
    session.tick()
    return vehicle.is_alive, "accepted"
