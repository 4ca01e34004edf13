"""Batches: many commands in one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robo.errors import RoboError
from robo.sim.carla.standin import handlers_actors as actors
from robo.sim.carla.standin import handlers_lights as lights
from robo.sim.carla.standin import handlers_vehicles as vehicles
from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import serves
from robo.sim.carla.standin.service import Service

FUTURE_ACTOR = 0
"""Stands for the actor just spawned in the commands that follow its spawning."""

ATTACHMENTS = (0, 1, 2)
"""Rigid, spring arm, spring arm ghost."""

Command = Callable[..., Any]


def _spawn(service: Service, *struct: Any) -> int:
    """Spawn, then do what was to follow."""
    description, transform, parent, attachment, _, follow_ups = struct
    parent = layouts.from_optional(parent) or 0
    if parent:
        service.actor(parent)
    # The client leaves the kind of attachment uninitialised where its caller named none.
    attachment = attachment if attachment in ATTACHMENTS else 0
    id = actors.spawn(service, description, transform, parent, attachment)[0]
    for follow_up in follow_ups:
        ((index, follow_struct),) = follow_up
        target = id if follow_struct[0] == FUTURE_ACTOR else follow_struct[0]
        _apply(service, index, [target, *follow_struct[1:]])
    return id


def _destroy(service: Service, id: int) -> None:
    """Destroy an actor that must exist."""
    if not service.destroy(id):
        raise StandinError(f"unable to find an actor with id {id}")


def _walker_state(service: Service, id: int, transform: list[Any], speed: float) -> None:
    """Place a walker that walks at a speed."""
    service.actor(id, "walker")
    service.world.set_walker_state(id, actors.finite_pose(transform), float(speed))


def _autopilot(service: Service, id: int, enabled: bool, port: int = 0) -> None:
    """The client's own TrafficManager takes over, so the server's traffic lets go."""
    service.actor(id, "vehicle")
    service.world.set_autopilot(id, False)


def _console(service: Service, *text: str) -> None:
    """There is no console."""
    raise StandinError("the stand-in server has no console")


_FUNCTIONS: dict[str, Command] = {
    "spawn_actor": _spawn,
    "destroy_actor": _destroy,
    "vehicle_control": vehicles.apply_control_to_vehicle,
    "ackermann_control": vehicles.apply_ackermann_control_to_vehicle,
    "walker_control": vehicles.apply_control_to_walker,
    "vehicle_physics": vehicles.apply_physics_control,
    "transform": actors.set_actor_transform,
    "walker_state": _walker_state,
    "target_velocity": actors.set_actor_target_velocity,
    "target_angular_velocity": actors.set_actor_target_angular_velocity,
    "impulse": actors.add_actor_impulse,
    "force": actors.add_actor_force,
    "angular_impulse": actors.add_actor_angular_impulse,
    "torque": actors.add_actor_torque,
    "simulate_physics": actors.set_actor_simulate_physics,
    "enable_gravity": actors.set_actor_enable_gravity,
    "autopilot": _autopilot,
    "debug_telemetry": vehicles.show_vehicle_debug_telemetry,
    "light_state": vehicles.set_vehicle_light_state,
    "location": actors.set_actor_location,
    "console": _console,
    "traffic_light_state": lights.set_traffic_light_state,
}
_BY_INDEX: list[Command] = [_FUNCTIONS[name] for name in layouts.COMMANDS]


def _apply(service: Service, index: int, struct: list[Any]) -> int:
    """Do one command; returns the actor that it was about."""
    if not 0 <= index < len(_BY_INDEX):
        raise StandinError(f"command {index} does not exist")
    result = _BY_INDEX[index](service, *struct)
    return result if index == 0 else struct[0]


def _attempt(service: Service, command: list[Any]) -> list[Any]:
    """One command's own answer: a failure does not end the batch."""
    try:
        ((index, struct),) = command
        if index == layouts.COMMANDS.index("light_state"):
            # The bits travel bare inside a command and wrapped in the RPC.
            struct = [struct[0], struct[1] if type(struct[1]) is list else [struct[1]]]
        return layouts.value(_apply(service, index, struct))
    except RoboError as error:
        return layouts.error(str(error))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        return layouts.error(f"malformed command ({type(error).__name__}: {error})")


@serves("apply_batch", "raw")
def apply_batch(service: Service, commands: list[Any], tick: bool = False) -> list[Any]:
    """Do commands in order, and one step where asked to."""
    answers = [_attempt(service, command) for command in commands]
    if tick and service.world.settings.synchronous_mode:
        service.tick()
    return answers
