"""The driving lanes of a map as arrays: a node about every metre, and which lane follows which.

A *segment* is one lane of one lane section of one road, in its direction of travel. Nodes of a
segment are consecutive, so that a position along a lane is an index. Angles are radians here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numba  # type: ignore[import-not-found]
import numpy as np
from scipy.spatial import KDTree

from robo.sim.carla.standin.layouts import Transform6

SPACING = 1.0
"""Metres between nodes."""
CELL = 2.0
"""Side (m) of the cells in which the nearest node is looked up."""
ISOLATED = 5.0
"""Metres of road within which a lane that no other follows is found."""
HEADINGS = 8
"""Directions of travel that the look-up tells apart."""
MARGIN = 20.0
DEFAULT_LIMIT = 30.0
"""Speed limit (km/h) where no sign says otherwise."""

Key = tuple[int, int, int]
"""Road, lane section, lane."""


class LaneGraph:
    """Nodes and segments of a map's driving lanes.

    Attributes:
        keys: (road, section, lane) of each segment, [S].
        first, count: a segment's first node and how many it has, int [S].
        x, y, z: node positions in metres, CARLA's left-handed frame, [M].
        yaw, pitch: direction of travel, radians, [M].
        cos, sin: of the yaw, [M].
        s: metres from the segment's beginning, [M].
        segment: the node's segment, int [M].
        limit: speed limit at the node, km/h, [M].
        segment_end: last node of the node's segment, int [M].
        length, width: metres, [S].
        junction: junction id of a segment, or -1 outside junctions, int [S].
        successors, predecessors: segments that follow or lead to each segment.
        flat: whether every node has the same height.
    """

    def __init__(self, carla_map: Any) -> None:
        """Read the lanes of a ``carla.Map``."""
        starts, links = _topology(carla_map)
        self.keys: list[Key] = list(starts)
        self.index = {key: number for number, key in enumerate(self.keys)}
        self.successors: list[list[int]] = [[] for _ in self.keys]
        self.predecessors: list[list[int]] = [[] for _ in self.keys]
        for before, after in links:
            a, b = self.index[before], self.index[after]
            if b not in self.successors[a]:
                self.successors[a].append(b)
                self.predecessors[b].append(a)
        self._read_nodes(carla_map, list(starts.values()))
        self.limit = np.full(len(self.x), DEFAULT_LIMIT)
        self._set_limits(carla_map)
        self._build_grid()

    def _read_nodes(self, carla_map: Any, starts: list[Any]) -> None:
        rows, first, count = [], [], []
        self._ranges: list[tuple[float, float]] = []
        for start, successors in zip(starts, self.successors, strict=True):
            first.append(len(rows))
            if successors:
                waypoints = [start, *start.next_until_lane_end(SPACING)]
            else:
                waypoints = _walk(carla_map, start, SPACING)
            for waypoint in waypoints:
                pose = waypoint.transform
                place, turn = pose.location, pose.rotation
                rows.append((place.x, place.y, place.z, turn.yaw, turn.pitch))
            count.append(len(waypoints))
            self._ranges.append((waypoints[0].s, waypoints[-1].s))
        nodes = np.array(rows, float).reshape(-1, 5)
        self.x, self.y, self.z = (np.ascontiguousarray(nodes[:, k]) for k in range(3))
        self.yaw, self.pitch = np.radians(nodes[:, 3]), np.radians(nodes[:, 4])
        self.pitch = (self.pitch + math.pi) % (2 * math.pi) - math.pi
        self.cos, self.sin, self.slope = np.cos(self.yaw), np.sin(self.yaw), np.tan(self.pitch)
        self.first, self.count = np.array(first, int), np.array(count, int)
        self.last = self.first + self.count - 1
        self.segment = np.repeat(np.arange(len(starts)), self.count)
        step = np.hypot(np.diff(self.x, prepend=self.x[0]), np.diff(self.y, prepend=self.y[0]))
        along = np.cumsum(step)
        self.s = along - along[self.first][self.segment]
        self.length = self.s[self.last]
        self.width = np.array([start.lane_width for start in starts])
        self.junction = np.array(
            [start.junction_id if start.is_junction else -1 for start in starts], int
        )
        self.inside = (self.junction >= 0)[self.segment]
        self.flat = bool(np.ptp(self.z) < 0.01)
        self.height = float(self.z[0])

    def _set_limits(self, carla_map: Any) -> None:
        """Carry the limit of each sign (type 274) along its lane and those that follow.

        Where two signs lead to one place, the one with the shorter way wins.
        """
        best = np.full(len(self.x), np.inf)
        signs = sorted(
            (node, float(mark.value))
            for mark in carla_map.get_all_landmarks_of_type("274")
            for node in self.landmark_nodes(mark)
            if mark.value > 0
        )
        for node, limit in signs:
            queue = [(node, 0.0)]
            while queue:
                begin, travelled = queue.pop(0)
                number = self.segment[begin]
                nodes = slice(begin, self.last[number] + 1)
                way = travelled + self.s[nodes] - self.s[begin]
                if best[begin] <= way[0]:
                    continue
                nearer = way < best[nodes]
                self.limit[nodes][nearer] = limit
                best[nodes][nearer] = way[nearer]
                if nearer[-1]:
                    queue += [(self.first[n], way[-1] + SPACING) for n in self.successors[number]]

    def landmark_nodes(self, mark: Any) -> list[int]:
        """Nodes at which a signal begins to hold, one for each driving lane it is meant for.

        The lanes come from the signal's validity, and where that says nothing from the side of
        the road that its orientation names.
        """
        ranges = [r for r in mark.get_lane_validities() if tuple(r) != (0, 0)]
        found = []
        for number, (road, _, lane) in enumerate(self.keys):
            if road != mark.road_id:
                continue
            if ranges:
                meant = any(min(r) <= lane <= max(r) for r in ranges)
            else:
                meant = int(mark.orientation) == 2 or (lane > 0) == (int(mark.orientation) == 1)
            begin, end = self.road_range(number)
            if meant and min(begin, end) - 0.5 <= mark.s <= max(begin, end) + 0.5:
                share = 0.0 if begin == end else (mark.s - begin) / (end - begin)
                step = round(min(max(share, 0.0), 1.0) * (self.count[number] - 1))
                found.append(int(self.first[number] + step))
        return found

    def road_range(self, segment: int) -> tuple[float, float]:
        """OpenDRIVE's s (m along the road) where a segment begins and ends, in travel direction."""
        return self._ranges[segment]

    def _build_grid(self) -> None:
        self.origin = np.array([self.x.min() - MARGIN, self.y.min() - MARGIN])
        size = np.array([self.x.max() + MARGIN, self.y.max() + MARGIN]) - self.origin
        self.cells = np.ceil(size / CELL).astype(int)
        centers = np.stack(
            np.meshgrid(*((np.arange(n) + 0.5) * CELL for n in self.cells), indexing="ij"), -1
        ).reshape(-1, 2)
        centers += self.origin
        places = np.stack([self.x, self.y], 1)
        everywhere = KDTree(places).query(centers)[1]
        grid = np.empty((HEADINGS, len(centers)), np.int32)
        for direction in range(HEADINGS):
            off = self.yaw - direction * 2 * math.pi / HEADINGS
            chosen = np.flatnonzero(np.cos(off) > 0.5)
            grid[direction] = everywhere
            if len(chosen):
                away, nearest = KDTree(places[chosen]).query(centers, distance_upper_bound=MARGIN)
                near = np.isfinite(away)
                grid[direction, near] = chosen[np.asarray(nearest)[near]]
        self.grid = grid.ravel()
        self._frames = np.stack((self.x, self.y, self.cos, self.sin), 1)
        ends = np.stack((self.first, self.last), 1)
        self._ends = ends[self.segment]
        self.segment_end = self.last[self.segment]

    def nearest(self, x: np.ndarray, y: np.ndarray, yaw: np.ndarray) -> np.ndarray:
        """Nearest nodes, int [N], that lead within 60 degrees of the heading.

        Args:
            x: metres, [N].
            y: metres, [N].
            yaw: radians, [N].

        Where no such lane lies within 20 m, the nearest node of any direction. The look-up is by
        cells of 2 m and then exact along the lane, so that of two lanes side by side the wrong
        one may be found within a metre of the line between them.
        """
        tables = self.origin, self.cells, self.grid, self._frames, self._ends
        return _nearest(x, y, yaw, *tables)

    def surface(self, node: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the road (m, [N]) at positions beside nodes, along the lane's slope."""
        along = (x - self.x.take(node)) * self.cos.take(node)
        along += (y - self.y.take(node)) * self.sin.take(node)
        return self.z.take(node) + np.minimum(np.maximum(along, -2.0), 2.0) * self.slope.take(node)

    def distance(self, node: int, x: float, y: float) -> float:
        """Metres from a node to a point, in the plane."""
        return math.hypot(self.x[node] - x, self.y[node] - y)

    def upstream(self, segment: int, metres: float) -> list[int]:
        """Nodes of the last ``metres`` before the end of a segment, the farthest first.

        Continues into predecessors outside junctions while each has only one.
        """
        nodes: list[int] = []
        left = metres
        while True:
            own = np.arange(self.first[segment], self.last[segment] + 1)
            near = own[self.length[segment] - self.s[own] <= left]
            nodes[:0] = near.tolist()
            left -= float(self.length[segment]) + SPACING
            before = self.predecessors[segment]
            if left <= 0 or len(before) != 1 or self.junction[before[0]] >= 0:
                return nodes
            segment = before[0]

    def spawn_points(self) -> list[Transform6]:
        """Poses every 15 m on driving lanes outside junctions, 0.3 m above the road."""
        points: list[Transform6] = []
        for number in range(len(self.keys)):
            length = float(self.length[number])
            if self.junction[number] >= 0 or length < 12.0:
                continue
            amount = max(1, int((length - 12.0) // 15.0) + 1)
            for s in np.linspace(6.0, length - 6.0, amount) if amount > 1 else [length / 2]:
                begin = self.first[number]
                node = begin + int(np.searchsorted(self.s[begin : self.last[number] + 1], s))
                points.append(self.pose(min(node, int(self.last[number])), 0.3))
        return points

    def pose(self, node: int, above: float = 0.0) -> Transform6:
        """Pose on a node: metres and degrees."""
        return (
            float(self.x[node]),
            float(self.y[node]),
            float(self.z[node]) + above,
            math.degrees(self.pitch[node]),
            math.degrees(self.yaw[node]),
            0.0,
        )


@numba.njit(
    "int64[::1](float64[:], float64[:], float64[:], float64[::1], int64[::1], int32[::1],"
    " float64[:, ::1], int64[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _nearest(
    x: np.ndarray,
    y: np.ndarray,
    yaw: np.ndarray,
    origin: np.ndarray,
    cells: np.ndarray,
    grid: np.ndarray,
    frames: np.ndarray,
    ends: np.ndarray,
) -> np.ndarray:
    """See :meth:`LaneGraph.nearest`; compiled, as it is asked for few vehicles in every tick."""
    found = np.empty(len(x), np.int64)
    for i in range(len(x)):
        column = int(min(max((x[i] - origin[0]) / CELL, 0.0), cells[0] - 1.0))
        row = int(min(max((y[i] - origin[1]) / CELL, 0.0), cells[1] - 1.0))
        turn = int(np.rint(yaw[i] * (HEADINGS / (2 * math.pi)))) & (HEADINGS - 1)
        node = np.int64(grid[(turn * cells[0] + column) * cells[1] + row])
        along = (x[i] - frames[node, 0]) * frames[node, 2]
        along += (y[i] - frames[node, 1]) * frames[node, 3]
        found[i] = min(max(node + int(np.rint(along)), ends[node, 0]), ends[node, 1])
    return found


def _topology(carla_map: Any) -> tuple[dict[Key, Any], Iterable[tuple[Key, Key]]]:
    """First waypoint of every driving lane, in a fixed order, and which lane follows which.

    The client's topology leaves out lanes that lead nowhere; they are added.
    """
    pairs = carla_map.get_topology()
    found = {_key(waypoint): waypoint for pair in pairs for waypoint in reversed(pair)}
    for waypoint in carla_map.generate_waypoints(ISOLATED):
        if _key(waypoint) not in found:
            found[_key(waypoint)] = _walk(carla_map, waypoint, -SPACING)[-1]
    starts = {key: found[key] for key in sorted(found)}
    links = {(_key(a), _key(b)) for a, b in pairs}
    return starts, sorted((a, b) for a, b in links if a != b)


def _walk(carla_map: Any, begin: Any, step: float) -> list[Any]:
    """Waypoints along a lane from one of it, in (or, for a negative step, against) its direction.

    The client's own functions crash the process where a lane leads nowhere.
    """
    found, key = [begin], _key(begin)
    along = step if begin.lane_id < 0 else -step
    while True:
        place = begin.s + along * len(found)
        following = carla_map.get_waypoint_xodr(begin.road_id, begin.lane_id, place)
        if place < 0.0 or following is None or _key(following) != key:
            return found
        found.append(following)


def _key(waypoint: Any) -> Key:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id
