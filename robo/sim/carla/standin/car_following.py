"""How a vehicle keeps its distance: the intelligent driver model, and what lies on its path.

The model is that of Treiber, Hennecke and Helbing (2000), equations 2 and 3.
"""

from __future__ import annotations

import math

import numpy as np

from robo.sim.carla.standin.lanes import LaneGraph

ACCELERATION, DECELERATION = 2.0, 2.5
"""Comfortable speeding up and braking, m/s^2."""
HEADWAY, STANDSTILL = 1.2, 2.0
"""Seconds and metres to keep behind the one ahead."""
SIGHT = 40
"""Nodes (metres) ahead of the bumper that are searched for obstacles."""


def follow(speed: np.ndarray, lead: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Acceleration behind something, m/s^2: what the model allows at most.

    Args:
        speed: own speed, m/s.
        lead: that of the one ahead along the path, m/s.
        gap: free metres to it.
    """
    closing = speed * (speed - lead) / (2.0 * math.sqrt(ACCELERATION * DECELERATION))
    wished = STANDSTILL + np.maximum(speed * HEADWAY + closing, 0.0)
    return ACCELERATION * (1.0 - (wished / np.maximum(gap, 0.1)) ** 2)


def gaps(
    graph: LaneGraph, nodes: np.ndarray, half: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Free metres to boxes that lie on paths.

    Args:
        graph: the lanes.
        nodes: path of each vehicle from its bumper on, int [P, SIGHT].
        half: half the width that it needs, m, [P].
        box: the box to look for on each path, as :func:`collisions.boxes` gives it, [6, P].

    Returns:
        Gap (m) and the path's direction (cos, sin) there for those pairs whose box is on the path,
        and which pairs those are.
    """
    x = graph.x.take(nodes) - box[0][:, None]
    y = graph.y.take(nodes) - box[1][:, None]
    cos, sin = box[2][:, None], box[3][:, None]
    long, wide = box[4] + half, box[5] + half
    lx, ly = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    hit = (lx < long[:, None]) & (ly < wide[:, None])
    first = hit.argmax(1)
    pair = np.flatnonzero(hit[np.arange(len(nodes)), first])
    first = first[pair]
    node = nodes[pair, first]
    along = graph.cos.take(node), graph.sin.take(node)
    ux = np.abs(along[0] * box[2][pair] + along[1] * box[3][pair])
    uy = np.abs(along[1] * box[2][pair] - along[0] * box[3][pair])
    # Where between two nodes the path enters the box.
    inside = np.minimum(
        (long[pair] - lx[pair, first]) / np.maximum(ux, 1e-3),
        (wide[pair] - ly[pair, first]) / np.maximum(uy, 1e-3),
    )
    inside = np.where(first > 0, np.minimum(inside, 1.0), inside)
    return np.maximum(first - inside + half[pair], 0.05), along, pair
