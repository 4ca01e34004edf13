"""Other traffic of an episode: who stands where, and who drives it."""

from __future__ import annotations

from typing import Any

import carla
import numpy as np

from robo.errors import ProcessSpentError, RoboError
from robo.sim.carla.client import Connection
from robo.sim.carla.map_cache import MapCache
from robo.sim.carla.traffic_watch import TrafficWatch

CLEARANCE = 12.0
"""Metres around the ego's start without traffic."""
PAVEMENT = 1.5
"""Metres from a road's edge to where pedestrians start, where a map has no sidewalks."""
_GRID = 6.0
"""Metres between places for pedestrians."""
_ROUTE_STRIDE = 5
"""Route points are 1 m apart; every fifth is enough to ask what lies near."""
_CONTROLLER = "controller.ai.walker"
_ROUNDS = 3
"""A place may be taken; others are tried so often."""


_abandoned = False


def is_spent() -> bool:
    """Whether :func:`check_process` refuses."""
    return _abandoned


def check_process() -> None:
    """Refuse to go on in a process whose client holds the TrafficManager of a lost server.

    The client ticks every TrafficManager of its process with every world, and one whose server is
    gone then ends the process; nor can it be shut down (carla issues 4577 and 6748).

    Raises:
        ProcessSpentError: there is one.
    """
    if _abandoned:
        raise ProcessSpentError(
            "a CARLA server was lost while the client's TrafficManager drove in it, and the client "
            "cannot go on in this process; make the environments by robo.make_vec with "
            "backend='workers', which starts another process by itself, or start the program again"
        )


class Population:
    """Vehicles and pedestrians, drawn anew for each episode.

    Everything is spawned afresh, in two calls: cheaper than moving actors one by one, and nothing
    of the last episode lives on. On the stand-in they carry ``role_name=autopilot:SEED``, on which
    its own traffic drives them; with a TrafficManager port, the client's TrafficManager drives the
    vehicles. On another server each pedestrian gets a ``controller.ai.walker``, which finds its
    ways on the server's navigation mesh; without a mesh they stand.
    """

    def __init__(
        self,
        connection: Connection,
        vehicles: int,
        pedestrians: int,
        radius: float = 0.0,
        traffic_port: int | None = None,
        foreign: bool = False,
    ) -> None:
        """Look up blueprints and places; nothing is spawned yet.

        Args:
            connection: to the server.
            vehicles: how many are asked for; fewer where there is no room.
            pedestrians: the same.
            radius: metres from the route within which traffic starts; 0 for anywhere.
            traffic_port: of the TrafficManager; None leaves the vehicles to the stand-in.
            foreign: the server is not our stand-in, so that pedestrians need controllers.

        Raises:
            RoboError: traffic is asked for and the server has no blueprints for it.
        """
        self._connection = connection
        self._counts = (vehicles, pedestrians)
        self._radius = radius
        self._traffic_port = traffic_port
        with connection.calls():
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
        self._controller = library.find(_CONTROLLER) if foreign and pedestrians else None
        self._ids: list[int] = []
        self._ways: dict[int, carla.Location] = {}
        self._controllers: list[Any] = []
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
        cars = [points[index] for index in roads]
        autopilot = self._traffic_port is None
        self._ids = self._spawn(generator, self._cars, cars, vehicles, autopilot)
        if self._traffic_port is not None:
            self._hand_over(self._traffic_port, seed)
        walks = generator.permutation(_may_start(self._pavements, route, self._radius))
        places = [self._walks[index] for index in walks]
        walkers = self._spawn(generator, self._people, places, pedestrians, True)
        self._ids += walkers
        if self._controller is not None:
            self._add_controllers(self._controller, walkers, seed)

    def _spawn(
        self,
        generator: np.random.Generator,
        blueprints: list[Any],
        order: list[Any],
        count: int,
        autopilot: bool,
    ) -> list[int]:
        """Ids of ``count`` actors at the first free places; autopilot: our server moves them."""
        found: list[int] = []
        kinds = generator.integers(max(1, len(blueprints)), size=len(order))
        seed = int(generator.integers(2**31))
        for _ in range(_ROUNDS):
            if count <= 0 or not order:
                break
            commands = []
            for place, kind in zip(order[:count], kinds, strict=False):
                blueprint = blueprints[kind]
                seed += 1
                role = f"autopilot:{seed}" if autopilot else "traffic"
                blueprint.set_attribute("role_name", role)
                commands.append(carla.command.SpawnActor(blueprint, place))
            order, kinds = order[count:], kinds[count:]
            spawned = [actor for actor in self._connection.batch(commands) if actor]
            found += spawned
            count -= len(spawned)
        return found

    def _hand_over(self, port: int, seed: int) -> None:
        """Let the client's TrafficManager drive the vehicles."""
        with self._connection.calls():
            if self._manager is None:
                self._manager = self._connection.client.get_trafficmanager(port)
                self._manager.set_synchronous_mode(True)
                # A tick waits for the server twice at most: for its answer and for the state.
                patience = 2.0 * self._connection.tick_timeout + 1.0
                self._connection.traffic_watch = TrafficWatch(port, patience)
            self._manager.set_random_device_seed(seed)
        self._connection.batch(
            [carla.command.SetAutopilot(actor, True, port) for actor in self._ids]
        )

    def _add_controllers(self, blueprint: Any, walkers: list[int], seed: int) -> None:
        """One for each pedestrian and a place to go to, where the server has a mesh for it."""
        world = self._connection.world
        with self._connection.calls():
            world.set_pedestrians_seed(seed)
            ways = [world.get_random_location_from_navigation() for _ in walkers]
        if None in ways:
            return
        commands = [
            carla.command.SpawnActor(blueprint, carla.Transform(), walker) for walker in walkers
        ]
        ids = self._connection.batch(commands)
        self._ways = {id: way for id, way in zip(ids, ways, strict=True) if id}

    def set_out(self) -> None:
        """Send the pedestrians that have controllers on their way.

        After a tick: a controller takes its pedestrian up where the client last saw it. Once it has
        arrived it goes on to other places by itself.
        """
        if not self._ways:
            return
        with self._connection.calls():
            # The client's type stubs take every actor for a plain one.
            controllers: Any = self._connection.world.get_actors(list(self._ways))
            for controller in controllers:
                controller.start()
                self._controllers.append(controller)
                controller.go_to_location(self._ways[controller.id])

    def clear(self) -> None:
        """Destroy this episode's traffic."""
        with self._connection.calls():
            for controller in self._controllers:
                controller.stop()
        if self._ids:
            doomed = [*self._ways, *self._ids]
            self._connection.batch([carla.command.DestroyActor(actor) for actor in doomed])
        self._ids, self._ways, self._controllers = [], {}, []

    def close(self) -> None:
        """Leave the TrafficManager, which otherwise keeps its port."""
        if self._manager is not None:
            self._manager.shut_down()
            self._manager = None
        self._stop_watch()

    def abandon(self) -> None:
        """Leave everything as it is, because the server is lost; see :func:`check_process`."""
        global _abandoned
        _abandoned |= self._manager is not None
        self._manager = None
        self._stop_watch()

    def _stop_watch(self) -> None:
        if self._connection.traffic_watch is not None:
            self._connection.traffic_watch.close()
            self._connection.traffic_watch = None


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
