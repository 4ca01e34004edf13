"""Where routes come from: drawn at random in a town, or read from the leaderboard's XML files."""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from robo.sim.carla.planner import plan, road_graph
from robo.sim.carla.routes import Route, RouteError

if TYPE_CHECKING:
    import carla

ATTEMPTS = 200
"""Destinations drawn before a random route is given up."""


@dataclass(frozen=True)
class RouteDescription:
    """A route as a file gives it: a few places to pass, before planning."""

    id: str
    town: str
    waypoints: np.ndarray
    """float64 ``[K, 3]``, m."""


def read_routes(path: str | Path) -> list[RouteDescription]:
    """Routes of a leaderboard XML file (both versions), plain or gzipped.

    Version 1 lists ``<waypoint x y z>`` in ``<route>``, version 2 ``<position x y z>`` in
    ``<route><waypoints>``; scenarios and weathers are not read.

    Raises:
        RouteError: no such file, not XML, no routes, or a route without two places.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        root = ElementTree.fromstring(content)
    except (OSError, EOFError, ElementTree.ParseError) as error:
        raise RouteError(
            f"cannot read routes from {path} ({error}): give a leaderboard route file, "
            "XML or gzipped XML"
        ) from error
    routes = [_description(element, path) for element in root.iter("route")]
    if not routes:
        raise RouteError(f"{path} holds no <route>: give a leaderboard route file")
    return routes


def _description(element: ElementTree.Element, path: Path) -> RouteDescription:
    name = element.get("id", "")
    places = element.findall("waypoints/position") or element.findall("waypoint")
    try:
        waypoints = np.array(
            [[float(place.get(axis, "0")) for axis in "xyz"] for place in places]
        ).reshape(-1, 3)
    except ValueError as error:
        raise RouteError(
            f"route {name} of {path} has a coordinate that is no number ({error}): mend the file"
        ) from error
    if len(waypoints) < 2:
        raise RouteError(
            f"route {name} of {path} has {len(waypoints)} waypoints, and a route needs two or "
            "more: mend the file"
        )
    return RouteDescription(name, element.get("town", ""), waypoints)


def _chain(legs: list[Route]) -> Route:
    return Route.from_samples(
        np.concatenate([leg.points for leg in legs]),
        np.concatenate([leg.lane_width for leg in legs]),
        np.concatenate([leg.in_junction for leg in legs]),
    )


def route_through(map: carla.Map, waypoints: np.ndarray) -> Route:
    """The route that passes ``waypoints [K, 3]`` in order.

    Places closer to each other than 1 m are one place.

    Raises:
        RouteError: a place is off the map (more than 6 m from any lane), or no way leads on.
    """
    graph = road_graph(map)
    places = [waypoints[0]]
    places += [b for a, b in itertools.pairwise(waypoints) if np.linalg.norm(b[:2] - a[:2]) >= 1.0]
    if len(places) < 2:
        raise RouteError(
            "all waypoints of the route lie within 1 m of each other: give places along the way"
        )
    return _chain([plan(graph, start, stop) for start, stop in itertools.pairwise(places)])


def random_route(
    map: carla.Map,
    generator: np.random.Generator,
    min_length: float = 200.0,
    max_length: float = 1000.0,
    start: np.ndarray | None = None,
) -> Route:
    """A route through random places of a town, cut at a random length.

    Args:
        map: The town.
        generator: Source of all randomness: the same state gives the same route.
        min_length: m.
        max_length: m; the length is uniform between the two.
        start: ``[3]``, m, where the route begins; None draws a place outside junctions.

    Raises:
        RouteError: the lengths are not 0 < min <= max, or the town has no way that long.
    """
    if not 2.0 <= min_length <= max_length:
        raise RouteError(
            f"route lengths of {min_length} to {max_length} m do not work: give "
            "2 <= min_length <= max_length"
        )
    graph = road_graph(map)
    lanes = sorted(
        key for key in graph.entry if not graph.samples(key).in_junction.any()
    )  # sorted: the parser's order is not part of the seed
    if not lanes:
        raise RouteError(f"{map.name} has no driving lane outside junctions: choose another map")
    target = generator.uniform(min_length, max_length)
    weight = np.array([graph.samples(key).length for key in lanes])
    legs: list[Route] = []
    length = 0.0

    def draw() -> np.ndarray:
        points = graph.samples(lanes[generator.choice(len(lanes), p=weight / weight.sum())]).points
        return points[generator.integers(len(points))]

    place = draw() if start is None else np.asarray(start, np.float64)
    for _ in range(ATTEMPTS):
        if length >= target:
            break
        following = draw()
        try:
            leg = plan(graph, place, following)
        except RouteError:
            # A dead end: begin again elsewhere, unless the caller chose the start.
            if not legs and start is None:
                place = draw()
            continue
        legs.append(leg)
        length += leg.length
        place = following
    if length < target:
        raise RouteError(
            f"found no route of {target:.0f} m in {map.name} in {ATTEMPTS} attempts; ask for a "
            "shorter one, or choose a town with longer connected roads"
        )
    return _chain(legs).cut(target)
