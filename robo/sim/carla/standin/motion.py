"""One step of motion of all vehicles and walkers, over the rows of the actor table."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from robo.sim.carla.standin import dynamics
from robo.sim.carla.standin.actors import DRIVE, Actor, ActorTable
from robo.sim.carla.standin.lanes import LaneGraph


class Motion:
    """Moves the actors of a table over a map, and tells vehicles where they are.

    Attributes:
        vehicles: rows of the vehicles, int [V]; ``moving``: of those that physics moves.
        walkers: rows of the walkers that physics moves, int [W].
        nodes: the lane node under each of ``vehicles`` after the last step, int [V].
    """

    def __init__(self, table: ActorTable, graph: LaneGraph) -> None:
        """Without actors."""
        self.table, self.graph = table, graph
        self.sliding = False
        self.index(())

    def index(self, actors: Iterable[Actor]) -> None:
        """Take up the rows of actors, after any was spawned, destroyed or frozen."""
        vehicles = [actor for actor in actors if actor.kind == "vehicle"]
        self.vehicles = np.array([actor.row for actor in vehicles], np.int64)
        self.moving = np.array([actor.row for actor in vehicles if actor.simulated], np.int64)
        self.walkers = np.array(
            [actor.row for actor in actors if actor.kind == "walker" and actor.simulated], np.int64
        )
        self._all_move = len(self.moving) == len(self.vehicles)
        self._front = np.rint(self.table.drive[self.vehicles, DRIVE["extent_x"]]).astype(np.int64)
        self._records = self.table.records["vehicle"]
        self._gear = self._records["gear"]
        self._limit, self._has = self._records["speed_limit"], self._records["has_light"]
        self._id, self._light = self._records["light_id"], self._records["light_state"]
        self._manual = bool(self._records["manual_gear_shift"][self.vehicles].any())
        self.nodes = self._locate(self.vehicles) if len(self.vehicles) else self.vehicles
        self._governed: tuple[bytes, bytes, int] | None = None
        self._shown_gear = b""
        self._known_limit = self._limit[self.vehicles]

    def _locate(self, rows: np.ndarray) -> np.ndarray:
        state = self.table.state.take(rows, 0).T
        return self.graph.nearest(state[0], state[1], state[4] * (math.pi / 180.0))

    def step(self, dt: float) -> None:
        """Move everything that physics moves by ``dt`` seconds."""
        if len(self.moving):
            self._move_vehicles(dt)
        if len(self.walkers):
            self._move_walkers(dt)

    def _move_vehicles(self, dt: float) -> None:
        rows, graph = self.moving, self.graph
        state = self.table.state.take(rows, 0).T
        drive = self.table.drive.take(rows, 0).T
        moved, yaw = dynamics.move(state, drive, dt)
        if self.sliding:
            moved += dynamics.slide(drive, dt)
            self.table.drive[rows, DRIVE["slide_x"] : DRIVE["spin"] + 1] = drive[7:10].T
            self.sliding = bool(drive[7:10].any())
            yaw = (state[4] + moved[2]) * (math.pi / 180.0)
        self.table.drive[rows, DRIVE["wheel"] : DRIVE["speed"] + 1] = drive[5:7].T
        state[:2] += moved[:2]
        now = drive[6]
        state[4] += moved[2]
        state[4] -= 360.0 * np.rint(state[4] / 360.0)
        node = graph.nearest(state[0], state[1], yaw)
        if self._all_move:
            self.nodes = node
        old = state[6:9].copy()
        state[6:8] = moved[:2] / dt
        if graph.flat:
            state[2], state[3], state[8] = graph.height, 0.0, 0.0
        else:
            self._follow_slope(state, node, yaw, dt)
        state[5], state[9:11] = 0.0, 0.0
        state[11] = moved[2] / dt
        state[12:15] = (state[6:9] - old) / dt
        self.table.state[rows] = state.T
        gear = np.minimum(np.abs(now) * (1.0 / dynamics.GEAR_SPAN), 4.0).astype(np.int64) + 1
        if drive[4].any():
            gear[drive[4] > 0.0] = -1
        if self._manual:
            gear = np.where(self._records["manual_gear_shift"][rows], self._gear[rows], gear)
        shown = gear.tobytes()
        if shown != self._shown_gear:
            self._shown_gear = shown
            self._gear[rows] = gear

    def _follow_slope(
        self, state: np.ndarray, node: np.ndarray, yaw: np.ndarray, dt: float
    ) -> None:
        graph = self.graph
        height = graph.surface(node, state[0], state[1])
        rise = height - state[2]
        state[8] = np.where(np.abs(rise) < 0.5, rise / dt, 0.0)
        state[2] = height
        slope = graph.slope.take(node) * np.cos(yaw - graph.yaw.take(node))
        state[3] = np.degrees(np.arctan(slope))

    def _move_walkers(self, dt: float) -> None:
        rows = self.walkers
        state = self.table.state.take(rows, 0).T
        drive = self.table.drive.take(rows, 0).T
        moved = dynamics.walk(drive, dt)
        if self.sliding or drive[7:9].any():
            moved += dynamics.slide(drive, dt)[:2]
            self.table.drive[rows, DRIVE["slide_x"] : DRIVE["spin"] + 1] = drive[7:10].T
            self.sliding = self.sliding or bool(drive[7:9].any())
        state[:2] += moved
        walking = drive[23] > 0.0
        turned = np.degrees(np.arctan2(drive[22], drive[21]))
        state[4] = np.where(walking, turned, state[4])
        if self.graph.flat:
            state[2] = self.graph.height - drive[DRIVE["low"]]
        else:
            yaw = state[4] * (math.pi / 180.0)
            node = self.graph.nearest(state[0], state[1], yaw)
            state[2] = self.graph.surface(node, state[0], state[1]) - drive[DRIVE["low"]]
        velocity = moved / dt
        state[12:14] = (velocity - state[6:8]) / dt
        state[6:8] = velocity
        self.table.state[rows] = state.T

    def govern(
        self, node_light: np.ndarray, light_id: np.ndarray, color: np.ndarray, version: int
    ) -> None:
        """Enter each vehicle's speed limit and the traffic light it stands before.

        Args:
            node_light: index of the light whose trigger volume holds a node, or -1, int [M].
            light_id: actor id by index, [L].
            color: state (0 red, 1 yellow, 2 green, 3 off) by index, [L].
            version: changes whenever ``color`` does.

        Inside junctions a vehicle keeps the limit of the road it came from.
        """
        rows, graph = self.vehicles, self.graph
        if not len(rows):
            return
        nodes = self.nodes if self._all_move else self._locate(rows)
        known = self._known_limit
        limit = np.where(graph.inside.take(nodes) & (known > 0.0), known, graph.limit.take(nodes))
        light = node_light.take(np.minimum(nodes + self._front, graph.segment_end.take(nodes)))
        if light.max() >= 0:
            light = np.where(self._beside(nodes), light, -1)
        shown = (limit.tobytes(), light.tobytes(), version)
        if shown == self._governed:
            return
        self._governed = shown
        self._known_limit = limit
        self._limit[rows] = limit
        self._has[rows] = light >= 0
        if len(color):
            self._id[rows] = np.where(light >= 0, light_id.take(light), 0)
            # 2 is green: what a vehicle without a light reports.
            self._light[rows] = np.where(light >= 0, color.take(light), 2)

    def _beside(self, nodes: np.ndarray) -> np.ndarray:
        """Which vehicles are within a lane's width of their node's centre line, bool [V]."""
        graph = self.graph
        state = self.table.state.take(self.vehicles, 0).T
        off = (state[1] - graph.y.take(nodes)) * graph.cos.take(nodes)
        off -= (state[0] - graph.x.take(nodes)) * graph.sin.take(nodes)
        return np.abs(off) < 0.75 * graph.width.take(graph.segment.take(nodes))
