"""Collisions between boxes on the ground: detection, separation and exchange of momentum."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robo.sim.carla.standin.actors import DRIVE, ActorTable

RESTITUTION = 0.1
"""Share of the closing speed that is left after a collision."""
FRICTION = 0.3
"""Tangential impulse per normal impulse, at most."""
CLOSING = 0.02
"""Closing speed (m/s) under which touching is not reported."""
LOOSE = 0.01
"""Metres of overlap that are left alone."""


class Contact(NamedTuple):
    """Two rows whose boxes overlap."""

    first: int
    second: int
    normal: tuple[float, float]
    """Unit vector from the first box to the second."""
    depth: float
    """Metres to move apart along the normal."""


class Hit(NamedTuple):
    """A collision between two rows, with the impulse (N s) on the first one."""

    first: int
    second: int
    impulse: tuple[float, float, float]


def boxes(state: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """Boxes on the ground: centre x, y, cos, sin of the yaw, half length, half width, [6, N].

    Args:
        state: rows of an :class:`ActorTable`, [N, 15].
        drive: the same rows, [N, D].
    """
    yaw = state[:, 4] * (math.pi / 180.0)
    cos, sin = np.cos(yaw), np.sin(yaw)
    cx, cy = drive[:, DRIVE["center_x"]], drive[:, DRIVE["center_y"]]
    shapes = np.empty((6, len(state)))
    shapes[0] = state[:, 0] + cos * cx - sin * cy
    shapes[1] = state[:, 1] + sin * cx + cos * cy
    shapes[2], shapes[3] = cos, sin
    shapes[4], shapes[5] = drive[:, DRIVE["extent_x"]], drive[:, DRIVE["extent_y"]]
    return shapes


def overlap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlap of oriented boxes by the separating axis theorem.

    Args:
        a: boxes as :func:`boxes` gives them, [6, P].
        b: the boxes to compare them with, [6, P].

    Returns:
        Depth (m, positive where they overlap, [P]) and the unit normal from a to b, x and y.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    cos = np.abs(a[2] * b[2] + a[3] * b[3])
    sin = np.abs(a[2] * b[3] - a[3] * b[2])
    axes = np.stack((a[2], -a[3], b[2], -b[3])), np.stack((a[3], a[2], b[3], b[2]))
    apart = axes[0] * dx + axes[1] * dy
    reach = np.stack(
        (
            a[4] + b[4] * cos + b[5] * sin,
            a[5] + b[4] * sin + b[5] * cos,
            b[4] + a[4] * cos + a[5] * sin,
            b[5] + a[4] * sin + a[5] * cos,
        )
    )
    depth = reach - np.abs(apart)
    axis = depth.argmin(0)
    column = np.arange(depth.shape[1])
    side = np.where(apart[axis, column] < 0.0, -1.0, 1.0)
    return depth[axis, column], axes[0][axis, column] * side, axes[1][axis, column] * side


class Collider:
    """Finds and resolves collisions among the solid actors of a table.

    Vehicles and walkers move; props stand still. Walkers pass one another.
    """

    def __init__(self, table: ActorTable) -> None:
        """Nothing solid yet."""
        self.table = table
        self.index([], [], [])

    def index(self, vehicles: list[int], walkers: list[int], props: list[int]) -> None:
        """Take up the rows of solid actors."""
        self.rows = np.array([*vehicles, *walkers, *props], np.int64)
        self.movable = len(vehicles) + len(walkers)
        first, second = np.triu_indices(len(self.rows), 1)
        kept = first < len(vehicles)
        kept |= (first < self.movable) & (second >= self.movable)
        self.first, self.second = first[kept], second[kept]
        drive = self.table.drive[self.rows]
        radius = drive[:, DRIVE["radius"]]
        self.reach = (radius[self.first] + radius[self.second]) ** 2
        self.inverse = np.zeros(len(self.rows))
        self.inverse[: self.movable] = 1.0 / np.maximum(drive[: self.movable, DRIVE["mass"]], 1.0)
        self.walker = np.zeros(len(self.rows), bool)
        self.walker[len(vehicles) : self.movable] = True

    def contacts(self) -> list[Contact]:
        """Pairs whose boxes overlap now, in a fixed order; numbers index :attr:`rows`."""
        if not len(self.first):
            return []
        state = self.table.state.take(self.rows, 0)
        dx, dy = state[:, 0], state[:, 1]
        away = (dx.take(self.first) - dx.take(self.second)) ** 2
        away += (dy.take(self.first) - dy.take(self.second)) ** 2
        near = (away < self.reach).nonzero()[0]
        if not len(near):
            return []
        drive = self.table.drive.take(self.rows, 0)
        shapes = boxes(state, drive)
        i, j = self.first[near], self.second[near]
        depth, nx, ny = overlap(shapes[:, i], shapes[:, j])
        low = state[:, 2] + drive[:, DRIVE["low"]]
        high = state[:, 2] + drive[:, DRIVE["high"]]
        hit = (depth > 0.0) & (low[i] < high[j]) & (low[j] < high[i])
        return [
            Contact(int(i[k]), int(j[k]), (float(nx[k]), float(ny[k])), float(depth[k]))
            for k in hit.nonzero()[0]
        ]

    def resolve(self) -> list[Hit]:
        """Push overlapping actors apart and exchange their momentum.

        Returns:
            One hit per pair that closed in, by table rows.
        """
        hits = []
        for contact in self.contacts():
            impulse = self._exchange(contact)
            self._separate(contact)
            if impulse is not None:
                rows = self.rows[contact.first], self.rows[contact.second]
                hits.append(Hit(int(rows[0]), int(rows[1]), impulse))
        return hits

    def _separate(self, contact: Contact) -> None:
        a, b = self.inverse[contact.first], self.inverse[contact.second]
        push = max(contact.depth - LOOSE, 0.0) / (a + b)
        nx, ny = contact.normal
        state = self.table.state
        state[self.rows[contact.first], :2] -= push * a * nx, push * a * ny
        state[self.rows[contact.second], :2] += push * b * nx, push * b * ny

    def _exchange(self, contact: Contact) -> tuple[float, float, float] | None:
        state, rows = self.table.state, self.rows
        nx, ny = contact.normal
        va, vb = state[rows[contact.first], 6:8], state[rows[contact.second], 6:8]
        rx, ry = float(vb[0] - va[0]), float(vb[1] - va[1])
        closing = -(rx * nx + ry * ny)
        if closing <= CLOSING:
            return None
        a, b = float(self.inverse[contact.first]), float(self.inverse[contact.second])
        normal = (1.0 + RESTITUTION) * closing / (a + b)
        tangent = -ny * rx + nx * ry
        rub = min(FRICTION * normal, abs(tangent) / (a + b)) * math.copysign(1.0, tangent)
        jx, jy = -normal * nx - rub * ny, -normal * ny + rub * nx
        self._push(contact.first, a, jx, jy)
        self._push(contact.second, b, -jx, -jy)
        return jx, jy, 0.0

    def _push(self, number: int, inverse: float, jx: float, jy: float) -> None:
        """Give a body an impulse: a vehicle's speed and slide, a walker's slide."""
        if inverse == 0.0:
            return
        row = self.rows[number]
        self.push_row(int(row), jx * inverse, jy * inverse, bool(self.walker[number]))

    def push_row(self, row: int, dx: float, dy: float, walker: bool) -> None:
        """Change the velocity (m/s) of a row at once, keeping its command."""
        state, drive = self.table.state[row], self.table.drive[row]
        state[6] += dx
        state[7] += dy
        if walker:
            drive[DRIVE["slide_x"]] += dx
            drive[DRIVE["slide_y"]] += dy
            return
        yaw = math.radians(state[4])
        cos, sin = math.cos(yaw), math.sin(yaw)
        along = dx * cos + dy * sin
        drive[DRIVE["speed"]] += along
        drive[DRIVE["slide_x"]] += dx - along * cos
        drive[DRIVE["slide_y"]] += dy - along * sin
