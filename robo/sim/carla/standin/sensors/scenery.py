"""Houses and trees beside the roads: they are seen, and never stand where one can drive or walk."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from robo.sim.carla.standin.sensors import tags
from robo.sim.carla.standin.sensors.ground import Ground
from robo.sim.carla.standin.sensors.shapes import Shape, building, tree

CELL = 1.0
"""Metres per cell of the map of free places."""
SETBACK = 4.0
"""Metres between a house and the nearest road or sidewalk."""


@dataclass(frozen=True)
class Thing:
    """A house or a tree."""

    shape: Shape
    """In metres, standing on z = 0."""
    pose: tuple[float, float, float, float]
    """x, y, z in metres and yaw in degrees."""
    half: tuple[float, float, float]
    """Half sizes in metres."""
    tag: int
    """Semantic tag."""


def place(ground: Ground) -> list[Thing]:
    """Line the roads of a map with houses and trees.

    Args:
        ground: the painted map.

    Returns:
        Houses, then trees; the same for the same map.
    """
    used = (ground.tags != tags.TERRAIN).astype(np.uint8)
    scale = ground.resolutions[0] / CELL
    size = (max(1, int(used.shape[1] * scale)), max(1, int(used.shape[0] * scale)))
    free = (cv2.resize(used, size, interpolation=cv2.INTER_AREA) == 0).astype(np.uint8)
    random = np.random.default_rng(11)
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(distance, (0, 0), 2.0))
    houses = _houses(ground, free, distance, slope_x, slope_y, random)
    return houses + _trees(ground, free, distance)


def _houses(
    ground: Ground,
    free: np.ndarray,
    distance: np.ndarray,
    slope_x: np.ndarray,
    slope_y: np.ndarray,
    random: np.random.Generator,
) -> list[Thing]:
    """Rectangles facing the nearest road, on free ground near roads."""
    things = []
    rows, columns = np.nonzero((distance > SETBACK + 5.0) & (distance < SETBACK + 9.0))
    for row, column in zip(rows[::3].tolist(), columns[::3].tolist(), strict=True):
        if not free[row, column]:
            continue
        depth, width = random.uniform(4.5, 7.0), random.uniform(6.0, 12.0)
        yaw = float(np.degrees(np.arctan2(slope_y[row, column], slope_x[row, column])))
        yaw = round(yaw / 5.0) * 5.0
        corners = cv2.boxPoints(((column, row), (2 * depth, 2 * width), yaw))
        low, high = (
            np.floor(corners.min(0)).astype(int) - 4,
            np.ceil(corners.max(0)).astype(int) + 5,
        )
        if low.min() < 0 or (high > free.shape[::-1]).any():
            continue
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        footprint = np.zeros(free[window].shape, np.uint8)
        cv2.fillConvexPoly(footprint, np.round(corners - low).astype(np.int32), 1)
        inside = footprint > 0
        if distance[window][inside].min() < SETBACK or not free[window][inside].all():
            continue
        free[window][cv2.dilate(footprint, np.ones((7, 7), np.uint8)) > 0] = 0
        x, y = _metres(ground, row, column)
        half = (depth, width, 1.6 * int(random.integers(2, 6)))
        color = tags.FACADES[int(random.integers(len(tags.FACADES)))]
        pose = (x, y, ground.height(x, y), yaw)
        things.append(Thing(building(half, color), pose, half, tags.BUILDING))
    return things


def _trees(ground: Ground, free: np.ndarray, distance: np.ndarray) -> list[Thing]:
    """Trees along the sidewalks, at least 14 m apart."""
    things = []
    rows, columns = np.nonzero((distance > 2.0) & (distance < 3.2))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if not free[row, column]:
            continue
        cv2.circle(free, (column, row), 14, 0, -1)
        x, y = _metres(ground, row, column)
        pose = (x, y, ground.height(x, y), 0.0)
        things.append(Thing(tree(), pose, (1.3, 1.3, 2.8), tags.VEGETATION))
    return things


def _metres(ground: Ground, row: int, column: int) -> tuple[float, float]:
    return ground.origin[0] + (column + 0.5) * CELL, ground.origin[1] + (row + 0.5) * CELL
