"""Traffic lights and signs of a map: the lanes they are meant for and where they trigger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.sim.carla.standin.lanes import LaneGraph
from robo.sim.carla.standin.layouts import Transform6

LIGHT, STOP, YIELD, SPEED = "1000001", "206", "205", "274"
"""Types of signals in OpenDRIVE (country code Germany 2017)."""
REACH = 25.0
"""Metres before the end of a lane in which a signal holds for the junction that follows."""
BRAKING = 5.0
"""m/s^2 with which a car that enters a trigger volume at the limit still stops in it."""
SIGN_DEPTH = 4.0
"""Length (m) of the trigger volume of a sign."""
LIFT = 1.0
"""Height (m) of the middle of a trigger volume above the road, and half its own height."""


@dataclass(frozen=True)
class Signal:
    """One physical light or sign."""

    id: str
    """Its id in the OpenDRIVE file."""
    type: str
    """LIGHT, STOP, YIELD or SPEED."""
    value: float
    """Speed limit, km/h."""
    pose: Transform6
    """Where it stands. Its yaw is that of the lane plus 90 degrees: as in CARLA, the local x axis
    of the trigger volume lies across the road."""
    lanes: tuple[int, ...]
    """Segments of the lane graph on which vehicles have to obey it."""
    ways: tuple[int, ...]
    """Segments inside the junction that it lets through or not."""
    junction: int
    """Junction id, or -1."""
    nodes: tuple[int, ...]
    """Lane nodes in the trigger volume."""
    center: tuple[float, float, float]
    """Middle of the trigger volume in the frame of ``pose``, metres."""
    extent: tuple[float, float, float]
    """Half sizes of the trigger volume: across, along, up."""


def find_signals(carla_map: Any, graph: LaneGraph, kind: str) -> list[Signal]:
    """All signals of one type, one per physical light or sign, ordered by id.

    A signal repeated for several lanes or roads is one. Lights, stop and yield signs stand for
    the lanes that end at their junction, also where the file places them inside it. Signals
    without a driving lane are left out.
    """
    marks: dict[str, list[Any]] = {}
    for mark in carla_map.get_all_landmarks_of_type(kind):
        marks.setdefault(mark.id, []).append(mark)
    found = (_signal(graph, kind, id, marks[id]) for id in sorted(marks, key=_number))
    return [signal for signal in found if signal is not None]


def _number(id: str) -> tuple[int, str]:
    return (int(id), id) if id.isdigit() else (1 << 60, id)


def _signal(graph: LaneGraph, kind: str, id: str, marks: list[Any]) -> Signal | None:
    marks = sorted(marks, key=lambda mark: (mark.road_id, mark.s))
    nodes = sorted({node for mark in marks for node in graph.landmark_nodes(mark)})
    if kind == SPEED:
        lanes = sorted({int(graph.segment[node]) for node in nodes})
        stops, ways = nodes, []
    else:
        lanes, ways = _approaches(graph, nodes)
        stops = [int(graph.last[lane]) for lane in lanes]
    if not stops:
        return None
    depth = _depth(graph, stops) if kind == LIGHT else SIGN_DEPTH
    covered = _covered(graph, kind, lanes, stops, depth)
    place = marks[0].transform.location
    base = stops[0]
    yaw = (math.degrees(graph.yaw[base]) + 90.0 + 180.0) % 360.0 - 180.0
    pose = (place.x, place.y, place.z, 0.0, yaw, 0.0)
    center, extent = _volume(graph, pose, stops, depth, kind)
    junction = int(graph.junction[ways[0]]) if ways else -1
    return Signal(
        id=id,
        type=kind,
        value=float(marks[0].value),
        pose=pose,
        lanes=tuple(lanes),
        ways=tuple(ways),
        junction=junction,
        nodes=tuple(covered),
        center=center,
        extent=extent,
    )


def _approaches(graph: LaneGraph, nodes: list[int]) -> tuple[list[int], list[int]]:
    """Lanes that end at the junction of a signal, and the ways that it governs."""
    lanes: set[int] = set()
    for node in nodes:
        segment = int(graph.segment[node])
        if graph.junction[segment] >= 0:
            lanes |= {p for p in graph.predecessors[segment] if graph.junction[p] < 0}
            continue
        left = graph.length[segment] - graph.s[node]
        while left < REACH:
            following = graph.successors[segment]
            if any(graph.junction[f] >= 0 for f in following):
                lanes.add(segment)
                break
            if len(following) != 1:
                break
            segment = following[0]
            left += graph.length[segment]
    ways = {f for lane in lanes for f in graph.successors[lane] if graph.junction[f] >= 0}
    return sorted(lanes), sorted(ways)


def _depth(graph: LaneGraph, stops: list[int]) -> float:
    """Length of a light's trigger volume: enough to stop in from the speed limit, metres."""
    speed = max(float(graph.limit[stop]) for stop in stops) / 3.6
    return min(max(speed * speed / (2.0 * BRAKING) + 3.0, 6.0), 25.0)


def _covered(
    graph: LaneGraph, kind: str, lanes: list[int], stops: list[int], depth: float
) -> list[int]:
    if kind != SPEED:
        return sorted({node for lane in lanes for node in graph.upstream(lane, depth)})
    ends = [(stop, min(stop + int(depth), int(graph.last[graph.segment[stop]]))) for stop in stops]
    return sorted({node for begin, end in ends for node in range(begin, end + 1)})


def _volume(
    graph: LaneGraph, pose: Transform6, stops: list[int], depth: float, kind: str
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Middle (in the frame of the signal) and half sizes of a trigger volume."""
    yaw = math.radians(pose[4])
    across, along = (math.cos(yaw), math.sin(yaw)), (math.sin(yaw), -math.cos(yaw))
    x, y, z = graph.x[stops], graph.y[stops], graph.z[stops]
    half = graph.width[graph.segment[stops]] / 2.0
    side = (x - pose[0]) * across[0] + (y - pose[1]) * across[1]
    ahead = (x - pose[0]) * along[0] + (y - pose[1]) * along[1]
    low, high = float((side - half).min()), float((side + half).max())
    end = float(np.mean(ahead)) + (depth if kind == SPEED else 0.0)
    # Local y points against the lane, since local x is the lane's direction turned by +90 degrees.
    center = ((low + high) / 2.0, -(end - depth / 2.0), float(z.mean()) - pose[2] + LIFT)
    return center, ((high - low) / 2.0, depth / 2.0, LIFT)
