"""Checks of the client, the world, its map, weather and debug drawing."""

from __future__ import annotations

import math
import threading
from functools import partial

from robo.sim.carla.conformance.session import STEP, Check, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS)
VERSION = "0.9.16"
BLUEPRINTS = ("vehicle.tesla.model3", "walker.pedestrian.0001", "sensor.camera.rgb")


@_check("Client.get_client_version", VERSION)
def _client_version(session: Session) -> Outcome:
    version = session.client.get_client_version()
    return version == VERSION, version


@_check("Client.get_server_version", VERSION)
def _server_version(session: Session) -> Outcome:
    version = session.client.get_server_version()
    return version == VERSION, version


@_check("Client.get_available_maps", "names of maps, one or more")
def _available_maps(session: Session) -> Outcome:
    maps = session.client.get_available_maps()
    return len(maps) > 0 and all(isinstance(name, str) for name in maps), maps


@_check("Client.get_required_files", "a list of paths")
def _required_files(session: Session) -> Outcome:
    files = session.client.get_required_files("", False)
    return isinstance(list(files), list), f"{len(files)} files"


@_check("Client.get_world", "a world with the id of the episode, the same when asked again")
def _get_world(session: Session) -> Outcome:
    again = session.client.get_world()
    return again.id == session.world.id, (again.id, session.world.id)


@_check("World.get_settings", f"synchronous mode, steps of {STEP} s")
def _get_settings(session: Session) -> Outcome:
    settings = session.world.get_settings()
    found = settings.synchronous_mode, settings.fixed_delta_seconds
    return found[0] and math.isclose(found[1], STEP), found


@_check("World.apply_settings", "settings read back as they were set, and a frame")
def _apply_settings(session: Session) -> Outcome:
    settings = session.world.get_settings()
    settings.max_substeps, settings.deterministic_ragdolls = 12, True
    frame = session.world.apply_settings(settings)
    found = session.world.get_settings()
    return found == settings and isinstance(frame, int), (frame, found)


@_check("World.tick", "each tick returns the frame after the last")
def _tick(session: Session) -> Outcome:
    first, second = session.tick(), session.tick()
    return second == first + 1, (first, second)


@_check("World.get_snapshot", f"the frame of the tick, {STEP} s after the last one")
def _get_snapshot(session: Session) -> Outcome:
    session.tick()
    before = session.world.get_snapshot().timestamp.elapsed_seconds
    frame = session.tick()
    time = session.world.get_snapshot().timestamp
    found = time.frame - frame, time.elapsed_seconds - before, time.delta_seconds
    return found[0] == 0 and all(abs(step - STEP) < 1e-4 for step in found[1:]), found


@_check("WorldSnapshot.find", "an actor's pose and velocity, and None for an unknown id")
def _snapshot_find(session: Session) -> Outcome:
    vehicle = session.vehicle()
    snapshot = session.world.get_snapshot()
    state = snapshot.find(vehicle.id)
    if state is None:
        return False, None
    distance = state.get_transform().location.distance(vehicle.get_location())
    known = snapshot.has_actor(vehicle.id), snapshot.find(4_000_000) is None
    return distance < 0.01 and all(known) and vehicle.id in [s.id for s in snapshot], distance


@_check("World.wait_for_tick", "the snapshot of a tick that another thread makes")
def _wait_for_tick(session: Session) -> Outcome:
    timer = threading.Timer(0.3, session.tick)
    timer.start()
    snapshot = session.world.wait_for_tick(10.0)
    timer.join()
    return snapshot.frame > 0, snapshot.frame


@_check("World.on_tick", "a call with a snapshot at each tick")
def _on_tick(session: Session) -> Outcome:
    seen: list[int] = []
    arrived = threading.Event()

    def note(snapshot: object) -> None:
        seen.append(snapshot.frame)  # type: ignore[attr-defined]
        arrived.set()

    callback = session.world.on_tick(note)
    frame = session.tick()
    arrived.wait(5.0)
    session.world.remove_on_tick(callback)
    return frame in seen, (frame, seen)


@_check("World.remove_on_tick", "no call after removal")
def _remove_on_tick(session: Session) -> Outcome:
    seen: list[object] = []
    session.world.remove_on_tick(session.world.on_tick(seen.append))
    session.tick(2)
    return not seen, len(seen)


@_check("World.get_map", "the map with its name")
def _get_map(session: Session) -> Outcome:
    town = session.world.get_map()
    return bool(town.name), town.name


@_check("Map.get_spawn_points", "poses on driving lanes, within 1.5 m of their centres")
def _spawn_points(session: Session) -> Outcome:
    town = session.world.get_map()
    points = town.get_spawn_points()
    if not points:
        return False, "none"
    gaps = []
    for point in points[:50]:
        center = town.get_waypoint(point.location).transform.location
        gaps.append(math.hypot(center.x - point.location.x, center.y - point.location.y))
    return max(gaps) < 1.5, f"{len(points)} points, at most {max(gaps):.2f} m off"


@_check("Map.get_topology", "pairs of waypoints")
def _topology(session: Session) -> Outcome:
    edges = session.world.get_map().get_topology()
    return len(edges) > 0 and len(edges[0]) == 2, f"{len(edges)} edges"


@_check("Map.generate_waypoints", "waypoints on the lanes")
def _generate_waypoints(session: Session) -> Outcome:
    waypoints = session.world.get_map().generate_waypoints(5.0)
    return len(waypoints) > 10, f"{len(waypoints)} waypoints"


