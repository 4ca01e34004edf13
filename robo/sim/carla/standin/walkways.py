"""Where people walk: beside the driving lanes of a map, on both sides of each road."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robo.sim.carla.standin.lanes import LaneGraph

SHORTEST = 16.0
"""Metres of road that a walkway has at least."""
BESIDE = 1.0
"""Metres beside the outermost lane where a road has neither sidewalk nor shoulder wide enough."""
NARROW = 1.0
"""Metres of width under which a lane is not walked on."""
LANES_ACROSS = 16


class Walkway(NamedTuple):
    """The two sides of a stretch of road, seen from one of its outermost driving lanes."""

    segment: int
    """Lane segment along which positions are measured."""
    right: float
    """Metres from the lane's centre to the right side's walkway."""
    left: float
    """The same across the whole road; negative."""


def find_walkways(carla_map: Any, graph: LaneGraph) -> tuple[Walkway, ...]:
    """Walkways of all roads outside junctions, in the order of the lane segments.

    Of the two directions of a road only one gives a walkway; each of its sides is walked in both
    directions.
    """
    found = []
    roads: set[tuple[int, int]] = set()
    for number, (road, section, lane) in enumerate(graph.keys):
        if graph.junction[number] >= 0 or graph.length[number] < SHORTEST:
            continue
        if (road, section) in roads:
            continue
        begin, end = graph.road_range(number)
        here = carla_map.get_waypoint_xodr(road, lane, (begin + end) / 2.0)
        if here is None:
            continue
        right = _side(here, here, outward=True)
        left = _side(here, here, outward=False)
        if right is not None and left is not None:
            roads.add((road, section))
            found.append(Walkway(number, right, left))
    return tuple(found)


def _side(here: Any, start: Any, outward: bool) -> float | None:
    """Offset (m, positive to the right of ``here``) of the walkway on one side of the road.

    None where another driving lane of the same direction lies on the outward side.
    """
    sign = here.lane_id > 0
    lane, edge = start, 0.5 * here.lane_width
    edge = edge if outward else -edge
    for _ in range(LANES_ACROSS):
        across = (lane.lane_id > 0) != sign
        lane = lane.get_right_lane() if outward or across else lane.get_left_lane()
        if lane is None:
            break
        offset, kind = _offset(here, lane), str(lane.lane_type)
        if kind == "Driving" and outward:
            return None
        if kind == "Sidewalk" and lane.lane_width >= NARROW:
            return offset
        half = 0.5 * lane.lane_width
        if kind not in ("Driving", "Parking", "Bidirectional", "Median", "NONE", "Biking"):
            if lane.lane_width >= NARROW and kind == "Shoulder":
                return offset
            continue
        edge = offset + half if outward else offset - half
    return edge + BESIDE if outward else edge - BESIDE


def _offset(here: Any, there: Any) -> float:
    """Metres that a lane's centre lies to the right of another's."""
    yaw = np.radians(here.transform.rotation.yaw)
    a, b = here.transform.location, there.transform.location
    return float((b.y - a.y) * np.cos(yaw) - (b.x - a.x) * np.sin(yaw))
