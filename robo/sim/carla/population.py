"""Other traffic of an episode: who stands where, and who drives it."""

from __future__ import annotations

from typing import Any

import carla
import numpy as np

from robo.errors import RoboError
from robo.sim.carla.client import Connection
from robo.sim.carla.map_cache import MapCache

CLEARANCE = 12.0
"""Metres around the ego's start without traffic."""
PAVEMENT = 1.5
"""Metres from a road's edge to where pedestrians start, where a map has no sidewalks."""
_GRID = 6.0
"""Metres between places for pedestrians."""
_ROUTE_STRIDE = 5
"""Route points are 1 m apart; every fifth is enough to ask what lies near."""
_ROUNDS = 3
"""A place may be taken; others are tried so often."""


class Population:
    """Vehicles and pedestrians, drawn anew for each episode.

    Everything is spawned afresh, in two calls: cheaper than moving actors one by one, and nothing
    of the last episode lives on. On the stand-in they carry ``role_name=autopilot:SEED``, on which
    its own traffic drives them; with a TrafficManager port, the client's TrafficManager does.
    """

    def __init__(
        self,
        connection: Connection,
        vehicles: int,
        pedestrians: int,
        radius: float = 0.0,
        traffic_port: int | None = None,
    ) -> None:
        """Look up blueprints and places; nothing is spawned yet.

        Args:
            connection: to the server.
            vehicles: how many are asked for; fewer where there is no room.
            pedestrians: the same.
            radius: metres from the route within which traffic starts; 0 for anywhere.
            traffic_port: of the TrafficManager; None leaves the traffic to the stand-in.

        Raises:
            RoboError: traffic is asked for and the server has no blueprints for it.
        """
        self._connection = connection
        self._counts = (vehicles, pedestrians)
        self._radius = radius
        self._traffic_port = traffic_port
        library = connection.world.get_blueprint_library()
        cars = [item for item in library.filter("vehicle.*") if _wheels(item) == 4]
        people = list(library.filter("walker.pedestrian.*"))
        for count, found, kind in ((vehicles, cars, "cars"), (pedestrians, people, "walkers")):
            if count and not found:
                raise RoboError(
                    f"the server at {connection.host}:{connection.port} has no blueprints of "
                    f"{kind}; ask for none, or use another server"
                )
        self._cars = sorted(cars, key=lambda item: item.id)
        self._people = sorted(people, key=lambda item: item.id)
        self._walks = kept_pavements(connection.map) if pedestrians else []
        self._roads = _place_array(connection.spawn_points)
        self._pavements = _place_array(self._walks)
        self._ids: list[int] = []
        self._manager: Any = None

    def repopulate(self, generator: np.random.Generator, route: np.ndarray) -> None:
        """Remove the last episode's traffic and draw this one's.

        Args:
            generator: decides everything.
            route: ``[R, 3]``, m, from the ego's start on.
        """
        self.clear()
        vehicles, pedestrians = self._counts
        seed = int(generator.integers(2**31))
        points = self._connection.spawn_points
        roads = generator.permutation(_may_start(self._roads, route, self._radius))
        self._spawn(generator, self._cars, [points[index] for index in roads], vehicles)
        if self._traffic_port is not None:
            self._hand_over(self._traffic_port, seed)
        walks = generator.permutation(_may_start(self._pavements, route, self._radius))
        places = [self._walks[index] for index in walks]
        self._spawn(generator, self._people, places, pedestrians)

    def _spawn(
        self,
        generator: np.random.Generator,
        blueprints: list[Any],
        order: list[Any],
        count: int,
    ) -> None:
        kinds = generator.integers(max(1, len(blueprints)), size=len(order))
        seed = int(generator.integers(2**31))
        for _ in range(_ROUNDS):
            if count <= 0 or not order:
                return
            commands = []
            for place, kind in zip(order[:count], kinds, strict=False):
                blueprint = blueprints[kind]
                seed += 1
                role = f"autopilot:{seed}" if self._traffic_port is None else "traffic"
                blueprint.set_attribute("role_name", role)
                commands.append(carla.command.SpawnActor(blueprint, place))
            order, kinds = order[count:], kinds[count:]
            spawned = [actor for actor in self._connection.batch(commands) if actor]
            self._ids += spawned
            count -= len(spawned)

    def _hand_over(self, port: int, seed: int) -> None:
        """Let the client's TrafficManager drive the vehicles."""
        with self._connection.calls():
            if self._manager is None:
                self._manager = self._connection.client.get_trafficmanager(port)
                self._manager.set_synchronous_mode(True)
            self._manager.set_random_device_seed(seed)
        self._connection.batch(
            [carla.command.SetAutopilot(actor, True, port) for actor in self._ids]
        )

    def clear(self) -> None:
        """Destroy this episode's traffic."""
        if self._ids:
            self._connection.batch([carla.command.DestroyActor(actor) for actor in self._ids])
        self._ids = []

    def close(self) -> None:
        """Leave the TrafficManager, which otherwise keeps its port."""
        if self._manager is not None:
            self._manager.shut_down()
            self._manager = None


def _wheels(blueprint: Any) -> int:
    if not blueprint.has_attribute("number_of_wheels"):
        return 4
    return blueprint.get_attribute("number_of_wheels").as_int()


def _place_array(places: list[carla.Transform]) -> np.ndarray:
    return np.array([[place.location.x, place.location.y] for place in places]).reshape(-1, 2)


def _may_start(places: np.ndarray, route: np.ndarray, radius: float) -> np.ndarray:
    """Indices of the places where traffic may start; see :class:`Population`."""
    fine = np.linalg.norm(places - route[0, :2], axis=1) > CLEARANCE
    if radius > 0:
        gaps = places[:, None] - route[None, ::_ROUTE_STRIDE, :2]
        fine &= np.einsum("prk,prk->pr", gaps, gaps).min(axis=1) < radius**2
    return np.flatnonzero(fine)


def pavements(map: carla.Map) -> list[carla.Transform]:
    """Where pedestrians may start: on sidewalks, or beside roads that have none."""
    places = []
    for waypoint in map.generate_waypoints(_GRID):
        if waypoint.is_junction:
            continue
        beside = waypoint.get_right_lane()
        last = waypoint
        while beside is not None and beside.lane_type != carla.LaneType.Sidewalk:
            if beside.lane_type == carla.LaneType.Driving:
                break
            last, beside = beside, beside.get_right_lane()
        if beside is not None and beside.lane_type == carla.LaneType.Driving:
            continue  # an inner lane; the outermost one has the pavement
        if beside is None:
            place = last.transform
            right = place.get_right_vector()
            place.location += right * (last.lane_width / 2 + PAVEMENT)
        else:
            place = beside.transform
        place.location.z += 1.0  # a walker's origin lies at mid-height
        places.append(place)
    return places


kept_pavements = MapCache(pavements)
"""``kept_pavements(map)``: found once per process and town."""
