"""The server's own traffic: vehicles that follow lanes, keep their distance and obey the rules.

Speed follows the intelligent driver model (Treiber, Hennecke and Helbing 2000, eq. 2-3), steering
pure pursuit of the lane's centre. What a vehicle sees ahead are the boxes of all actors on its
path. Who enters a junction is settled by :mod:`right_of_way`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from robo.sim.carla.standin import dynamics
from robo.sim.carla.standin.actors import DRIVE, Actor, ActorTable
from robo.sim.carla.standin.car_following import (
    ACCELERATION,
    DECELERATION,
    SIGHT,
    STANDSTILL,
    follow,
    gaps,
)
from robo.sim.carla.standin.collisions import boxes
from robo.sim.carla.standin.paths import CURVE_POINTS, CURVE_STEP, Paths
from robo.sim.carla.standin.right_of_way import FORCE, INSIST, SQUEEZE, RightOfWay
from robo.sim.carla.standin.road_map import RoadMap

BEHIND = 6.0
"""Metres behind the middle of a vehicle from which on others do not matter to it."""
SIDE_MARGIN = 0.25
"""Metres to keep to the sides."""
FORESIGHT = 0.6
"""Seconds for which a walker is imagined to go on."""
STOP_SHORT = 1.5
"""Metres before a junction at which to stop."""
FASTEST = 21.0
"""m/s that traffic does not exceed whatever the limit: what it can brake from within its sight."""
FIRM = 4.0
"""Braking at most for curves and limits, m/s^2."""
LOST = 36.0
"""Squared metres from its path at which a vehicle looks for a new one."""
GIVE_UP = 120.0
"""Seconds without moving after which a vehicle is moved to another place."""
UNUSED = 4.0
"""Seconds of standing after which a reserved way not yet entered is given back."""
SPREAD = 0.15
"""Vehicles drive at the speed limit up to this share below or above."""
CURVE_SPEEDS = 2.0 * DECELERATION * CURVE_STEP * np.arange(CURVE_POINTS)
"""Squared speed (m^2/s^2) that braking takes off before each point ahead."""


class Traffic:
    """Drives vehicles by writing their pedals and steer into the table.

    Attributes:
        ids: driven vehicles, actor ids in order of their creation.
        wait: seconds for which each has stood still for no red light, [A].
    """

    def __init__(self, table: ActorTable, road_map: RoadMap, seed: int) -> None:
        """No vehicle is driven yet."""
        self.table, self.road_map, self.seed = table, road_map, seed
        self.graph = road_map.lanes
        self.curve = road_map.curve_speed
        self.ids: list[int] = []
        self.paths = Paths(self.graph)
        self.right_of_way = RightOfWay(road_map)
        self._held: list[int] = []
        self._factor = np.zeros(0)
        self.wait = np.zeros(0)
        self._has_stopped: list[bool] = []
        self._random: dict[int, np.random.Generator] = {}
        self.index(())

    def index(self, actors: Iterable[Actor]) -> None:
        """Take up which vehicles to drive, and what is in their way."""
        actors = list(actors)
        driven = [a for a in actors if a.kind == "vehicle" and a.autopilot and a.simulated]
        ids = [a.id for a in driven]
        known = {id: number for number, id in enumerate(self.ids)}
        for id in known.keys() - set(ids):
            self._release(known[id])
            del self._random[id]
        self._select([known[id] for id in ids if id in known])
        self._rows_of(driven, actors)
        for actor in driven:
            if actor.id not in known:
                self._append(actor)
        order = [self.ids.index(id) for id in ids]
        if order != list(range(len(order))):
            self._select(order)
        self._measure()

    def _rows_of(self, driven: list[Actor], actors: list[Actor]) -> None:
        solid = [a for a in actors if a.kind in ("vehicle", "walker", "prop") and not a.parent]
        self.rows = np.array([a.row for a in driven], np.int64)
        self.solid = np.array([a.row for a in solid], np.int64)
        self._walker = np.array([a.kind == "walker" for a in solid], bool)
        vehicles = [a for a in solid if a.kind == "vehicle"]
        own = {a.id for a in driven}
        self._vehicles = np.array([a.row for a in vehicles], np.int64)
        self._strangers = np.array([a.row for a in vehicles if a.id not in own], np.int64)

    def _measure(self) -> None:
        drive = self.table.drive[self.rows]
        self._front = drive[:, DRIVE["extent_x"]] + drive[:, DRIVE["center_x"]]
        self._front_nodes = np.rint(self._front).astype(np.int64)
        self._half = drive[:, DRIVE["extent_y"]] + SIDE_MARGIN
        self._not_self = self.rows[:, None] != self.solid
        radius = self.table.drive[self.solid, DRIVE["radius"]]
        self._reach = (SIGHT + self._front[:, None] + radius) ** 2
        self._stop = np.full(len(self.rows), np.inf)
        self._at_red = np.zeros(len(self.rows), bool)
        self._stranger = np.isin(self._vehicles, self._strangers)
        number = {int(row): number for number, row in enumerate(self.rows)}
        self._number = {
            place: number[int(row)]
            for place, row in enumerate(self._vehicles)
            if int(row) in number
        }

    def random_of(self, id: int) -> np.random.Generator:
        """What decides for the driven vehicle ``id``."""
        return self._random[id]

    def _select(self, kept: list[int]) -> None:
        self.paths.keep(kept)
        self.ids = [self.ids[number] for number in kept]
        self._held = [self._held[number] for number in kept]
        self._has_stopped = [self._has_stopped[number] for number in kept]
        self._factor, self.wait = self._factor[kept], self.wait[kept]

    def _append(self, actor: Actor) -> None:
        random = np.random.default_rng([self.seed, 2, actor.driver_seed])
        self._random[actor.id] = random
        self.ids.append(actor.id)
        self._held.append(0)
        self._has_stopped.append(False)
        self._factor = np.append(self._factor, random.uniform(1.0 - SPREAD, 1.0 + SPREAD))
        self.wait = np.append(self.wait, 0.0)
        self.paths.append(random)
        self._begin(len(self.ids) - 1, actor.row)

    def _begin(self, number: int, row: int) -> None:
        """Find a path from where the vehicle is."""
        self._release(number)
        x, y, yaw = (self.table.state[row, [c]] for c in (0, 1, 4))
        node = int(self.graph.nearest(x, y, np.radians(yaw))[0])
        self.paths.begin(number, node)
        if self.paths.ways[number] and self.paths.ways[number][0][0] == 0:
            self._hold(number)

    def _hold(self, number: int) -> None:
        """Reserve the next way that is not yet reserved."""
        way = self.paths.ways[number][self._held[number]][2]
        self.right_of_way.take(way, self.ids[number])
        self._held[number] += 1

    def _release(self, number: int, kept: int = 0) -> None:
        """Give back reserved ways but for the first ``kept``."""
        for _, _, way in self.paths.ways[number][kept : self._held[number]]:
            self.right_of_way.give_back(way, self.ids[number])
        self._held[number] = min(self._held[number], kept)

    def drive(self, dt: float, color: np.ndarray, relocate: Callable[[int], bool]) -> None:
        """Set pedals and steer of all driven vehicles for the next ``dt`` seconds.

        Args:
            dt: seconds.
            color: states of the lights, int [L].
            relocate: moves a vehicle (actor id) to a free place, and says whether it could.
        """
        if not len(self.rows):
            return
        state = self.table.state.take(self.rows, 0).T
        drive = self.table.drive.take(self.rows, 0).T
        away = self.paths.advance(state[0], state[1])
        for number in (away > LOST).nonzero()[0]:
            self._begin(int(number), int(self.rows[number]))
        speed = np.maximum(drive[6], 0.0)
        self._pass_junctions(speed, color)
        wanted = self._free(speed)
        gap = self._stop + STANDSTILL
        wanted = np.minimum(wanted, follow(speed, np.zeros_like(speed), gap))
        self._keep_distance(state, speed, wanted)
        throttle, brake = dynamics.pedals(wanted, drive)
        resting = (speed < 0.1) & (wanted <= 0.0)
        brake = np.where(resting, np.maximum(brake, 0.5), brake)
        self._write(throttle, self._steer(state, drive, speed), brake)
        self._lose_patience(dt, speed, relocate)

    def _free(self, speed: np.ndarray) -> np.ndarray:
        """Acceleration on a free road: the limit, and the curves ahead."""
        paths, graph = self.paths, self.graph
        rows = np.arange(len(paths.at))[:, None]
        columns = paths.at[:, None] + CURVE_STEP * np.arange(CURVE_POINTS)
        nodes = paths.nodes[rows, columns]
        curve = self.curve.take(nodes)
        allowed = np.sqrt((curve * curve + CURVE_SPEEDS).min(1))
        limit = graph.limit.take(nodes[:, 0]) / 3.6 * self._factor
        desired = np.minimum(np.minimum(limit, FASTEST), allowed)
        free = ACCELERATION * (1.0 - (speed / desired) ** 4)
        slower = np.maximum(2.0 * (desired - speed), -FIRM)
        return np.where(speed > desired, slower, free)

    def _keep_distance(self, state: np.ndarray, speed: np.ndarray, wanted: np.ndarray) -> None:
        """Lower the accelerations to keep a distance from everything on the path."""
        others = self.table.state.take(self.solid, 0)
        dx = others[:, 0] - state[0][:, None]
        dy = others[:, 1] - state[1][:, None]
        yaw = state[4] * (math.pi / 180.0)
        cos, sin = np.cos(yaw), np.sin(yaw)
        near = dx * dx + dy * dy < self._reach
        near &= dx * cos[:, None] + dy * sin[:, None] > -BEHIND
        near &= self._not_self
        who, whom = np.nonzero(near)
        if not len(who):
            return
        shapes = boxes(others, self.table.drive.take(self.solid, 0))
        stretch = np.hypot(others[:, 6], others[:, 7]) * (FORESIGHT * 0.5) * self._walker
        shapes[0] += shapes[2] * stretch
        shapes[1] += shapes[3] * stretch
        shapes[4] += stretch
        first = self.paths.at[who] + self._front_nodes[who]
        nodes = self.paths.nodes[who[:, None], first[:, None] + np.arange(SIGHT)]
        gap, along, pair = gaps(self.graph, nodes, self._half[who], shapes[:, whom])
        if not len(pair):
            return
        who, whom = who[pair], whom[pair]
        lead = others[whom, 6] * along[0] + others[whom, 7] * along[1]
        gap = gap - (self.paths.rest + self._front - self._front_nodes)[who]
        held = follow(speed[who], np.maximum(lead, 0.0), gap)
        np.minimum.at(wanted, who, held)

    def _steer(self, state: np.ndarray, drive: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """Steer (-1 to 1) by pure pursuit of a point on the path, seen from the rear axle."""
        paths, graph = self.paths, self.graph
        ahead = np.minimum(np.maximum(0.5 * speed + 2.5, 3.0), 12.0)
        columns = paths.at + np.rint(ahead).astype(np.int64)
        node = paths.nodes[np.arange(len(columns)), columns]
        yaw = state[4] * (math.pi / 180.0)
        cos, sin = np.cos(yaw), np.sin(yaw)
        rear = drive[DRIVE["rear"]]
        dx = graph.x.take(node) - state[0] + rear * cos
        dy = graph.y.take(node) - state[1] + rear * sin
        side = dy * cos - dx * sin
        curvature = 2.0 * side / np.maximum(dx * dx + dy * dy, 1.0)
        return dynamics.steer_for(curvature, rear)

    def _write(self, throttle: np.ndarray, steer: np.ndarray, brake: np.ndarray) -> None:
        rows = self.rows
        pedals = np.zeros((len(rows), 5))
        pedals[:, 0], pedals[:, 1], pedals[:, 2] = throttle, steer, brake
        self.table.drive[rows, :5] = pedals
        records = self.table.records["vehicle"]
        records["throttle"][rows], records["steer"][rows] = throttle, steer
        records["brake"][rows] = brake

    def _pass_junctions(self, speed: np.ndarray, color: np.ndarray) -> None:
        """Set how far each vehicle may go (m from its bumper), and reserve and release ways."""
        self._located = False
        self._at_red[:] = False
        front, colors = self._front.tolist(), color.tolist()
        speeds = speed.tolist()
        position = self.paths.position() + self.paths.rest
        self._stop[:] = self.paths.end - position - self._front
        asking: list[tuple[int, float]] = []
        approaching: dict[int, list[tuple[int, float]]] = {}
        for number, here in enumerate(position.tolist()):
            ways, v = self.paths.ways[number], speeds[number]
            if self._held[number]:
                self._leave_ways(number, here, front[number], v)
            if len(ways) == self._held[number]:
                continue
            begin, _, way = ways[self._held[number]]
            left = begin - here - front[number] - STOP_SHORT
            if left > v * v / 3.0 + v + 6.0:
                continue
            if self.right_of_way.light_allows(way, colors, left, v):
                approaching.setdefault(way, []).append((self.ids[number], left / max(v, 1.0)))
                asking.append((number, left))
            else:
                self._stop[number] = max(left, 0.0)
                self._at_red[number] = True
        for number, left in asking:
            if self._may_enter(number, left, speeds[number], approaching):
                self._hold(number)
                self._has_stopped[number] = False
            else:
                self._stop[number] = min(self._stop[number], max(left, 0.0))

    def _leave_ways(self, number: int, here: float, front: float, speed: float) -> None:
        """Give back ways that lie behind, and those that a vehicle does not come to use."""
        ways = self.paths.ways[number]
        while self._held[number] and here - front > ways[0][1]:
            self.right_of_way.give_back(ways[0][2], self.ids[number])
            self._held[number] -= 1
            del ways[0]
        if self._held[number] and speed < 0.3 and self.wait[number] > UNUSED:
            entered = sum(begin <= here + front + STOP_SHORT for begin, _, _ in ways)
            self._release(number, entered)

    def _may_enter(
        self,
        number: int,
        left: float,
        speed: float,
        approaching: dict[int, list[tuple[int, float]]],
    ) -> bool:
        """Whether a vehicle may reserve its next way; the light allows it."""
        id, rules = self.ids[number], self.right_of_way
        _, end, way = self.paths.ways[number][self._held[number]]
        wait = self.wait[number]
        if way in rules.must_stop and not self._has_stopped[number]:
            self._has_stopped[number] = speed < 0.2 and left < 3.0
            if not self._has_stopped[number]:
                return False
        if wait < FORCE and rules.taken(way, id):
            return False
        if wait < INSIST and rules.must_yield(way, id, approaching):
            return False
        self._locate()
        column = int(self.paths.at[number])
        own = int(self.paths.nodes[number, column])
        lane = self.graph.segment[own]
        same = self._segment == lane
        for other in np.flatnonzero(same & (self._s > self.graph.s[own] + 1.0)).tolist():
            if other not in self._number or not self._held[self._number[other]]:
                return False
        if wait < FORCE and self._crossed(way, same):
            return False
        return wait > SQUEEZE or self._exit_is_clear(number, end)

    def _locate(self) -> None:
        """Find the lanes of all vehicles, once in a tick and only where asked for."""
        if self._located:
            return
        self._located = True
        state = self.table.state.take(self._vehicles, 0).T
        node = self.graph.nearest(state[0], state[1], state[4] * (math.pi / 180.0))
        self._segment, self._s = self.graph.segment.take(node), self.graph.s.take(node)
        self._speed = np.hypot(state[6], state[7])
        self._seen = state[[0, 1, 6, 7]].T

    def _crossed(self, way: int, same: np.ndarray) -> bool:
        """Whether a vehicle that is not driven here, from another lane, comes near a way."""
        if not self._stranger.any():
            return False
        return self.right_of_way.is_crossed(way, self._seen[self._stranger & ~same])

    def _exit_is_clear(self, number: int, end: int) -> bool:
        """Whether there is room for the vehicle behind the junction."""
        column = end + 1 - int(self.paths.base[number])
        if column >= self.paths.nodes.shape[1]:
            return True
        exit_lane = self.graph.segment[self.paths.nodes[number, column]]
        if self.graph.junction[exit_lane] >= 0:
            return True
        room = 2.0 * self._front[number] + STANDSTILL + 3.0
        full = (self._segment == exit_lane) & (self._s < room) & (self._speed < 1.5)
        return not bool(full.any())

    def _lose_patience(self, dt: float, speed: np.ndarray, relocate: Callable[[int], bool]) -> None:
        """Count seconds of waiting, and move away what has been stuck for long."""
        standing = (speed < 0.3) & ~self._at_red
        self.wait = np.where(standing, self.wait + dt, 0.0)
        arrived = self.paths.end - self.paths.position() < self._front_nodes + 3
        stuck = (self.wait > GIVE_UP) | (arrived & (speed < 0.5))
        for number in stuck.nonzero()[0].tolist():
            if relocate(self.ids[number]):
                self.wait[number] = 0.0
                self._begin(number, int(self.rows[number]))
