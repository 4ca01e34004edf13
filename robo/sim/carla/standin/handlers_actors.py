"""RPCs about actors of every kind: definitions, spawning, poses, velocities, impulses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.blueprints import BLUEPRINTS, definitions
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import serves
from robo.sim.carla.standin.rpc import pack_result
from robo.sim.carla.standin.service import Service

MOVABLE = ("vehicle", "walker", "prop")
_definitions: list[bytes] = []


def finite(numbers: Sequence[float], what: str) -> tuple[float, float, float]:
    """Three finite numbers; raises StandinError for anything else."""
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise StandinError(f"{what} is {list(numbers)}, expected 3 finite numbers")
    x, y, z = numbers
    return float(x), float(y), float(z)


def finite_pose(message: Sequence[Sequence[float]]) -> layouts.Transform6:
    """A transform of finite numbers; raises StandinError for anything else."""
    pose = layouts.from_transform(message)
    if not all(map(math.isfinite, pose)):
        raise StandinError(f"the transform is {list(pose)}, expected finite numbers")
    return pose


@serves("get_actor_definitions")
def get_actor_definitions(service: Service) -> bytes:
    """Every blueprint."""
    if not _definitions:
        _definitions.append(pack_result(layouts.value(definitions())))
    return _definitions[0]


@serves("get_spectator")
def get_spectator(service: Service) -> list[Any]:
    """The free camera."""
    for actor in service.world.actors.values():
        if actor.kind == "spectator":
            return service.record(actor.id)
    raise StandinError("the world has no spectator")


@serves("get_actors_by_id")
def get_actors_by_id(service: Service, ids: list[int]) -> list[Any]:
    """Actors; those that are gone are left out."""
    return [service.record(id) for id in ids if id in service.world.actors]


@serves("spawn_actor")
def spawn_actor(service: Service, description: list[Any], transform: list[Any]) -> list[Any]:
    """Make an actor."""
    return spawn(service, description, transform, 0, 0)


@serves("spawn_actor_with_parent")
def spawn_actor_with_parent(
    service: Service,
    description: list[Any],
    transform: list[Any],
    parent: int,
    attachment: int = 0,
    socket: str = "",
) -> list[Any]:
    """Make an actor attached to another, its pose in the other's frame."""
    service.actor(parent)
    return spawn(service, description, transform, parent, attachment)


def spawn(
    service: Service, description: list[Any], transform: list[Any], parent: int, attachment: int
) -> list[Any]:
    """Make an actor and return it as sent to clients.

    Raises:
        StandinError: no such blueprint, or something stands at the place.
    """
    wanted = layouts.Description(*description)
    if wanted.type_id not in BLUEPRINTS:
        raise StandinError(f"actor definition not found: {wanted.type_id!r}")
    attributes = {**BLUEPRINTS[wanted.type_id].defaults(), **wanted.values()}
    actor = service.world.spawn(
        wanted.type_id, attributes, finite_pose(transform), parent, attachment
    )
    return service.record(actor.id)


@serves("destroy_actor")
def destroy_actor(service: Service, id: int) -> bool:
    """Destroy an actor; False where there was none."""
    return service.destroy(id)


@serves("get_actor_bounding_box")
def get_actor_bounding_box(service: Service, id: int) -> list[Any]:
    """Box in the actor's frame."""
    return service.record(id)[3]


@serves("set_actor_transform", "void")
def set_actor_transform(service: Service, id: int, transform: list[Any]) -> None:
    """Move an actor."""
    service.actor(id)
    service.world.set_transform(id, finite_pose(transform))


@serves("set_actor_location", "void")
def set_actor_location(service: Service, id: int, location: list[float]) -> None:
    """Move an actor and keep its heading."""
    service.actor(id)
    rotation = service.world.pose(id)[3:]
    service.world.set_transform(id, (*finite(location, "the location"), *rotation))


@serves("set_actor_target_velocity", "void")
def set_actor_target_velocity(service: Service, id: int, velocity: list[float]) -> None:
    """Set a velocity, m/s in the world's frame."""
    service.actor(id, *MOVABLE)
    service.world.set_target_velocity(id, finite(velocity, "the velocity"))


@serves("set_actor_target_angular_velocity", "void")
def set_actor_target_angular_velocity(service: Service, id: int, velocity: list[float]) -> None:
    """Set an angular velocity, deg/s."""
    service.actor(id, *MOVABLE)
    service.world.set_target_angular_velocity(id, finite(velocity, "the angular velocity"))


@serves("enable_actor_constant_velocity", "void")
def enable_actor_constant_velocity(service: Service, id: int, velocity: list[float]) -> None:
    """Hold a velocity, m/s in the actor's frame."""
    service.actor(id, *MOVABLE)
    service.world.set_constant_velocity(id, finite(velocity, "the velocity"))


@serves("disable_actor_constant_velocity", "void")
def disable_actor_constant_velocity(service: Service, id: int) -> None:
    """Let go of a held velocity."""
    service.actor(id, *MOVABLE)
    service.world.set_constant_velocity(id, None)


@serves("add_actor_impulse", "void")
def add_actor_impulse(service: Service, id: int, impulse: list[float]) -> None:
    """Push, N s in the world's frame."""
    service.actor(id, *MOVABLE)
    service.world.add_impulse(id, finite(impulse, "the impulse"))


@serves("add_actor_force", "void")
def add_actor_force(service: Service, id: int, force: list[float]) -> None:
    """Push during one step, N in the world's frame."""
    service.actor(id, *MOVABLE)
    service.world.add_force(id, finite(force, "the force"))


@serves("add_actor_angular_impulse", "void")
def add_actor_angular_impulse(service: Service, id: int, impulse: list[float]) -> None:
    """Spin, kg m^2 deg/s about the world's axes; only the vertical one turns anything."""
    service.actor(id, *MOVABLE)
    service.world.add_angular_impulse(id, finite(impulse, "the angular impulse"))


@serves("add_actor_torque", "void")
def add_actor_torque(service: Service, id: int, torque: list[float]) -> None:
    """Spin during one step."""
    service.actor(id, *MOVABLE)
    service.world.add_torque(id, finite(torque, "the torque"))


@serves("set_actor_simulate_physics", "void")
def set_actor_simulate_physics(service: Service, id: int, enabled: bool) -> None:
    """Freeze an actor where it is, or let it move again."""
    service.actor(id)
    service.world.set_simulate_physics(id, bool(enabled))


@serves("set_actor_enable_gravity", "void")
def set_actor_enable_gravity(service: Service, id: int, enabled: bool) -> None:
    """Accepted: nothing leaves the ground here."""
    service.actor(id)


@serves("set_actor_collisions", "void")
def set_actor_collisions(service: Service, id: int, enabled: bool) -> None:
    """Whether an actor collides."""
    service.actor(id)
    service.world.set_collisions(id, bool(enabled))


@serves("set_actor_autopilot", "void")
def set_actor_autopilot(service: Service, id: int, enabled: bool) -> None:
    """Let the server drive a vehicle."""
    service.actor(id, "vehicle")
    service.world.set_autopilot(id, bool(enabled))
