"""RPCs about vehicles and walkers: controls, physics, lamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import serves
from robo.sim.carla.standin.handlers_actors import finite
from robo.sim.carla.standin.service import Service
from robo.sim.carla.standin.vehicle_physics import default_physics

WHEELS = 4


@serves("apply_control_to_vehicle", "void")
def apply_control_to_vehicle(service: Service, id: int, control: list[Any]) -> None:
    """Set pedals and steer, clipped to their ranges."""
    throttle, steer, brake, _, _, _, _ = control
    if not math.isfinite(throttle + steer + brake):
        raise StandinError(f"the control is {control}, expected finite pedals and steer")
    service.actor(id, "vehicle")
    service.world.set_vehicle_control(id, layouts.VehicleControl._make(control))


@serves("apply_ackermann_control_to_vehicle", "void")
def apply_ackermann_control_to_vehicle(service: Service, id: int, control: list[float]) -> None:
    """Aim for a steer angle and a speed."""
    service.actor(id, "vehicle")
    target = layouts.AckermannControl(*map(float, control))
    if not all(map(math.isfinite, target)):
        raise StandinError(f"the control is {list(target)}, expected finite numbers")
    service.world.set_ackermann(id, target)


@serves("get_ackermann_controller_settings")
def get_ackermann_controller_settings(service: Service, id: int) -> Sequence[float]:
    """Gains of the Ackermann controller."""
    service.actor(id, "vehicle")
    return service.ackermann_settings.get(id, layouts.AckermannSettings())


@serves("apply_ackermann_controller_settings", "void")
def apply_ackermann_controller_settings(service: Service, id: int, gains: list[float]) -> None:
    """Keep gains; the controller here is exact and needs none."""
    service.actor(id, "vehicle")
    service.ackermann_settings[id] = layouts.AckermannSettings(*map(float, gains))


@serves("apply_control_to_walker", "void")
def apply_control_to_walker(service: Service, id: int, control: list[Any]) -> None:
    """Set direction and speed of a walker."""
    service.actor(id, "walker")
    direction, speed, jump = layouts.WalkerControl(*control)
    if not math.isfinite(speed):
        raise StandinError(f"the walker's speed is {speed}, expected a finite number")
    service.world.set_walker_control(id, finite(direction, "the direction"), float(speed), jump)


@serves("get_physics_control")
def get_physics_control(service: Service, id: int) -> Sequence[Any]:
    """Physics of a vehicle."""
    actor = service.actor(id, "vehicle")
    if id in service.vehicle_physics:
        return service.vehicle_physics[id]
    return default_physics(actor.type_id, service.world.pose(id))


@serves("apply_physics_control", "void")
def apply_physics_control(service: Service, id: int, physics: list[Any]) -> None:
    """Change physics; of it, mass and steer limit have an effect here."""
    service.actor(id, "vehicle")
    record = layouts.VehiclePhysics(*physics)
    wheels = [layouts.WheelPhysics._make(wheel) for wheel in record.wheels]
    if not (math.isfinite(record.mass) and record.mass > 0):
        raise StandinError(f"the mass is {record.mass}, expected more than 0 kg")
    record = record._replace(wheels=wheels)
    service.world.set_physics_control(id, record)
    service.vehicle_physics[id] = record


@serves("get_vehicle_light_state")
def get_vehicle_light_state(service: Service, id: int) -> list[int]:
    """Which lamps of a vehicle are lit, as bits."""
    service.actor(id, "vehicle")
    return [service.vehicle_lights.get(id, 0)]


@serves("set_vehicle_light_state", "void")
def set_vehicle_light_state(service: Service, id: int, state: list[int]) -> None:
    """Light lamps of a vehicle."""
    service.actor(id, "vehicle")
    service.vehicle_lights[id] = int(state[0]) & 0xFFFFFFFF


@serves("get_vehicle_light_states")
def get_vehicle_light_states(service: Service) -> list[list[int]]:
    """Vehicles and their lit lamps."""
    return [
        [actor.id, service.vehicle_lights.get(actor.id, 0)]
        for actor in service.world.actors.values()
        if actor.kind == "vehicle"
    ]


@serves("get_wheel_steer_angle")
def get_wheel_steer_angle(service: Service, id: int, wheel: int) -> float:
    """Angle of a wheel in degrees; the rear ones do not turn."""
    service.actor(id, "vehicle")
    if not 0 <= wheel < WHEELS:
        raise StandinError(f"wheel {wheel} does not exist, expected 0 to {WHEELS - 1}")
    return service.world.steer_angle(id) if wheel < 2 else 0.0


@serves("open_vehicle_door", "void")
def open_vehicle_door(service: Service, id: int, door: int) -> None:
    """Accepted: doors have no shape here."""
    service.actor(id, "vehicle")


@serves("close_vehicle_door", "void")
def close_vehicle_door(service: Service, id: int, door: int) -> None:
    """Accepted: doors have no shape here."""
    service.actor(id, "vehicle")


@serves("show_vehicle_debug_telemetry", "void")
def show_vehicle_debug_telemetry(service: Service, id: int, enabled: bool) -> None:
    """Accepted: there is no screen to show it on."""
    service.actor(id, "vehicle")
