"""The shortest way through a map: A* over the lanes of ``carla.Map.get_topology()``."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robo.sim.carla.map_cache import MapCache
from robo.sim.carla.road_graph import LaneKey, LaneSamples, Neighbour, RoadGraph
from robo.sim.carla.routes import SPACING, Route, RouteError

if TYPE_CHECKING:
    import carla

LANE_CHANGE_COST = 15.0
"""m that a lane change counts as, so that it is only made where it saves more."""
LANE_CHANGE_LENGTH = 25.0
"""m over which a planned lane change is spread, or what the lane leaves."""


@dataclass(frozen=True)
class _Visit:
    """A lane on the way; ``first`` while still on the road section of the start."""

    key: LaneKey
    first: bool


class _Search:
    """One A* search from a place on a lane to another; lane samples share their index."""

    def __init__(
        self, graph: RoadGraph, start: tuple[LaneKey, int], goal: tuple[LaneKey, int]
    ) -> None:
        self.graph = graph
        self.start = start
        self.goal = goal
        self.goal_point = graph.samples(goal[0]).points[goal[1]]

    def position(self, visit: _Visit) -> int:
        """Index of the sample at which a lane is entered."""
        last = len(self.graph.samples(visit.key).points) - 1
        return min(self.start[1], last) if visit.first else 0

    def to_go(self, visit: _Visit) -> float:
        """Straight distance to the goal, m: never more than the way."""
        point = self.graph.samples(visit.key).points[self.position(visit)]
        return float(np.linalg.norm(point - self.goal_point))

    def edges(self, visit: _Visit) -> list[tuple[_Visit, float]]:
        """What follows a lane, and its price in m."""
        samples = self.graph.samples(visit.key)
        at = self.position(visit)
        ahead = samples.length - at * SPACING
        following = self.graph.successors.get(visit.key, ())
        return [(_Visit(key, False), ahead) for key in following] + [
            (_Visit(neighbour.key, visit.first), LANE_CHANGE_COST)
            for neighbour in samples.neighbours
            if neighbour.allowed[at:].any()
        ]

    def run(self) -> list[LaneKey] | None:
        """Lanes of the cheapest way, or None; neighbours in it are successors or beside."""
        origin = _Visit(self.start[0], True)
        cost = {origin: 0.0}
        parent: dict[_Visit, _Visit] = {}
        order = itertools.count()  # breaks ties, so that equal costs give one and the same way
        heap = [(self.to_go(origin), next(order), origin)]
        closed = set()
        while heap:
            visit = heapq.heappop(heap)[2]
            if visit.key == self.goal[0] and self.goal[1] >= self.position(visit):
                way = [visit]
                while way[-1] in parent:
                    way.append(parent[way[-1]])
                return [each.key for each in reversed(way)]
            if visit in closed:
                continue
            closed.add(visit)
            for following, price in self.edges(visit):
                total = cost[visit] + price
                if total < cost.get(following, np.inf):
                    cost[following] = total
                    parent[following] = visit
                    entry = (total + self.to_go(following), next(order), following)
                    heapq.heappush(heap, entry)
        return None


def _glide(
    line: np.ndarray, own: LaneSamples, beside: Neighbour, begin: int, end: int
) -> tuple[np.ndarray, int]:
    """``line`` moved over into the lane beside, between samples ``begin`` and ``end``.

    Returns:
        The new line and the index at which it has arrived.
    """
    allowed = np.flatnonzero(beside.allowed[begin:])
    begin += int(allowed[0]) if len(allowed) else 0
    span = max(1, min(round(LANE_CHANGE_LENGTH / SPACING), end - begin))
    share = np.clip((np.arange(len(line)) - begin) / span, 0.0, 1.0)
    share = share * share * (3 - 2 * share)
    count = min(len(line), len(own.points))
    shift = (beside.points - own.points)[:count]
    return line[:count] + share[:count, None] * shift, begin + span


def _run_line(graph: RoadGraph, run: list[LaneKey], begin: int, end: int | None) -> np.ndarray:
    """Points along lanes beside each other, gliding from the first of ``run`` to the last."""
    line = graph.samples(run[0]).points
    stop = len(line) - 1 if end is None else min(end, len(line) - 1)
    at = begin
    for step, (key, following) in enumerate(itertools.pairwise(run)):
        own = graph.samples(key)
        beside = next(n for n in own.neighbours if n.key == following)
        # The changes still to be made share what is left of the lane.
        share = at + (stop - at) // (len(run) - 1 - step)
        line, at = _glide(line, own, beside, at, share)
    return line[begin : stop + 1]


def _join(graph: RoadGraph, way: list[LaneKey], begin: int, end: int) -> Route:
    """The route along ``way``, from sample ``begin`` of its first lane to ``end`` of its last."""
    runs = [[way[0]]]
    for previous, key in itertools.pairwise(way):
        if key in graph.successors.get(previous, ()):
            runs.append([key])
        else:
            runs[-1].append(key)
    points, widths, junctions = [], [], []
    for index, run in enumerate(runs):
        first = begin if index == 0 else 0
        line = _run_line(graph, run, first, end if index == len(runs) - 1 else None)
        samples = graph.samples(run[0])
        points.append(line)
        widths.append(samples.width[first : first + len(line)])
        junctions.append(samples.in_junction[first : first + len(line)])
    return Route.from_samples(
        np.concatenate(points), np.concatenate(widths), np.concatenate(junctions)
    )


road_graph = MapCache(RoadGraph)
"""``road_graph(map)``: the graph of a town, made once per process."""


def plan(map: carla.Map | RoadGraph, start: np.ndarray, destination: np.ndarray) -> Route:
    """The shortest route, in the direction of traffic, from one place to another.

    Lanes are changed where the marking allows it; a change counts as 15 m. A destination behind
    the start on its own lane is reached around the block.

    Args:
        map: The town, or its graph.
        start: ``[3]``, m; the nearest driving lane is taken.
        destination: ``[3]``, m; likewise.

    Raises:
        RouteError: a place is more than 6 m from any lane, or no way leads there.
    """
    graph = map if isinstance(map, RoadGraph) else road_graph(map)
    begin, end = graph.locate(start), graph.locate(destination)
    way = _Search(graph, begin, end).run()
    if way is None:
        raise RouteError(
            f"no way leads from ({start[0]:.1f}, {start[1]:.1f}) to "
            f"({destination[0]:.1f}, {destination[1]:.1f}) in {graph.map.name} along the "
            "direction of traffic; choose places on connected lanes"
        )
    return _join(graph, way, begin[1], end[1])
