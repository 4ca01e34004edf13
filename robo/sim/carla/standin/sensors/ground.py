"""The ground of a map as pictures seen from above: colours and semantic tags.

Lanes, sidewalks and markings are painted once per map from the client's ``carla.Map``; cameras
then only warp them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from robo.sim.carla.standin.sensors import tags

MAX_PIXELS = 11_000_000
"""Upper bound on the size of the finest picture (4 bytes a pixel)."""
MARGIN = 30.0
"""Metres of grass painted around the outermost lane."""
STEP = 1.0
"""Metres between the cross sections that are painted."""
SHRINK = 3
"""Ratio between the sizes of two successive pictures."""

_SHIFT = 4
_GOVERNING = ("1000001", "206", "205")


@dataclass(frozen=True)
class Ground:
    """Pictures of a map, rows along +y and columns along +x of CARLA's frame."""

    origin: tuple[float, float]
    """x, y in metres of the first pixel's outer corner."""
    resolutions: tuple[float, ...]
    """Metres per pixel of each colour picture, finest first."""
    colors: tuple[np.ndarray, ...]
    """BGRA, uint8 [H, W, 4] each."""
    tags: np.ndarray
    """Semantic tags at the finest resolution, uint8 [H, W]."""
    heights: np.ndarray | None
    """x, y, z in metres of points on the road, float32 [N, 3]; None where all are at 0."""

    def height(self, x: float, y: float) -> float:
        """Height in metres of the road nearest to a point."""
        if self.heights is None:
            return 0.0
        offset = self.heights[:, :2] - np.array((x, y), np.float32)
        return float(self.heights[np.argmin((offset * offset).sum(1)), 2])


