"""From the server's newest tick to one :class:`DrivingState`, and to the policy's numbers."""

from __future__ import annotations

import math
from typing import Any

import carla
import numpy as np
from gymnasium import spaces

from robo.sim.carla.client import Connection
from robo.sim.carla.driving_state import YELLOW, Bodies, CollisionEvent, DrivingState, Ego
from robo.sim.carla.routes import SPACING, Route
from robo.sim.carla.traffic_rules import StopLines

STATE_SIZE, CRITIC_SIZE, CHANNELS = 8, 10, 10
BRAKE_LIGHT = int(carla.VehicleLightState.Brake)
BRAKING = 0.05
"""Brake pedal, [0, 1], from which the brake light is on."""
DEFAULT_SPEED_LIMIT = 21.6
"""km/h, where the server names none (right after a spawn): CaRL's 6 m/s."""


def observation_space(birdseye_size: int, route_points: int = 0) -> spaces.Dict:
    """CaRL's observation: what the policy sees, and ``critic_state`` for the critic alone.

    ``route_points`` points of the route ahead follow CaRL's numbers in ``state``, as in VLM-RL.
    """
    shape = (CHANNELS, birdseye_size, birdseye_size)
    size = STATE_SIZE + 2 * route_points
    return spaces.Dict(
        {
            "state": spaces.Box(-np.inf, np.inf, (size,), np.float32),
            "birdseye": spaces.Box(0, 255, shape, np.uint8),
            "critic_state": spaces.Box(-np.inf, np.inf, (CRITIC_SIZE,), np.float32),
        }
    )


def measurements(state: DrivingState) -> np.ndarray:
    """CaRL's 8 numbers, float32 ``[8]``.

    Last steer [-1, 1], throttle and brake [0, 1], gear, velocity ahead and to the right (m/s),
    forward speed (m/s), speed limit (m/s).
    """
    ego = state.ego
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    vx, vy = float(ego.velocity[0]), float(ego.velocity[1])
    ahead, right = cos * vx + sin * vy, cos * vy - sin * vx
    limit = (state.speed_limit or DEFAULT_SPEED_LIMIT) / 3.6
    return np.array(
        [ego.steer, ego.throttle, ego.brake, ego.gear, ahead, right, ahead, limit], np.float32
    )


def points_ahead(ego: Ego, route: Route, first: int, count: int) -> np.ndarray:
    """The next points of the route in the car's frame, float32 ``[2 count]`` (VLM-RL, its code).

    Args:
        ego: the car.
        route: that it drives.
        first: index of the first point.
        count: how many, 1 m apart; after the route's end they go straight on.

    Returns:
        Metres ahead and to the right of the car, point by point.
    """
    index = np.arange(first, first + count)
    inside = np.minimum(index, len(route) - 1)
    points = route.points[inside, :2] - ego.location[:2]
    if index[-1] >= len(route):
        end = route.yaw[-1]
        beyond = (index - inside) * SPACING
        points += beyond[:, None] * np.array([math.cos(end), math.sin(end)])
    cos, sin = math.cos(ego.yaw), math.sin(ego.yaw)
    frame = np.array([[cos, -sin], [sin, cos]])
    return (points @ frame).astype(np.float32).ravel()


def box_of(connection: Connection, actor: Any) -> tuple[np.ndarray, np.ndarray]:
    """Half sizes and centre (in the actor's frame) of its bounding box, ``[3]`` each, m."""
    box = connection.box(actor)
    extent, center = box.extent, box.location
    return (
        np.array([extent.x, extent.y, extent.z]),
        np.array([center.x, center.y, center.z]),
    )


