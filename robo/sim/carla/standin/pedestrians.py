"""The server's own pedestrians: they walk beside the road, and cross it now and then.

A pedestrian who wants to cross waits for a gap. A careful one needs the whole time of the crossing;
a bold one is content where an attentive driver can still stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from robo.sim.carla.standin.actors import DRIVE, Actor, ActorTable
from robo.sim.carla.standin.layouts import Transform6
from robo.sim.carla.standin.road_map import RoadMap

WALKING, WAITING, CROSSING = range(3)
SPEED = (1.0, 1.6)
"""Range of walking speeds, m/s."""
PAUSE = (8.0, 40.0)
"""Range of seconds between two crossings."""
WAIT = 15.0
"""Seconds of waiting for a gap after which a pedestrian walks on."""
END = 4.0
"""Metres before the end of a walkway at which pedestrians turn round."""
REACTION, BRAKING = 1.2, 3.0
"""Seconds and m/s^2 that a bold pedestrian expects of an attentive driver."""
SPARE = 1.5
"""Seconds that a careful pedestrian adds to a crossing."""
CLEAR = 4.0
"""Metres along the road that have to be free of vehicles."""
STEP, HASTE = 1.2, 0.5
"""Metres to the side of a vehicle, and seconds before its front, at which to let it pass."""
BOLD = 0.5
"""Share of bold pedestrians."""


class _Vehicles(NamedTuple):
    """All vehicles of a tick, [V] each."""

    x: np.ndarray
    """m."""
    y: np.ndarray
    """m."""
    cos: np.ndarray
    """Of the yaw."""
    sin: np.ndarray
    """Of the yaw."""
    front: np.ndarray
    """m from its middle to a little before its bumper."""
    ahead: np.ndarray
    """m ahead of its middle that it needs free."""
    side: np.ndarray
    """m to each side that it needs free."""


class Pedestrians:
    """Drives walkers by writing their direction and speed into the table.

    Attributes:
        ids: driven walkers, actor ids in order of their creation.
        phase: WALKING, WAITING (to cross) or CROSSING, int [W].
    """

    def __init__(self, table: ActorTable, road_map: RoadMap, seed: int) -> None:
        """No walker is driven yet."""
        self.table, self.road_map, self.seed = table, road_map, seed
        self.graph = road_map.lanes
        self.ids: list[int] = []
        self._random: list[np.random.Generator] = []
        self._way = np.zeros(0, np.int64)
        self._node = np.zeros(0, np.int64)
        self._onward = np.zeros(0)
        self._side = np.zeros(0)
        self._pace = np.zeros(0)
        self._timer = np.zeros(0)
        self._bold = np.zeros(0, bool)
        self.phase = np.zeros(0, np.int64)
        ways = road_map.walkways
        self._seen: _Vehicles | None = None
        self._segment = np.array([way.segment for way in ways], np.int64)
        self._right = np.array([way.right for way in ways])
        self._left = np.array([way.left for way in ways])
        self.index(())

    _COLUMNS = ("_way", "_node", "_onward", "_side", "_pace", "_timer", "_bold", "phase")

    def index(self, actors: Iterable[Actor]) -> None:
        """Take up which walkers to drive, and which vehicles they look out for."""
        actors = list(actors)
        driven = [a for a in actors if a.kind == "walker" and a.autopilot and a.simulated]
        if not len(self._segment):
            driven = []
        self.rows = np.array([a.row for a in driven], np.int64)
        self._vehicles = np.array([a.row for a in actors if a.kind == "vehicle"], np.int64)
        ids = [a.id for a in driven]
        if ids == self.ids:
            return
        known = {id: number for number, id in enumerate(self.ids)}
        self._select([known[id] for id in ids if id in known])
        for actor in driven:
            if actor.id not in known:
                self._append(actor)
        self._select([self.ids.index(id) for id in ids])

    def _select(self, kept: list[int]) -> None:
        self.ids = [self.ids[number] for number in kept]
        self._random = [self._random[number] for number in kept]
        for name in self._COLUMNS:
            setattr(self, name, getattr(self, name)[kept])

    def _append(self, actor: Actor) -> None:
        """Send a walker along the walkway nearest to it."""
        random = np.random.default_rng([self.seed, 4, actor.driver_seed])
        x, y = self.table.state[actor.row, :2].tolist()
        graph = self.graph
        nodes = np.flatnonzero(np.isin(graph.segment, self._segment))
        node = int(nodes[np.argmin((graph.x[nodes] - x) ** 2 + (graph.y[nodes] - y) ** 2)])
        way = int(np.flatnonzero(self._segment == graph.segment[node])[0])
        side = (y - graph.y[node]) * graph.cos[node] - (x - graph.x[node]) * graph.sin[node]
        nearer = abs(side - self._right[way]) <= abs(side - self._left[way])
        values = (
            way,
            node,
            1.0 if random.random() < 0.5 else -1.0,
            self._right[way] if nearer else self._left[way],
            random.uniform(*SPEED),
            random.uniform(*PAUSE),
            random.random() < BOLD,
            WALKING,
        )
        self.ids.append(actor.id)
        self._random.append(random)
        for name, value in zip(self._COLUMNS, values, strict=True):
            column = getattr(self, name)
            setattr(self, name, np.append(column, np.array([value], column.dtype)))

    def place(self, random: np.random.Generator) -> Transform6:
        """A pose (m, degrees) somewhere beside the road, on the ground.

        Args:
            random: draws the place.
        """
        way = int(random.integers(len(self._segment)))
        graph, segment = self.graph, int(self._segment[way])
        s = random.uniform(END, max(float(graph.length[segment]) - END, END))
        node = min(int(graph.first[segment] + round(s)), int(graph.last[segment]))
        side = self._right[way] if random.random() < 0.5 else self._left[way]
        x = float(graph.x[node] - graph.sin[node] * side)
        y = float(graph.y[node] + graph.cos[node] * side)
        return (x, y, float(graph.z[node]), 0.0, math.degrees(graph.yaw[node]), 0.0)

    def drive(self, dt: float) -> None:
        """Set direction and speed of all driven walkers for the next ``dt`` seconds."""
        if not len(self.rows):
            return
        graph = self.graph
        x, y = self.table.state[self.rows, :2].T
        self._seen = None
        along, side = self._follow(x, y)
        self._timer -= dt
        self._decide(x, y, along, side)
        cos, sin = graph.cos.take(self._node), graph.sin.take(self._node)
        off = self._side - side
        crossing = self.phase == CROSSING
        # Across the road straight, otherwise towards a point one metre on.
        forward = np.where(crossing, 0.0, self._onward)
        sideways = np.where(crossing, np.sign(off), np.minimum(np.maximum(off, -1.0), 1.0))
        dx, dy = forward * cos - sideways * sin, forward * sin + sideways * cos
        size = np.maximum(np.hypot(dx, dy), 1e-9)
        pace = np.where(self.phase == WAITING, 0.0, self._pace)
        for number in crossing.nonzero()[0].tolist():
            place, way = (
                (float(x[number]), float(y[number])),
                (float(dx[number]), float(dy[number])),
            )
            if self._is_blocked(*place, *way):
                pace[number] = 0.0
        self._write(dx / size, dy / size, pace)

    def _follow(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metres along the segment and to the right of it, [W] each."""
        graph = self.graph
        node, segment = self._node, self._segment[self._way]
        cos, sin = graph.cos.take(node), graph.sin.take(node)
        dx, dy = x - graph.x.take(node), y - graph.y.take(node)
        ahead = dx * cos + dy * sin
        moved = node + np.rint(ahead).astype(np.int64)
        first, last = graph.first.take(segment), graph.last.take(segment)
        self._node = np.minimum(np.maximum(moved, first), last)
        return graph.s.take(node) + ahead, dy * cos - dx * sin

    def _decide(self, x: np.ndarray, y: np.ndarray, along: np.ndarray, side: np.ndarray) -> None:
        length = self.graph.length.take(self._segment[self._way])
        self._onward = np.where(along < END, 1.0, self._onward)
        self._onward = np.where(along > length - END, -1.0, self._onward)
        arrived = (self.phase == CROSSING) & (np.abs(self._side - side) < 0.3)
        beside = np.abs(self._side - side) < 1.0
        due = (self.phase == WALKING) & (self._timer <= 0.0) & beside
        for number in due.nonzero()[0]:
            self.phase[number], self._timer[number] = WAITING, WAIT
        for number in (self.phase == WAITING).nonzero()[0]:
            right, left = self._right[self._way[number]], self._left[self._way[number]]
            other = left if abs(self._side[number] - right) < 0.01 else right
            if self._gap(int(number), float(x[number]), float(y[number]), float(other)):
                self.phase[number], self._side[number] = CROSSING, other
            elif self._timer[number] <= 0.0:
                self._walk_on(int(number))
        for number in arrived.nonzero()[0]:
            self._walk_on(int(number))

    def _walk_on(self, number: int) -> None:
        random = self._random[number]
        self.phase[number] = WALKING
        self._timer[number] = random.uniform(*PAUSE)
        self._onward[number] = 1.0 if random.random() < 0.5 else -1.0

    def _gap(self, number: int, x: float, y: float, other: float) -> bool:
        """Whether a pedestrian at x, y may cross to the side with the offset ``other``."""
        if not len(self._vehicles):
            return True
        node = self._node[number]
        cos, sin = self.graph.cos[node], self.graph.sin[node]
        state = self.table.state.take(self._vehicles, 0)
        half = self.table.drive.take(self._vehicles, 0)[:, DRIVE["extent_x"]]
        dx, dy = state[:, 0] - x, state[:, 1] - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        way = other - float(self._side[number])
        on_road = (across * np.sign(way) > -1.5) & (across * np.sign(way) < abs(way) + 1.5)
        speed = state[:, 6] * cos + state[:, 7] * sin
        approaching = along * speed < 0.0
        speed = np.abs(speed)
        free = np.abs(along) - half - 1.0
        if self._bold[number]:
            need = speed * REACTION + speed * speed / (2.0 * BRAKING)
        else:
            need = speed * (abs(way) / self._pace[number] + SPARE)
        unsafe = on_road & ((free < CLEAR) | (approaching & (free < need + 1.0)))
        return not bool(unsafe.any())

    def _is_blocked(self, x: float, y: float, dx: float, dy: float) -> bool:
        """Whether a vehicle passes right in front of a pedestrian that goes in direction dx, dy."""
        if not len(self._vehicles):
            return False
        if self._seen is None:
            self._seen = self._look()
        seen = self._seen
        away_x, away_y = seen.x - x, seen.y - y
        ahead = away_x * dx + away_y * dy
        along = -away_x * seen.cos - away_y * seen.sin
        across = np.abs(away_x * seen.sin - away_y * seen.cos)
        near = (ahead > 0.0) & (across < seen.side)
        near &= (along < seen.ahead) & (along > -seen.front)
        return bool(near.any())

    def _look(self) -> _Vehicles:
        """What all pedestrians who cross in this tick have to know of the vehicles."""
        state = self.table.state.take(self._vehicles, 0)
        drive = self.table.drive.take(self._vehicles, 0)
        yaw = state[:, 4] * (math.pi / 180.0)
        cos, sin = np.cos(yaw), np.sin(yaw)
        speed = state[:, 6] * cos + state[:, 7] * sin
        front = drive[:, DRIVE["extent_x"]] + 0.5
        return _Vehicles(
            x=state[:, 0],
            y=state[:, 1],
            cos=cos,
            sin=sin,
            front=front,
            ahead=front + np.maximum(speed, 0.0) * HASTE,
            side=drive[:, DRIVE["extent_y"]] + STEP,
        )

    def _write(self, dx: np.ndarray, dy: np.ndarray, pace: np.ndarray) -> None:
        rows = self.rows
        command = slice(DRIVE["direction_x"], DRIVE["walk"] + 1)
        walk = np.empty((len(rows), 3))
        walk[:, 0], walk[:, 1], walk[:, 2] = dx, dy, pace
        self.table.drive[rows, command] = walk
        records = self.table.records["walker"]
        records["direction"][rows, 0], records["direction"][rows, 1] = dx, dy
        records["speed"][rows] = pace
