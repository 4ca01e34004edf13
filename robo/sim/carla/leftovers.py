"""What an earlier session left in a server that is not ours to restart."""

from __future__ import annotations

from typing import Any

import carla

from robo.sim.carla.client import Connection

_ROLES = ("hero", "traffic")
"""Role names of the driven car and of other traffic; the stand-in's begin with "autopilot:"."""
_ATTACHED = ("sensor.", "controller.")


def clear_leftovers(connection: Connection) -> int:
    """Destroy driven cars, traffic and pedestrians of sessions that could not say goodbye.

    A server that stalled once, or a worker that was killed, leaves them in the world, where they
    stand in the way and in the bird's-eye view. One environment has its server to itself, so that
    whatever carries our role names is left over.

    Args:
        connection: to the server, before anything is spawned.

    Returns:
        How many actors were destroyed.
    """
    connection.tick()  # the client knows the actors of the newest state
    with connection.calls():
        actors: list[Any] = list(connection.world.get_actors())
        left = {actor.id for actor in actors if _is_ours(actor)}
        attached = [
            actor.id
            for actor in actors
            if actor.type_id.startswith(_ATTACHED)
            and actor.parent is not None
            and actor.parent.id in left
        ]
    doomed = [*attached, *sorted(left)]
    if doomed:
        connection.batch([carla.command.DestroyActor(actor) for actor in doomed])
        connection.tick()
    return len(doomed)


def _is_ours(actor: Any) -> bool:
    role = actor.attributes.get("role_name", "")
    kind = actor.type_id.startswith(("vehicle.", "walker."))
    return kind and (role in _ROLES or role.startswith("autopilot:"))
