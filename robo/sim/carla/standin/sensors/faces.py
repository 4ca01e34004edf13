"""Which quadrilaterals a camera sees, and in which order they are painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robo.sim.carla.standin.sensors.bodies import Bodies, rotations
from robo.sim.carla.standin.sensors.camera import Camera
from robo.sim.carla.standin.sensors.seen import visible

CELL = 16.0
"""Metres between the places for which the fixed bodies within reach are kept."""


class Faces(NamedTuple):
    """What is to be painted, in order; K quadrilaterals or, cut off nearby, other polygons."""

    polygons: np.ndarray
    """Columns and rows of the corners in pixels, float64 [K, 5, 2]."""
    counts: np.ndarray
    """How many corners each has, int64 [K]."""
    rows: np.ndarray
    """Index of each: fixed quadrilaterals first, then -1 - those of the actors, int [K]."""
    corners: np.ndarray
    """Camera coordinates of the whole quadrilaterals, float32 [K, 4, 3]."""


@dataclass(frozen=True)
class Fixed:
    """Bodies that never move, or those of them near some place; see :mod:`.seen`."""

    quads: np.ndarray
    """In the world's frame, float32 [Q, 17]."""
    starts: np.ndarray
    """int64 [N + 1]."""
    bodies: np.ndarray
    """float64 [N, 12]."""
    rows: np.ndarray
    """Index of each quadrilateral among all fixed ones, int [Q]."""

    @classmethod
    def of(cls, bodies: Bodies, origins: np.ndarray, footprints: np.ndarray) -> Fixed:
        """All bodies, standing at their origins.

        Args:
            bodies: with vertices relative to their origins, along the world's axes.
            origins: metres, [N, 3].
            footprints: x, y, half length, half width (m), cosine and sine of the yaw of houses,
                NaN for other bodies, [N, 6].
        """
        vertices = bodies.vertices + origins[bodies.owner][:, None].astype(np.float32)
        offsets = np.einsum("qi,qi->q", bodies.normals, vertices.mean(1))
        x, y, length, width, cos, sin = footprints.T
        frames = np.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], 1)
        half = np.where(np.isnan(x)[:, None], -1.0, np.column_stack([length, width]))
        table = np.concatenate([origins, bodies.radius[:, None], half, frames], 1)
        quads = _table(bodies, vertices, offsets)
        return cls(quads, _starts(bodies), table, np.arange(len(quads)))

    def within(self, place: np.ndarray, reach: float) -> Fixed:
        """The bodies within ``reach`` metres of a point [2]."""
        close = np.linalg.norm(self.bodies[:, :2] - place, axis=1) < reach
        counts = np.diff(self.starts)
        pick = np.repeat(close, counts)
        starts = np.concatenate([[0], np.cumsum(counts[close])])
        return Fixed(self.quads[pick], starts, self.bodies[close], self.rows[pick])


@dataclass(frozen=True)
class Shells:
    """Bodies of actors wherever they are."""

    bodies: Bodies
    """In local coordinates."""
    quads: np.ndarray
    """float32 [Q, 17], as :mod:`.seen` reads them."""
    starts: np.ndarray
    """int64 [N + 1]."""
    half: np.ndarray
    """Half sizes of the boxes in metres, [N, 3]."""
    middle: np.ndarray
    """Their centres in local coordinates, [N, 3]."""

    @classmethod
    def of(cls, bodies: Bodies, half: np.ndarray, middle: np.ndarray) -> Shells:
        """The bodies, with half sizes and centres of their boxes, [N, 3] each."""
        quads = _table(bodies, bodies.vertices, bodies.offsets)
        return cls(bodies, quads, _starts(bodies), half, middle)


@dataclass(frozen=True)
class Moving:
    """Bodies of actors where they are now."""

    shells: Shells
    locations: np.ndarray
    """[N, 3] metres."""
    turns: np.ndarray
    """Rotation matrices [N, 3, 3]."""

    @classmethod
    def at(cls, shells: Shells, state: np.ndarray) -> Moving:
        """The bodies at rows of the actors' table."""
        return cls(shells, state[:, :3], rotations(state[:, 3:6]))

    @property
    def table(self) -> np.ndarray:
        """The actors, float64 [N, 19], as :mod:`.seen` reads them."""
        shells, count = self.shells, len(self.locations)
        radius, turns = shells.bodies.radius[:, None], self.turns.reshape(count, 9)
        return np.concatenate([self.locations, radius, shells.half, shells.middle, turns], 1)


def find(camera: Camera, fixed: Fixed, moving: Moving) -> Faces:
    """Quadrilaterals that a camera sees, from far to near.

    Args:
        camera: the camera.
        fixed: fixed bodies within reach.
        moving: the actors' bodies.
    """
    lens = (camera.focal, camera.width, camera.height)
    eye = np.concatenate([camera.position, camera.axes.ravel(), lens])
    shells = moving.shells
    polygons, counts, corners, rows = visible(
        eye, fixed.quads, fixed.starts, fixed.bodies, shells.quads, shells.starts, moving.table
    )
    still = rows >= 0
    rows[still] = fixed.rows[rows[still]]
    return Faces(polygons, counts, rows, corners)


def _table(bodies: Bodies, vertices: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Quadrilaterals [Q, 17]; see :mod:`.seen`."""
    corners = vertices.reshape(-1, 12)
    rest = (bodies.normals, offsets[:, None], bodies.need[:, None])
    return np.concatenate([corners, *rest], 1, dtype=np.float32)


def _starts(bodies: Bodies) -> np.ndarray:
    """First quadrilateral of each body and, at the end, their number, int64 [N + 1]."""
    return np.append(bodies.first, len(bodies.owner)).astype(np.int64)
