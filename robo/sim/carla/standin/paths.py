"""The way ahead of each server-driven vehicle: a window of lane nodes that is refilled as it goes.

Positions along a path are counted in nodes (about a metre each) since the path began.
"""

from __future__ import annotations

import math

import numpy as np

from robo.sim.carla.standin.lanes import LaneGraph

WINDOW = 192
"""Nodes in a window."""
AHEAD = 96
"""Nodes that a window holds at least ahead of the vehicle."""
COMFORT = 2.2
"""Sideways acceleration in curves, m/s^2."""
CURVE_STEP, CURVE_POINTS = 5, 18
"""Nodes between the points ahead at which curves are looked for, and their number."""
SPAN = 3
"""Nodes to each side over which a lane's curvature is measured."""


def curve_speed(graph: LaneGraph) -> np.ndarray:
    """Speed at which each node's curve and the next metres are taken comfortably, m/s, [M]."""
    nodes = np.arange(len(graph.x))
    before = np.maximum(nodes - SPAN, graph.first[graph.segment])
    after = np.minimum(nodes + SPAN, graph.last[graph.segment])
    turn = graph.yaw[after] - graph.yaw[before]
    turn = np.abs((turn + math.pi) % (2 * math.pi) - math.pi)
    away = np.maximum(graph.s[after] - graph.s[before], 0.5)
    speed = np.sqrt(COMFORT / np.maximum(turn / away, 1e-4))
    # A node stands for the stretch up to the next one that is looked at.
    stretch = np.minimum(nodes[:, None] + np.arange(CURVE_STEP), graph.last[graph.segment][:, None])
    return speed[stretch].min(1)


class Paths:
    """Windows of the paths of A vehicles.

    Attributes:
        nodes: lane nodes, int [A, WINDOW]; after a dead end the last node repeats.
        base: position of a window's first node on its path, int [A].
        at: column of the node nearest to the vehicle, int [A].
        ways: for each path the ways through junctions not yet left behind, as (begin, end, way):
            where it begins (metres counted like positions), its last node's position, its segment.
        rest: metres by which the vehicle is ahead of that node, [A].
        end: position of a dead end, or a large number, int [A].
    """

    def __init__(self, graph: LaneGraph) -> None:
        """Without vehicles."""
        self.graph = graph
        self.nodes = np.zeros((0, WINDOW), np.int64)
        self.base = np.zeros(0, np.int64)
        self.at = np.zeros(0, np.int64)
        self.rest = np.zeros(0)
        self.end = np.zeros(0, np.int64)
        self.ways: list[list[tuple[float, int, int]]] = []
        self._random: list[np.random.Generator] = []

    def keep(self, kept: list[int]) -> None:
        """Keep the paths with these numbers, in this order."""
        self.nodes, self.base = self.nodes[kept], self.base[kept]
        self.at, self.end = self.at[kept], self.end[kept]
        self.ways = [self.ways[number] for number in kept]
        self._random = [self._random[number] for number in kept]

    def append(self, random: np.random.Generator) -> None:
        """Add a path that :meth:`begin` has to lay."""
        self.nodes = np.concatenate((self.nodes, np.zeros((1, WINDOW), np.int64)))
        self.base, self.at, self.end = (
            np.append(values, 0) for values in (self.base, self.at, self.end)
        )
        self.ways.append([])
        self._random.append(random)

    def begin(self, number: int, node: int) -> None:
        """Lay a path anew from a node."""
        self.base[number] = self.at[number] = 0
        self.end[number] = 1 << 40
        self.ways[number] = []
        segment = int(self.graph.segment[node])
        if self.graph.junction[segment] >= 0:
            last = int(self.graph.last[segment])
            self.ways[number].append((0, last - node, segment))
        self._lay(number, [node])

    def position(self) -> np.ndarray:
        """Position of each vehicle on its path, int [A]."""
        return self.base + self.at

    def advance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Follow the vehicles to x, y (m, [A]); returns their squared distance from the path."""
        graph = self.graph
        rows = np.arange(len(self.at))
        node = self.nodes[rows, self.at]
        dx, dy = x - graph.x.take(node), y - graph.y.take(node)
        along = dx * graph.cos.take(node) + dy * graph.sin.take(node)
        step = np.minimum(np.maximum(np.rint(along).astype(np.int64), 0), 8)
        self.at += step
        self.rest = np.minimum(np.maximum(along - step, -1.0), 1.0)
        for number in (self.at > WINDOW - AHEAD).nonzero()[0]:
            self._refill(int(number))
        return dx * dx + dy * dy

    def _refill(self, number: int) -> None:
        done = int(self.at[number])
        kept = self.nodes[number, done:].tolist()
        self.base[number] += done
        self.at[number] = 0
        self._lay(number, kept)

    def _lay(self, number: int, kept: list[int]) -> None:
        """Fill a window after its first nodes, turning by chance where lanes part."""
        graph = self.graph
        row = self.nodes[number]
        filled = len(kept)
        row[:filled] = kept
        node = kept[-1]
        while filled < WINDOW and self.end[number] > self.base[number] + filled:
            segment = int(graph.segment[node])
            amount = min(int(graph.last[segment]) - node, WINDOW - filled)
            row[filled : filled + amount] = np.arange(node + 1, node + 1 + amount)
            filled += amount
            node += amount
            if filled == WINDOW:
                break
            following = graph.successors[segment]
            if not following:
                self.end[number] = self.base[number] + filled - 1
                break
            choice = int(self._random[number].integers(len(following)))
            node = int(graph.first[following[choice]])
            row[filled] = node
            self._note_way(number, following[choice], filled)
            filled += 1
        row[filled:] = node

    def _note_way(self, number: int, segment: int, column: int) -> None:
        if self.graph.junction[segment] >= 0:
            begin = int(self.base[number]) + column
            end = begin + int(self.graph.count[segment]) - 1
            self.ways[number].append((begin - self._shortfall(number, column), end, segment))

    def _shortfall(self, number: int, column: int) -> float:
        """Metres by which the last two steps before a column are shorter than a metre each."""
        nodes = self.nodes[number, max(column - 2, 0) : column + 1]
        steps = np.hypot(np.diff(self.graph.x[nodes]), np.diff(self.graph.y[nodes]))
        return float(np.maximum(1.0 - steps, 0.0).sum())
