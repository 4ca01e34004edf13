"""Checks that end the episode: reload, other maps, maps of the client's own."""

from __future__ import annotations

from functools import partial

from robo.sim.carla.conformance.session import EGO, Check, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS, changes_world=True)


def _short(name: str) -> str:
    """Name without folders."""
    return name.rsplit("/", 1)[-1]


@_check("Client.reload_world", "a new episode on the same map, without our actors, asynchronous")
def _reload_world(session: Session) -> Outcome:
    before, town = session.world.id, session.world.get_map().name
    vehicle = session.vehicle()
    world = session.client.reload_world()
    asynchronous = not world.get_settings().synchronous_mode
    session.renew(world)
    left = [actor.type_id for actor in world.get_actors().filter("vehicle.*")]
    session.spawned.remove(vehicle)
    found = world.id != before, world.get_map().name == town, left, asynchronous
    return found == (True, True, [], True), found


@_check("Client.reload_world(False)", "a new episode with the settings kept")
def _reload_keeping_settings(session: Session) -> Outcome:
    before = session.world.id
    world = session.client.reload_world(False)
    kept = world.get_settings().synchronous_mode
    session.renew(world)
    return world.id != before and kept, (world.id != before, kept)


@_check("Client.load_world", "the map that was asked for")
def _load_world(session: Session) -> Outcome:
    current = _short(session.world.get_map().name)
    others = [name for name in session.client.get_available_maps() if _short(name) != current]
    wanted = [*others[:1], current]
    found = []
    for name in wanted:
        world = session.client.load_world(name)
        session.renew(world)
        found.append(_short(world.get_map().name))
        session.vehicle().destroy()
        session.spawned.clear()
    return found == [_short(name) for name in wanted], found


@_check("Client.load_world of an unknown map", "RuntimeError")
def _load_unknown(session: Session) -> Outcome:
    try:
        session.client.load_world("NoSuchTown")
    except RuntimeError as error:
        return bool(str(error)), str(error)
    return False, "no error"


@_check("Client.generate_opendrive_world", "a world on OpenDRIVE text that the client sends")
def _generate_opendrive_world(session: Session) -> Outcome:
    import carla

    town = session.world.get_map()
    name, edges = _short(town.name), len(town.get_topology())
    parameters = carla.OpendriveGenerationParameters(2.0, 50.0, 1.0, 0.6, True, True, True)
    world = session.client.generate_opendrive_world(town.to_opendrive(), parameters)
    session.renew(world)
    session.spawn(EGO, session.place())
    session.tick()
    found = len(world.get_map().get_topology())
    session.spawned.pop().destroy()
    session.renew(session.client.load_world(name))
    return found == edges, (_short(world.get_map().name), found, edges)