@_check("Map.get_waypoint", "the lane under a spawn point, with a width and a way on")
def _get_waypoint(session: Session) -> Outcome:
    waypoint = session.world.get_map().get_waypoint(session.place().location)
    found = waypoint.lane_width, len(waypoint.next(2.0)), str(waypoint.lane_type)
    return 2.0 < found[0] < 6.0 and found[1] > 0 and found[2] == "Driving", found


@_check("Map.to_opendrive", "the OpenDRIVE text")
def _to_opendrive(session: Session) -> Outcome:
    text = session.world.get_map().to_opendrive()
    return "<OpenDRIVE" in text and "</OpenDRIVE>" in text, f"{len(text)} characters"


@_check("Map.transform_to_geolocation", "finite latitude and longitude")
def _geolocation(session: Session) -> Outcome:
    geo = session.world.get_map().transform_to_geolocation(session.place().location)
    return abs(geo.latitude) <= 90 and abs(geo.longitude) <= 180, str(geo)


@_check("World.get_blueprint_library", f"blueprints, among them {', '.join(BLUEPRINTS)}")
def _blueprint_library(session: Session) -> Outcome:
    library = session.world.get_blueprint_library()
    ids = {blueprint.id for blueprint in library}
    return set(BLUEPRINTS) <= ids, f"{len(ids)} blueprints"


@_check("BlueprintLibrary.filter", "vehicles by pattern, cars with four wheels among them")
def _blueprint_filter(session: Session) -> Outcome:
    vehicles = session.world.get_blueprint_library().filter("vehicle.*")
    wheels = [int(vehicle.get_attribute("number_of_wheels")) for vehicle in vehicles]
    return len(wheels) > 0 and 4 in wheels, wheels


@_check("ActorBlueprint.set_attribute", "a role name that reads back, with tags to match")
def _set_attribute(session: Session) -> Outcome:
    blueprint = session.world.get_blueprint_library().find(BLUEPRINTS[0])
    blueprint.set_attribute("role_name", "hero")
    found = blueprint.get_attribute("role_name").as_str(), blueprint.has_tag("tesla")
    return found == ("hero", True), found


@_check("World.get_spectator", "the spectator, which goes where it is put")
def _get_spectator(session: Session) -> Outcome:
    spectator, place = session.world.get_spectator(), session.place(1)
    place.location.z += 20.0
    spectator.set_transform(place)
    session.tick(2)
    gap = spectator.get_transform().location.distance(place.location)
    return gap < 0.1, (spectator.type_id, gap)


@_check("World.get_weather", "the weather's numbers")
def _get_weather(session: Session) -> Outcome:
    weather = session.world.get_weather()
    return 0 <= weather.cloudiness <= 100 and -90 <= weather.sun_altitude_angle <= 90, str(weather)


@_check("World.set_weather", "a preset that reads back")
def _set_weather(session: Session) -> Outcome:
    before = session.world.get_weather()
    weather = type(before)(cloudiness=80.0, precipitation=30.0, sun_altitude_angle=15.0)
    session.world.set_weather(weather)
    session.tick(2)
    found = session.world.get_weather()
    session.world.set_weather(before)
    names = ("cloudiness", "precipitation", "sun_altitude_angle", "wetness", "dust_storm")
    return all(
        math.isclose(getattr(found, name), getattr(weather, name), abs_tol=1e-3) for name in names
    ), str(found)


@_check("DebugHelper.draw_*", "shapes are accepted")
def _debug_shapes(session: Session) -> Outcome:
    import carla

    debug, place = session.world.debug, session.place().location
    end = place + carla.Location(z=2.0)
    color = carla.Color(255, 0, 0)
    debug.draw_point(place, 0.1, color, 0.1)
    debug.draw_line(place, end, 0.1, color, 0.1)
    debug.draw_arrow(place, end, 0.1, 0.1, color, 0.1)
    box = carla.BoundingBox(place, carla.Vector3D(1.0, 1.0, 1.0))
    debug.draw_box(box, carla.Rotation(), 0.1, color, 0.1)
    debug.draw_string(place, "text", False, color, 0.1)
    return session.tick() > 0, "accepted"


@_check("World.get_lightmanager", "the lamps of the map, none or more")
def _light_manager(session: Session) -> Outcome:
    import carla

    lights = session.world.get_lightmanager().get_all_lights(carla.LightGroup.Street)
    return len(lights) >= 0, f"{len(lights)} street lamps"


@_check("World.get_environment_objects", "fixed parts of the map, none or more")
def _environment_objects(session: Session) -> Outcome:
    import carla

    found = session.world.get_environment_objects(carla.CityObjectLabel.Buildings)
    return len(found) >= 0, f"{len(found)} buildings"


@_check("World.get_level_bbs", "boxes of fixed parts, none or more")
def _level_boxes(session: Session) -> Outcome:
    import carla

    found = session.world.get_level_bbs(carla.CityObjectLabel.Buildings)
    return len(found) >= 0, f"{len(found)} boxes"


@_check("World.get_names_of_all_objects", "names, none or more")
def _names_of_objects(session: Session) -> Outcome:
    found = session.world.get_names_of_all_objects()
    return all(isinstance(name, str) for name in found), f"{len(found)} names"


@_check("World.get_random_location_from_navigation", "a location, or None without a mesh")
def _navigation(session: Session) -> Outcome:
    session.world.set_pedestrians_seed(1)
    location = session.world.get_random_location_from_navigation()
    return location is None or math.isfinite(location.x), str(location)


@_check("World.get_vehicles_light_states", "the lamps of every vehicle")
def _vehicles_light_states(session: Session) -> Outcome:
    vehicle = session.vehicle()
    states = session.world.get_vehicles_light_states()
    return vehicle.id in states, str(dict(states))