class BodyReader:
    """Reads some actors of one kind out of a snapshot, as arrays."""

    def __init__(self, connection: Connection, actors: list[Any], driven: bool = False) -> None:
        """Fetch their boxes; ``driven`` actors also show brake lights."""
        boxes = [box_of(connection, actor) for actor in actors]
        self._actors = actors
        self._driven = driven
        self._numbers: list[int] = [actor.id for actor in actors]
        self._ids = np.array(self._numbers, np.int64)
        self._extent = np.array([extent for extent, _ in boxes]).reshape(-1, 3)
        self._offset = np.array([center for _, center in boxes]).reshape(-1, 3)

    def read(self, snapshot: carla.WorldSnapshot, lights: dict[int, Any] | None = None) -> Bodies:
        """Where they are now; actors that are gone are left out.

        Args:
            snapshot: of the newest tick.
            lights: ``carla.VehicleLightState`` by actor id, where the server keeps them. Brake
                lights also follow from the pedal, which is in the snapshot: asking the server for
                the lights of each vehicle would cost one call each.
        """
        rows: list[tuple[float, ...]] = []
        here: list[int] = []
        # One call into the client for each of these numbers: it offers no other way.
        find, driven = snapshot.find, self._driven
        for index, (id, actor) in enumerate(zip(self._numbers, self._actors, strict=True)):
            found = find(id)
            if found is None:
                continue
            place, speed = found.get_transform(), found.get_velocity()
            at = place.location
            light = int(lights.get(id, 0)) if lights else 0
            if driven and actor.get_control().brake > BRAKING:
                light |= BRAKE_LIGHT
            yaw = place.rotation.yaw
            rows.append((at.x, at.y, at.z, yaw, speed.x, speed.y, speed.z, light))
            here.append(index)
        if not rows:
            return Bodies.empty()
        table = np.array(rows)
        offset, extent, ids = self._offset, self._extent, self._ids
        if len(here) < len(ids):
            offset, extent, ids = offset[here], extent[here], ids[here]
        yaw = np.radians(table[:, 3])
        cos, sin = np.cos(yaw), np.sin(yaw)
        center = table[:, :3].copy()
        center[:, 0] += cos * offset[:, 0] - sin * offset[:, 1]
        center[:, 1] += sin * offset[:, 0] + cos * offset[:, 1]
        center[:, 2] += offset[:, 2]
        return Bodies(
            id=ids,
            center=center,
            yaw=yaw,
            velocity=table[:, 4:7],
            extent=extent,
            lights=table[:, 7].astype(np.int64),
        )


class LightReader:
    """States of the traffic lights, one per stop line of the map."""

    def __init__(self, lights: list[Any], lines: StopLines) -> None:
        """Match actors to lines by their OpenDRIVE id; a line without an actor stays dark."""
        by_id = {light.get_opendrive_id(): light for light in lights}
        names = [name for name in dict.fromkeys(lines.opendrive_id) if name in by_id]
        self._lights = [by_id[name] for name in names]
        index = {name: position for position, name in enumerate(names)}
        dark = len(names)  # the row after the last light
        self._row = np.array([index.get(name, dark) for name in lines.opendrive_id], np.int64)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """State int8 ``[S]`` and seconds until a yellow light changes float64 ``[S]``."""
        states = [light.state for light in self._lights]
        shown = np.array([*states, carla.TrafficLightState.Off], np.int8)
        left = np.zeros(len(shown))
        for position in (shown == YELLOW).nonzero()[0].tolist():
            light = self._lights[position]
            left[position] = max(0.0, light.get_yellow_time() - light.get_elapsed_time())
        return shown[self._row], left[self._row]


class CollisionInbox:
    """Contacts of one car, by the number of the tick in which they happened."""

    def __init__(self, connection: Connection, car: Any) -> None:
        """Attach the collision sensor."""
        self._events: list[tuple[int, CollisionEvent]] = []
        self._start = 0
        with connection.calls():
            blueprint = connection.world.get_blueprint_library().find("sensor.other.collision")
            self.sensor: Any = connection.world.spawn_actor(
                blueprint, carla.Transform(), attach_to=car
            )
            self.sensor.listen(self._put)

    def _put(self, event: Any) -> None:
        """Called by the client's thread."""
        push = event.normal_impulse
        name = event.other_actor.type_id.split(".")[0]
        kind = name if name in ("vehicle", "walker") else "static"
        impulse = math.sqrt(push.x**2 + push.y**2 + push.z**2)
        contact = CollisionEvent(kind, event.other_actor.id, impulse)
        self._events.append((event.frame, contact))

    def begin(self, frame: int) -> None:
        """Forget contacts up to tick ``frame``, with which an episode starts."""
        self._start = frame
        self._events = []

    def take(self) -> tuple[CollisionEvent, ...]:
        """Contacts of this episode that have not been taken yet.

        The stand-in sends those of a tick before its state; a real server may send them after it,
        so that they count for the step after.
        """
        events, self._events = self._events, []
        return tuple(contact for frame, contact in events if frame > self._start)


def ego_of(
    snapshot: carla.WorldSnapshot, car: Any, box: tuple[np.ndarray, np.ndarray]
) -> Ego | None:
    """The driven car in a snapshot; None where it is gone."""
    found = snapshot.find(car.id)
    if found is None:
        return None
    place, speed, push = found.get_transform(), found.get_velocity(), found.get_acceleration()
    at = place.location
    control = car.get_control()
    return Ego(
        location=np.array([at.x, at.y, at.z]),
        yaw=math.radians(place.rotation.yaw),
        velocity=np.array([speed.x, speed.y, speed.z]),
        acceleration=np.array([push.x, push.y, push.z]),
        extent=box[0],
        box_center=box[1],
        gear=control.gear,
    )
