"""Checks of traffic lights and of the vehicles before them; not made on maps without lights."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from robo.sim.carla.conformance.session import Check, NotApplicableError, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS)

LightCheck = Callable[[Session, Any], Outcome]


def _with_light(function: LightCheck) -> Callable[[Session], Outcome]:
    """Give the function a light of the map; afterwards every light runs freely again."""

    def run(session: Session) -> Outcome:
        """Make the check, where the map has a light."""
        lights = session.world.get_actors().filter("traffic.traffic_light*")
        if len(lights) == 0:
            raise NotApplicableError("the map has no traffic lights")
        try:
            return function(session, min(lights, key=lambda light: light.id))
        finally:
            session.world.freeze_all_traffic_lights(False)
            session.world.reset_all_traffic_lights()
            session.tick()

    return run


@_check("TrafficLight.get_state", "red, yellow or green, and seconds since")
@_with_light
def _get_state(session: Session, light: Any) -> Outcome:
    session.tick()
    found = str(light.get_state()), light.get_elapsed_time()
    return found[0] in ("Red", "Yellow", "Green") and found[1] >= 0, found


@_check("TrafficLight.set_state", "the state that was set, from the next tick")
@_with_light
def _set_state(session: Session, light: Any) -> Outcome:
    import carla

    found = []
    for state in (carla.TrafficLightState.Green, carla.TrafficLightState.Red):
        light.set_state(state)
        session.tick(2)
        found.append(light.get_state() == state)
    return all(found), found


@_check("TrafficLight.set_green_time, set_yellow_time, set_red_time", "times that read back")
@_with_light
def _times(session: Session, light: Any) -> Outcome:
    before = light.get_green_time(), light.get_yellow_time(), light.get_red_time()
    light.set_green_time(7.0)
    light.set_yellow_time(2.0)
    light.set_red_time(3.0)
    session.tick(2)
    found = light.get_green_time(), light.get_yellow_time(), light.get_red_time()
    light.set_green_time(before[0])
    light.set_yellow_time(before[1])
    light.set_red_time(before[2])
    session.tick(2)
    return found == (7.0, 2.0, 3.0), (before, found)


@_check("TrafficLight.freeze", "a frozen light says so, and its clock stands")
@_with_light
def _freeze(session: Session, light: Any) -> Outcome:
    light.freeze(True)
    session.tick(2)
    frozen, state = light.is_frozen(), light.get_state()
    session.tick(20)
    same = light.get_state() == state
    light.freeze(False)
    session.tick(2)
    return frozen and same and not light.is_frozen(), (frozen, same)


@_check("TrafficLight.get_group_traffic_lights", "the lights of the junction, itself among them")
@_with_light
def _group(session: Session, light: Any) -> Outcome:
    ids = [member.id for member in light.get_group_traffic_lights()]
    return light.id in ids, ids


@_check("TrafficLight.reset_group", "accepted; a light of the group is in some state")
@_with_light
def _reset_group(session: Session, light: Any) -> Outcome:
    light.reset_group()
    session.tick()
    return str(light.get_state()) in ("Red", "Yellow", "Green"), str(light.get_state())


@_check("TrafficLight.get_opendrive_id", "the id of a signal of the map")
@_with_light
def _opendrive_id(session: Session, light: Any) -> Outcome:
    id = light.get_opendrive_id()
    marks = {mark.id for mark in session.world.get_map().get_all_landmarks()}
    return id in marks, id


@_check("TrafficLight.get_pole_index", "0 or more")
@_with_light
def _pole_index(session: Session, light: Any) -> Outcome:
    return light.get_pole_index() >= 0, light.get_pole_index()


@_check("TrafficLight.get_light_boxes", "boxes of its lamps")
@_with_light
def _light_boxes(session: Session, light: Any) -> Outcome:
    boxes = light.get_light_boxes()
    return len(boxes) > 0 and boxes[0].extent.x > 0, f"{len(boxes)} boxes"


@_check("TrafficLight.get_stop_waypoints", "where vehicles wait, with a lane each")
@_with_light
def _stop_waypoints(session: Session, light: Any) -> Outcome:
    waypoints = light.get_stop_waypoints()
    gaps = [point.transform.location.distance(light.get_location()) for point in waypoints]
    return len(gaps) > 0 and min(gaps) < 80.0, gaps


@_check("TrafficLight.get_affected_lane_waypoints", "lanes that it governs")
@_with_light
def _affected_lanes(session: Session, light: Any) -> Outcome:
    waypoints = light.get_affected_lane_waypoints()
    return len(waypoints) > 0, f"{len(waypoints)} waypoints"


@_check("World.get_traffic_light_from_opendrive_id", "the light of a signal")
@_with_light
def _light_from_id(session: Session, light: Any) -> Outcome:
    found = session.world.get_traffic_light_from_opendrive_id(light.get_opendrive_id())
    return found is not None and found.id == light.id, found


@_check("World.get_traffic_light", "the light of a landmark")
@_with_light
def _light_of_landmark(session: Session, light: Any) -> Outcome:
    marks = session.world.get_map().get_all_landmarks_from_id(light.get_opendrive_id())
    found = session.world.get_traffic_light(marks[0])
    return found is not None and found.id == light.id, found


@_check("World.get_traffic_lights_from_waypoint", "lights ahead of where vehicles wait")
@_with_light
def _lights_from_waypoint(session: Session, light: Any) -> Outcome:
    waypoints = light.get_stop_waypoints()
    if not waypoints:
        return False, "the light has no stop waypoints"
    start = (waypoints[0].previous(5.0) or waypoints)[0]
    found = session.world.get_traffic_lights_from_waypoint(start, 50.0)
    return light.id in [each.id for each in found], [each.id for each in found]


@_check("World.get_traffic_lights_in_junction", "the lights of a junction")
@_with_light
def _lights_in_junction(session: Session, light: Any) -> Outcome:
    waypoints = light.get_affected_lane_waypoints() + light.get_stop_waypoints()
    junctions = set()
    for waypoint in waypoints:
        for ahead in [waypoint, *waypoint.next(5.0), *waypoint.next(15.0)]:
            if ahead.is_junction:
                junctions.add(ahead.junction_id)
    found = [len(session.world.get_traffic_lights_in_junction(id)) for id in sorted(junctions)]
    return any(found), found


@_check("World.freeze_all_traffic_lights", "every light stands")
@_with_light
def _freeze_all(session: Session, light: Any) -> Outcome:
    session.world.freeze_all_traffic_lights(True)
    session.tick(2)
    lights = session.world.get_actors().filter("traffic.traffic_light*")
    frozen = sum(each.is_frozen() for each in lights)
    return frozen == len(lights), (frozen, len(lights))


@_check("World.reset_all_traffic_lights", "accepted; lights run")
@_with_light
def _reset_all(session: Session, light: Any) -> Outcome:
    session.world.reset_all_traffic_lights()
    session.tick(2)
    return not light.is_frozen(), str(light.get_state())


@_check("Vehicle.is_at_traffic_light", "True before a light, with the light and its state")
@_with_light
def _at_traffic_light(session: Session, light: Any) -> Outcome:
    import carla

    waypoints = light.get_stop_waypoints()
    if not waypoints:
        return False, "the light has no stop waypoints"
    start = (waypoints[0].previous(8.0) or waypoints)[0].transform
    start.location.z += 0.3
    light.set_state(carla.TrafficLightState.Red)
    vehicle = session.vehicle(start)
    light.freeze(True)
    vehicle.apply_control(carla.VehicleControl(throttle=0.5))
    for _ in range(160):
        session.tick()
        if vehicle.is_at_traffic_light():
            governing = vehicle.get_traffic_light()
            found = governing.id == light.id, str(vehicle.get_traffic_light_state())
            return found == (True, "Red"), found
    moved = vehicle.get_location().distance(start.location)
    return False, f"never, over {moved:.1f} m" if math.isfinite(moved) else "no pose"
