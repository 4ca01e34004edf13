"""Which quadrilaterals a camera sees, and in which order they are painted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robo.sim.carla.standin.sensors.bodies import Bodies, rotations
from robo.sim.carla.standin.sensors.camera import NEAR, Camera, clipped_fixed_point, fixed_point

REACH = 170.0
"""Metres up to which bodies are drawn."""
CELL = 16.0
"""Metres between the places for which the fixed bodies within reach are kept."""
SMALLEST = 2.2
"""Apparent radius in pixels from which bodies are drawn."""

_NEAREST = np.array([-np.inf, -np.inf, NEAR], np.float32)


class Faces(NamedTuple):
    """What is to be painted, in order; K quadrilaterals or, cut off nearby, other polygons."""

    polygons: list[np.ndarray]
    """Fixed-point corners, int32 [4, 2] each (as many as are left where cut off)."""
    rows: np.ndarray
    """Index of each: fixed quadrilaterals first, then those of the actors, int [K]."""
    corners: np.ndarray
    """Camera coordinates of the whole quadrilaterals, float32 [K, 4, 3]."""


@dataclass(frozen=True)
class Fixed:
    """Bodies that never move, or those of them near some place."""

    bodies: Bodies
    vertices: np.ndarray
    """In the world's frame, float32 [Q, 4, 3]."""
    offsets: np.ndarray
    """Distance of each plane from the world's origin, float32 [Q]."""
    origins: np.ndarray
    """[N, 3] metres."""
    footprints: np.ndarray
    """x, y, half length, half width (m), cosine and sine of the yaw of houses, NaN for other
    bodies, [N, 6]."""
    house: np.ndarray
    """Whether each body is a house, bool [N]."""
    frames: np.ndarray
    """Rows (cos, sin, -along) and (-sin, cos, -across) that turn x, y, 1 into the frame of a
    house, [N, 2, 3]."""
    rows: np.ndarray
    """Index of each quadrilateral among all fixed ones, int [Q]."""

    @classmethod
    def of(cls, bodies: Bodies, origins: np.ndarray, footprints: np.ndarray) -> Fixed:
        """All bodies, standing at their origins."""
        vertices = bodies.vertices + origins[bodies.owner][:, None].astype(np.float32)
        offsets = np.einsum("qi,qi->q", bodies.normals, vertices.mean(1))
        rows = np.arange(len(vertices))
        x, y, _, _, cos, sin = footprints.T
        frames = np.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], 1)
        house = ~np.isnan(x)
        frames = frames.reshape(-1, 2, 3)
        return cls(bodies, vertices, offsets, origins, footprints, house, frames, rows)

    def within(self, place: np.ndarray, reach: float) -> Fixed:
        """The bodies within ``reach`` metres of a point [2]."""
        close = np.linalg.norm(self.origins[:, :2] - place, axis=1) < reach
        part, pick = self.bodies, close[self.bodies.owner]
        number = np.cumsum(close) - 1
        few = Bodies(
            part.vertices[:0],
            part.normals[pick],
            part.colors[pick],
            part.tags[pick],
            part.need[pick],
            part.glow[pick],
            number[part.owner[pick]],
            part.first[:0],
            part.radius[close],
        )
        return Fixed(
            few,
            self.vertices[pick],
            self.offsets[pick],
            self.origins[close],
            self.footprints[close],
            self.house[close],
            self.frames[close],
            self.rows[pick],
        )


