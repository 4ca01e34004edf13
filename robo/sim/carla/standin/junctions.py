"""Which ways through a junction cross or merge."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from robo.sim.carla.standin.landmarks import STOP, YIELD, Signal
from robo.sim.carla.standin.lanes import LaneGraph

CLEARANCE = 2.9
"""Metres between the centre lines of two ways under which cars on them may touch."""
APART = 2.0
"""Metres from a common beginning within which two ways count as one."""


class Junctions:
    """The ways (segments) through each junction and their conflicts.

    Attributes:
        ways: segments of each junction, by junction id.
        conflicts: for each segment in a junction, the ways that cross it or merge with it; those
            that begin in the same lane are not among them.
    """

    def __init__(self, graph: LaneGraph) -> None:
        """Compare the ways of each junction."""
        self.ways: dict[int, list[int]] = {}
        for segment, junction in enumerate(graph.junction.tolist()):
            if junction >= 0:
                self.ways.setdefault(junction, []).append(segment)
        self.conflicts: dict[int, frozenset[int]] = {}
        for ways in self.ways.values():
            self._compare(graph, ways)

    def _compare(self, graph: LaneGraph, ways: list[int]) -> None:
        owner = np.concatenate([np.full(graph.count[w], k) for k, w in enumerate(ways)])
        nodes = np.concatenate([np.arange(graph.first[w], graph.last[w] + 1) for w in ways])
        x, y = graph.x[nodes], graph.y[nodes]
        close = np.hypot(x[:, None] - x, y[:, None] - y) < CLEARANCE
        # Ways that only touch end to end follow each other and are no conflict.
        touching = np.zeros((len(ways), len(ways)), bool)
        np.logical_or.at(touching, (owner[:, None], owner), close)
        for k, way in enumerate(ways):
            self.conflicts[way] = frozenset(
                other
                for j, other in enumerate(ways)
                if touching[k, j] and j != k and not _related(graph, way, other)
            )


def _related(graph: LaneGraph, a: int, b: int) -> bool:
    """Whether two ways begin in the same lane or follow each other."""
    before_a, before_b = graph.predecessors[a], graph.predecessors[b]
    if set(before_a) & set(before_b) or a in before_b or b in before_a:
        return True
    if before_a and before_b:
        return False
    begin_a, begin_b = graph.first[a], graph.first[b]
    away = np.hypot(graph.x[begin_a] - graph.x[begin_b], graph.y[begin_a] - graph.y[begin_b])
    return bool(away < APART)


def way_ranks(graph: LaneGraph, signs: Iterable[Signal]) -> tuple[int, ...]:
    """Rank of each segment as a way through a junction, [S]; the lower one goes first.

    Signs count most, then straight on before right before left.
    """
    turn = graph.yaw[graph.last] - graph.yaw[graph.first]
    turn = np.degrees((turn + math.pi) % (2 * math.pi) - math.pi)
    rank = np.where(turn < -30.0, 2, np.where(turn > 30.0, 1, 0))
    for sign in signs:
        if sign.type in (STOP, YIELD):
            rank[list(sign.ways)] += 10 if sign.type == YIELD else 20
    return tuple(rank.tolist())
