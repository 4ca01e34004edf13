"""Sky and ground behind everything that stands on it, for the three kinds of pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from robo.sim.carla.standin.sensors import tags
from robo.sim.carla.standin.sensors.camera import Camera
from robo.sim.carla.standin.sensors.ground import Ground

COARSEN = 1.7
"""A coarser picture of the ground is taken where a pixel covers more than so many of its own."""

_HORIZON, _ZENITH = np.array(tags.HORIZON, float), np.array(tags.ZENITH, float)

MAGNIFIED = 0.5
"""Where a pixel covers at most so many of the ground's own, every other one is computed."""

_MIDDLE = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]])
"""From a pixel of every other row and column to the middle of four."""

Band = tuple[int, int, int, int]
"""Rows from and to, number of the picture of the ground that they show, and the pixels, rows and
columns, for which one is computed."""


def colors(ground: Ground, camera: Camera) -> np.ndarray:
    """Sky and ground, BGRA uint8 [H, W, 4]."""
    picture = np.empty((camera.height, camera.width, 4), np.uint8)
    first, level = camera.horizon
    end = first if level else camera.height
    if end:
        across, down, offset = camera.rays[2].tolist()
        shades = _sky(end, down, across * camera.center[0] + offset)
        # Whole pixels at once: four times faster than channel by channel.
        picture.view(np.uint32)[:end] = shades
    _warp(ground, camera, picture, _bands(ground, camera), (*tags.GRASS, 255), cv2.INTER_LINEAR)
    return picture


@lru_cache(maxsize=64)
def _sky(rows: int, slope: float, offset: float) -> np.ndarray:
    """Colour of each row of the sky, as whole pixels uint32 [rows, 1, 1].

    Cameras on level roads keep the same slope, whatever way they look.
    """
    share = np.clip(slope * np.arange(rows) + offset, 0.0, 1.0)[:, None] ** 0.6
    shades = np.full((rows, 4), 255, np.uint8)
    shades[:, :3] = _HORIZON * (1.0 - share) + _ZENITH * share
    return shades.view(np.uint32)[:, None]


def labels(ground: Ground, camera: Camera) -> np.ndarray:
    """Semantic tags of sky and ground, uint8 [H, W]."""
    picture = np.full((camera.height, camera.width), tags.SKY, np.uint8)
    bands = [(0, camera.height, 0, 1)]
    _warp(ground, camera, picture, bands, tags.TERRAIN, cv2.INTER_NEAREST)
    return picture


def inverse_depth(ground: Ground, camera: Camera) -> np.ndarray:
    """1 / depth (1/m) of the ground, at most 0 in the sky, float32 [H, W]."""
    level = ground.height(*camera.position[:2])
    slope = camera.rays[2] / -max(camera.position[2] - level, 1e-3)
    u = np.arange(camera.width)
    v = np.arange(camera.height)[:, None]
    return (slope[0] * u + (slope[1] * v + slope[2])).astype(np.float32)


def _bands(ground: Ground, camera: Camera) -> list[Band]:
    """Rows and the picture of the ground that suits them: coarser ones farther away."""
    first, level = camera.horizon
    height = camera.position[2] - ground.height(*camera.position[:2])
    if not level or height <= 0.0:
        return [(0, camera.height, 0, 1)]
    _, slope, offset = camera.rays[2].tolist()
    # Cameras on level roads keep the same bands, whatever way they look.
    view = (first, camera.height, height / camera.focal, round(slope, 12), round(offset, 9))
    return _level_bands(ground.resolutions, *view)


@lru_cache(maxsize=64)
def _level_bands(
    resolutions: tuple[float, ...],
    first: int,
    height: int,
    size: float,
    slope: float,
    offset: float,
) -> list[Band]:
    """Bands below a horizon in row ``first``, the lowest rows first.

    Args:
        resolutions: metres per pixel of the pictures of the ground, finest first.
        first: first row of ground.
        height: rows of the camera's picture.
        size: metres that a pixel covers at depth 1 m, times the camera's height above ground.
        slope: what the view falls per row, at depth 1 m.
        offset: the same in row 0.
    """
    footprint = size / np.maximum(-(slope * np.arange(height) + offset), 1e-6)
    bands: list[Band] = []
    end, last = height, len(resolutions) - 1
    limits = [(0, MAGNIFIED * resolutions[0], 2)]
    limits += [(index, COARSEN * metres, 1) for index, metres in enumerate(resolutions)]
    for index, limit, step in limits:
        # The footprint shrinks downwards, so that the rows that fit are the lowest ones.
        rows = int((footprint[:end] <= limit).sum())
        start = first if index == last else max(first, end - rows // step * step)
        if start < end:
            bands.append((start, end, index, step))
            end = start
    return bands


def _warp(
    ground: Ground,
    camera: Camera,
    picture: np.ndarray,
    bands: list[Band],
    border: Any,
    method: int,
) -> None:
    """Paint the ground into the rows below the horizon."""
    first, level = camera.horizon
    height = ground.height(*camera.position[:2])
    if camera.position[2] <= height:
        return
    sources = ground.colors if picture.ndim == 3 else (ground.tags,)
    for top, end, index, step in bands:
        start = max(top, first) if level else top
        if start >= end:
            continue
        matrix = camera.ground_matrix(height, ground.origin, ground.resolutions[index])
        matrix[:, 2] += start * matrix[:, 1]
        if step > 1:
            _magnify(picture[start:end], sources[index], matrix, border)
            continue
        target = picture[start:end] if level else None
        warped = cv2.warpPerspective(
            sources[index],
            matrix,
            (camera.width, end - start),
            dst=target,
            flags=method | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=border,
        )
        if level:
            if warped is not target:
                picture[start:end] = warped
            continue
        ray = camera.rays[2]
        u, v = np.arange(camera.width), np.arange(start, end)[:, None]
        seen = ray[0] * u + ray[1] * v + ray[2] < -1e-6
        picture[start:end][seen] = warped[seen]


def _magnify(target: np.ndarray, source: np.ndarray, matrix: np.ndarray, border: Any) -> None:
    """Paint rows of which a pixel covers little of the source: a quarter of them, then enlarged."""
    rows, columns = target.shape[0] // 2, (target.shape[1] + 1) // 2
    small = cv2.warpPerspective(
        source,
        matrix @ _MIDDLE,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )
    target[:] = cv2.resize(small, (2 * columns, 2 * rows))[:, : target.shape[1]]