@dataclass(frozen=True)
class Moving:
    """Bodies of actors where they are now."""

    bodies: Bodies
    offsets: np.ndarray
    """Distance of each plane from the body's origin, float32 [Q]."""
    half: np.ndarray
    """Half sizes of the boxes in metres, [N, 3]."""
    middle: np.ndarray
    """Their centres in local coordinates, [N, 3]."""
    locations: np.ndarray
    """[N, 3] metres."""
    turns: np.ndarray
    """[N, 3, 3]."""

    @staticmethod
    def turned(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Locations and rotation matrices of rows of the actors' table."""
        return state[:, :3], rotations(state[:, 3:6])


def find(camera: Camera, fixed: Fixed, moving: Moving) -> Faces:
    """Quadrilaterals that a camera sees, from far to near.

    Args:
        camera: the camera.
        fixed: fixed bodies within reach.
        moving: the actors' bodies.
    """
    eye, part, count = camera.position.astype(np.float32), fixed.bodies, len(fixed.origins)
    scales = _scales(
        camera,
        np.concatenate([fixed.origins, moving.locations]),
        np.concatenate([part.radius, moving.bodies.radius]),
    )
    still = np.flatnonzero(part.need < scales[part.owner])
    still = still[part.normals[still] @ eye > fixed.offsets[still]]
    turned, mine = _actors(camera, moving, scales[count:])
    corners = np.concatenate([fixed.vertices[still] - eye, turned])
    points = camera.project(corners.reshape(-1, 3)).reshape(-1, 4, 3)
    items = np.concatenate([part.owner[still], moving.bodies.owner[mine] + count])
    rows = np.concatenate([fixed.rows[still], -1 - mine])
    # What reaches behind the camera is moved before it; that errs on the side of being seen.
    spots = camera.spots(np.maximum(points, _NEAREST))
    # Reducing axes this short corner by corner is faster.
    one, two, three, four = spots.transpose(1, 2, 0)
    low = np.minimum(np.minimum(one, two), np.minimum(three, four))
    high = np.maximum(np.maximum(one, two), np.maximum(three, four))
    on = (high[0] >= -1.0) & (low[0] <= camera.width)
    on &= (high[1] >= -1.0) & (low[1] <= camera.height)
    on &= (points[..., 2] > NEAR).any(1)
    points, rows, items, spots = points[on], rows[on], items[on], spots[on]
    if len(rows):
        order = _order(camera.position, fixed, moving, items, low[0, on], high[0, on])
        points, rows, spots = points[order], rows[order], spots[order]
    return Faces(_polygons(camera, points, spots), rows, points)


def _actors(camera: Camera, moving: Moving, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Front sides of the actors' bodies: offsets from the camera [K, 4, 3], and their rows."""
    part = moving.bodies
    offsets = camera.position - moving.locations
    eye = np.matmul(offsets[:, None], moving.turns)[:, 0]
    # A camera within a body (a driver's view) does not see that body.
    scales[(np.abs(eye - moving.middle) < moving.half).all(1)] = 0.0
    mine = np.flatnonzero(part.need < scales[part.owner])
    if not len(mine):
        return np.zeros((0, 4, 3), np.float32), mine
    local = eye.astype(np.float32)[part.owner[mine]]
    mine = mine[np.einsum("qi,qi->q", part.normals[mine], local) > moving.offsets[mine]]
    owner = part.owner[mine]
    turns = moving.turns.transpose(0, 2, 1).astype(np.float32)
    turned = np.matmul(part.vertices[mine], turns[owner])
    turned -= offsets.astype(np.float32)[owner][:, None]
    return turned, mine


def _scales(camera: Camera, origins: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Pixels per metre at each body [N]; 0 for one that cannot be on the picture."""
    spots = camera.project(origins - camera.position)
    distance = np.sqrt(np.einsum("ni,ni->n", spots, spots))
    scales = camera.focal / np.maximum(distance, 1e-3)
    shown = (spots[:, 2] + radius > NEAR) & (distance < REACH + radius)
    shown &= scales * radius > SMALLEST
    for axis, size in enumerate((camera.width, camera.height)):
        slope = size / (2.0 * camera.focal)
        # Distance outside the planes through the camera and the picture's edges.
        beyond = np.abs(spots[:, axis]) - slope * spots[:, 2]
        shown &= beyond < radius * math.sqrt(1.0 + slope * slope)
    return scales * shown


def _order(
    eye: np.ndarray,
    fixed: Fixed,
    moving: Moving,
    items: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Order of painting of quadrilaterals: body by body, from far to near.

    Args:
        eye: where the camera is, [3] metres.
        fixed: fixed bodies.
        moving: the actors' bodies.
        items: body of each quadrilateral, rising, fixed ones first, [K].
        low: least column of each, [K].
        high: largest column of each, [K].
    """
    starts = np.flatnonzero(np.diff(items, prepend=-1))
    shown = items[starts]
    count = int(np.searchsorted(shown, len(fixed.origins)))
    still = shown[:count]
    places = np.concatenate(
        [fixed.origins[still], moving.locations[shown[count:] - len(fixed.origins)]]
    )
    house = np.zeros(len(shown), bool)
    house[:count] = fixed.house[still]
    walls = shown[house]
    low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    half, frames = fixed.footprints[walls, 2:4], fixed.frames[walls]
    ranks = _ranks(eye, places, house, half, frames, low, high)
    counts = np.diff(starts, append=len(items))
    return np.argsort(np.repeat(ranks, counts), kind="stable")


def _ranks(
    eye: np.ndarray,
    places: np.ndarray,
    house: np.ndarray,
    half: np.ndarray,
    frames: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Rank of every body that is seen: painting follows rising ranks.

    Houses go by the distance of their nearest point. Other bodies go by their distance, but
    before the first house that hides them: one with no wall's plane between it and them.
    """
    offset = places - eye
    apart = np.sqrt(np.einsum("ni,ni->n", offset, offset)) * 1e-4
    ranks = 1e6 - apart
    walls = len(half)
    if not walls:
        return ranks
    other = ~house
    points = np.concatenate([eye[None], places[other]])
    points[:, 2] = 1.0
    spots = frames @ points.T
    half = half[..., None]
    outside = np.abs(spots[..., 0]) - half[..., 0]
    outside *= outside > 0.0
    sequence = np.argsort(-np.einsum("hi,hi->h", outside, outside), kind="stable")
    # -1, 0 or 1: before, within or beyond the two planes of a pair of walls.
    side = (spots > half).view(np.int8) - (spots < -half).view(np.int8)
    apart_from = side[..., :1] * side[..., 1:] > 0
    hides = ~(apart_from[:, 0] | apart_from[:, 1])
    hides &= (low[house][:, None] < high[other]) & (high[house][:, None] > low[other])
    hides = hides[sequence]
    ranks[np.flatnonzero(house)[sequence]] = np.arange(1.0, walls + 1.0)
    first = np.where(hides.any(0), hides.argmax(0), walls)
    ranks[other] = first + 0.5 - apart[other]
    return ranks


def _polygons(camera: Camera, points: np.ndarray, spots: np.ndarray) -> list[Any]:
    """Fixed-point polygons of quadrilaterals, cut at the near plane.

    Args:
        camera: the camera.
        points: camera coordinates, [K, 4, 3].
        spots: image coordinates, [K, 4, 2].
    """
    polygons = list(fixed_point(spots))
    for index in np.flatnonzero((points[..., 2] < NEAR).any(1)).tolist():
        polygons[index] = clipped_fixed_point(camera, points[index])
    return polygons