class _Painter:
    """Draws polygons given in metres into the finest pictures."""

    def __init__(self, origin: np.ndarray, resolution: float, size: tuple[int, int]) -> None:
        self.origin, self.resolution = origin, resolution
        self.colors = _grass(size)
        self.tags = np.full(size, tags.TERRAIN, np.uint8)

    def polygons(self, points: Any, color: tags.Color, tag: int) -> None:
        """Fill convex polygons, float [N, K, 2] in metres."""
        pixels = (np.asarray(points, np.float64) - self.origin) / self.resolution - 0.5
        corners = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
        opaque = (*color, 255)
        for corner in corners:
            cv2.fillConvexPoly(self.colors, corner, opaque, cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(self.tags, corner, tag, cv2.LINE_8, _SHIFT)


def _grass(size: tuple[int, int]) -> np.ndarray:
    """A meadow with soft patches, BGRA uint8 [H, W, 4]."""
    height, width = size
    noise = np.random.default_rng(7).normal(0.0, 7.0, (height // 24 + 2, width // 24 + 2, 1))
    coarse = np.full((*noise.shape[:2], 4), 255, np.uint8)
    coarse[..., :3] = np.clip(noise + tags.GRASS, 0, 255)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class _Strip:
    """Cross sections along one lane, N of them."""

    waypoints: list[Any]
    centers: np.ndarray
    """Metres, [N, 2]."""
    heights: np.ndarray
    """Metres, [N]."""
    forward: np.ndarray
    """Unit vectors, [N, 2]."""
    right: np.ndarray
    """Unit vectors, [N, 2]."""
    half: np.ndarray
    """Half widths in metres, [N, 1]."""

    @classmethod
    def of(cls, waypoints: list[Any]) -> _Strip:
        poses = [waypoint.transform for waypoint in waypoints]
        spots = np.array([(p.location.x, p.location.y, p.location.z) for p in poses])
        yaw = np.radians([pose.rotation.yaw for pose in poses])
        forward = np.column_stack([np.cos(yaw), np.sin(yaw)])
        right = np.column_stack([-forward[:, 1], forward[:, 0]])
        half = np.array([[waypoint.lane_width / 2.0] for waypoint in waypoints])
        return cls(waypoints, spots[:, :2], spots[:, 2], forward, right, half)

    def bands(
        self, left: np.ndarray, right: np.ndarray, back: float = 0.6, ahead: float = 0.6
    ) -> np.ndarray:
        """Rectangles [N, 4, 2] across the lane between lateral offsets [N, 1], to the right."""
        start, end = self.centers - back * self.forward, self.centers + ahead * self.forward
        sides = (left * self.right, right * self.right)
        corners = (start + sides[0], end + sides[0], end + sides[1], start + sides[1])
        return np.stack(corners, 1)

    def edges(self, offset: float, half: float, side: int) -> np.ndarray:
        """Rectangles [N - 1, 4, 2] of a line along one side (-1 left) of the lane."""
        across = side * self.half + offset
        low = self.centers + (across - half) * self.right
        high = self.centers + (across + half) * self.right
        return np.stack([low[:-1], low[1:], high[1:], high[:-1]], 1)


def build(carla_map: Any) -> Ground:
    """Paint the ground of a map.

    Args:
        carla_map: the client library's ``carla.Map``.
    """
    lanes = [
        _Strip.of([start, *start.next_until_lane_end(STEP), end])
        for start, end in carla_map.get_topology()
    ]
    points = np.concatenate([lane.centers for lane in lanes])
    low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
    resolution = max(0.1, float(np.sqrt(np.prod(high - low) / MAX_PIXELS)))
    columns, rows = (int(count) for count in np.ceil((high - low) / resolution))
    painter = _Painter(low, resolution, (rows, columns))
    _paint_surfaces(painter, lanes)
    _paint_crosswalks(painter, carla_map.get_crosswalks())
    for lane in lanes:
        if not lane.waypoints[0].is_junction:
            _paint_marks(painter, lane)
            _paint_stop_line(painter, lane)
    colors = [painter.colors]
    for _ in range(2):
        size = (max(1, colors[-1].shape[1] // SHRINK), max(1, colors[-1].shape[0] // SHRINK))
        colors.append(cv2.resize(colors[-1], size, interpolation=cv2.INTER_AREA))
    resolutions = tuple(resolution * columns / picture.shape[1] for picture in colors)
    heights = np.concatenate([lane.heights for lane in lanes])
    relief = None
    if np.ptp(heights) > 0.05 or abs(heights[0]) > 0.05:
        relief = np.column_stack([points, heights]).astype(np.float32)
    origin = (float(low[0]), float(low[1]))
    return Ground(origin, resolutions, tuple(colors), painter.tags, relief)


def _paint_surfaces(painter: _Painter, lanes: list[_Strip]) -> None:
    """Sidewalks, then medians and verges, then the carriageway over them."""
    import carla

    kinds: dict[Any, tuple[tags.Color, int]] = {
        carla.LaneType.Sidewalk: (tags.PAVEMENT, tags.SIDEWALK),
        carla.LaneType.Shoulder: (tags.PAVEMENT, tags.SIDEWALK),
        carla.LaneType.Median: (tags.MEDIAN, tags.TERRAIN),
        carla.LaneType.Parking: (tags.ASPHALT, tags.ROAD),
        carla.LaneType.Biking: (tags.ASPHALT, tags.ROAD),
    }
    beside: dict[Any, list[Any]] = {kind: [] for kind in kinds}
    for lane in lanes:
        for waypoint in lane.waypoints:
            for other in _beside(waypoint, kinds):
                beside[other.lane_type].append(other)
    strips = {kind: _Strip.of(found) for kind, found in beside.items() if found}
    for kind, strip in strips.items():
        if kinds[kind][1] == tags.SIDEWALK:
            half = strip.half + 0.15
            painter.polygons(strip.bands(-half, half), tags.CURB, tags.SIDEWALK)
    for kind, strip in strips.items():
        painter.polygons(strip.bands(-strip.half, strip.half), *kinds[kind])
    for lane in lanes:
        painter.polygons(lane.bands(-lane.half, lane.half), tags.ASPHALT, tags.ROAD)


def _beside(waypoint: Any, kinds: Container[Any]) -> Iterator[Any]:
    """Lanes of these types next to a lane, to its right and to its left, on its own side.

    "Left" is seen along a lane: beyond the centre line it leads back again.
    """
    for neighbour in ("get_right_lane", "get_left_lane"):
        other, seen = getattr(waypoint, neighbour)(), {waypoint.lane_id}
        while other is not None and other.lane_type in kinds:
            if other.lane_id in seen or other.lane_id * waypoint.lane_id < 0:
                break
            seen.add(other.lane_id)
            yield other
            other = getattr(other, neighbour)()


def _paint_crosswalks(painter: _Painter, corners: list[Any]) -> None:
    """Stripes half a metre wide, half a metre apart, along the way of the cars."""
    rings: list[list[np.ndarray]] = [[]]
    for corner in corners:
        point = np.array([corner.x, corner.y])
        closes = len(rings[-1]) >= 3 and np.linalg.norm(point - rings[-1][0]) < 0.01
        if closes:
            rings.append([])
        else:
            rings[-1].append(point)
    for ring in rings:
        if len(ring) != 4:
            continue
        a, b, _, d = ring
        across, along = (b - a, d - a)
        if np.linalg.norm(across) > np.linalg.norm(along):
            across, along = along, across
        width = float(np.linalg.norm(along))
        unit = along / width
        start = a + np.arange(0.25, width - 0.5, 1.0)[:, None] * unit
        stripes = [start, start + 0.5 * unit, start + 0.5 * unit + across, start + across]
        painter.polygons(np.stack(stripes, 1), tags.WHITE, tags.ROAD_LINE)


def _paint_marks(painter: _Painter, lane: _Strip) -> None:
    """Lane markings along both sides of one lane; broken ones are 3 m long, 3 m apart."""
    for side, attribute in ((-1, "left_lane_marking"), (1, "right_lane_marking")):
        marks = [getattr(waypoint, attribute) for waypoint in lane.waypoints[:-1]]
        groups: dict[tuple[str, str, float], list[int]] = {}
        for index, mark in enumerate(marks):
            name = str(mark.type)
            if name in ("NONE", "Other", "Curb", "Grass"):
                continue
            if name == "Broken" and lane.waypoints[index].s % 6.0 > 3.0:
                continue
            groups.setdefault((name, str(mark.color), mark.width), []).append(index)
        for (name, paint, width), indices in groups.items():
            color = tags.YELLOW if paint == "Yellow" else tags.WHITE
            double = name in ("SolidSolid", "BrokenBroken", "SolidBroken", "BrokenSolid")
            for shift in (-0.13, 0.13) if double else (0.0,):
                lines = lane.edges(shift, max(width, 0.12) / 2.0, side)[indices]
                painter.polygons(lines, color, tags.ROAD_LINE)


def _paint_stop_line(painter: _Painter, lane: _Strip) -> None:
    """A line across the end of a lane that a light or sign governs."""
    last, before = lane.waypoints[-1], lane.waypoints[max(-5, -len(lane.waypoints))]
    ahead = [*last.get_landmarks(3.0, False), *before.get_landmarks(6.0, False)]
    if any(mark.type in _GOVERNING for mark in ahead):
        half = lane.half - 0.1
        line = lane.bands(-half, half, back=0.5, ahead=-0.05)[-1:]
        painter.polygons(line, tags.WHITE, tags.ROAD_LINE)
