"""The static layers of a town as one raster, drawn from ``carla.Map`` once per process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robo.sim.carla.map_cache import MapCache

if TYPE_CHECKING:
    import carla

ROAD, MARKING, SHOULDER = range(3)
"""Channels of the raster."""
SOLID_VALUE, BROKEN_WHITE_VALUE = 255, 127
SUBPIXEL_BITS = 4
"""Fractional bits of the coordinates that OpenCV draws at."""
SPACING = 1.0
"""m between samples along a lane."""
BORDER = 5.0
"""m around the outermost lane."""
MIN_RESOLUTION = 2.0
"""px/m that the raster has at least: coarser frames pick pixels of it, which keeps edges true."""
LARGEST_GAP = 2 * SPACING
"""m up to which the rest of a lane, behind its last sample, is filled."""


@dataclass(frozen=True)
class TownRaster:
    """Road, lane markings and shoulders, seen from above: x to the right, y down."""

    image: np.ndarray
    """uint8 ``[H, W, 3]``: road and shoulder 0 or 255, markings 0, 127 or 255."""
    origin: np.ndarray
    """float64 ``[2]``, m: world x, y of the outer corner of pixel (0, 0)."""
    pixels_per_meter: float


@dataclass
class _Strip:
    """A piece of one lane: its edges, and what is painted on them."""

    layer: int
    left: np.ndarray
    """float64 ``[K, 2]``, m."""
    right: np.ndarray
    """float64 ``[K, 2]``, m."""
    left_marking: list[int]
    """Value painted from each sample to the next; 0 for nothing."""
    right_marking: list[int]


class _MapReader:
    """Strips of all lanes that the raster shows."""

    def __init__(self, map: carla.Map) -> None:
        import carla

        self._map = map
        lane, marking = carla.LaneType, carla.LaneMarkingType
        self._layers = {lane.Driving: ROAD, lane.Parking: ROAD, lane.Shoulder: SHOULDER}
        self._driving = lane.Driving
        self._unpainted = (marking.NONE, marking.Curb, marking.Grass)
        self._broken = marking.Broken
        self._white = carla.LaneMarkingColor.White

    def strips(self) -> Iterator[_Strip]:
        """Every driving lane, and the parking lanes and shoulders beside it."""
        seen = set()
        following: dict[tuple[int, int, int], list[carla.Waypoint]] = {}
        for start, end in self._map.get_topology():
            following.setdefault((start.road_id, start.section_id, start.lane_id), []).append(end)
        for start, _ in self._map.get_topology():
            key = (start.road_id, start.section_id, start.lane_id)
            if key in seen:
                continue
            seen.add(key)
            waypoints = [start, *start.next_until_lane_end(SPACING)]
            gap = min(_apart(waypoints[-1], end) for end in following[key])
            rest = gap if gap <= LARGEST_GAP else 0.0
            yield self._strip(waypoints, ROAD, rest)
            for to_left in (False, True):
                yield from self._beside(waypoints, to_left, rest)

    def _beside(
        self, waypoints: list[carla.Waypoint], to_left: bool, rest: float
    ) -> Iterator[_Strip]:
        """Strips of lanes that are not driven on, from the driving lane outwards."""
        while True:
            pieces: list[tuple[int, list[carla.Waypoint]]] = []
            current = None
            outer = []
            for waypoint in waypoints:
                lane = waypoint.get_left_lane() if to_left else waypoint.get_right_lane()
                # Beyond the middle of the road, "left" turns round: stop there.
                if (
                    lane is None
                    or lane.lane_type == self._driving
                    or lane.lane_id * waypoint.lane_id < 0
                ):
                    current = None
                    continue
                outer.append(lane)
                layer = self._layers.get(lane.lane_type)
                if layer is None:
                    current = None
                elif pieces and current == layer:
                    pieces[-1][1].append(lane)
                else:
                    pieces.append((layer, [lane]))
                    current = layer
            for layer, piece in pieces:
                yield self._strip(piece, layer, rest)
            if not outer:
                return
            waypoints = outer

    def _strip(self, waypoints: list[carla.Waypoint], layer: int, rest: float) -> _Strip:
        place = np.array([(w.transform.location.x, w.transform.location.y) for w in waypoints])
        yaw = np.radians([w.transform.rotation.yaw for w in waypoints])
        half = np.array([w.lane_width for w in waypoints])[:, None] / 2
        across = np.stack([-np.sin(yaw), np.cos(yaw)], 1) * half
        # Samples end up to one step before the lane does: draw on straight ahead.
        on = rest * np.array([[np.cos(yaw[-1]), np.sin(yaw[-1])]])
        left, right = place - across, place + across
        return _Strip(
            layer,
            np.concatenate([left, left[-1:] + on]),
            np.concatenate([right, right[-1:] + on]),
            [self._paint(w, w.left_lane_marking) for w in waypoints],
            [self._paint(w, w.right_lane_marking) for w in waypoints],
        )

    def _paint(self, waypoint: carla.Waypoint, marking: carla.LaneMarking) -> int:
        if waypoint.is_junction or marking is None or marking.type in self._unpainted:
            return 0
        broken_white = marking.type == self._broken and marking.color == self._white
        return BROKEN_WHITE_VALUE if broken_white else SOLID_VALUE


def _apart(a: carla.Waypoint, b: carla.Waypoint) -> float:
    return float(a.transform.location.distance(b.transform.location))


def draw_town(map: carla.Map, pixels_per_meter: float) -> TownRaster:
    """Raster of a town for frames of ``pixels_per_meter``; see :func:`town_raster`."""
    import cv2

    # Nearly one pixel of a coarse frame, so that lines stay lines (OpenCV paints 2 as 3).
    thickness = max(1, round(0.5 * MIN_RESOLUTION / pixels_per_meter))
    pixels_per_meter = max(pixels_per_meter, MIN_RESOLUTION)

    strips = list(_MapReader(map).strips())
    edges = [strip.left for strip in strips] + [strip.right for strip in strips]
    outline = np.concatenate(edges) if edges else np.zeros((1, 2))
    origin = outline.min(0) - BORDER
    width, height = np.ceil((outline.max(0) + BORDER - origin) * pixels_per_meter).astype(int)
    layers = [np.zeros((height, width), np.uint8) for _ in range(3)]

    def pixels(points: np.ndarray) -> np.ndarray:
        # OpenCV's integers are pixel centres.
        scaled = ((points - origin) * pixels_per_meter - 0.5) * (1 << SUBPIXEL_BITS)
        return np.round(scaled).astype(np.int32)

    for strip in strips:
        outline = pixels(np.concatenate([strip.left, strip.right[::-1]]))
        cv2.fillPoly(layers[strip.layer], [outline], 255, shift=SUBPIXEL_BITS)
    # Solid lines last: where they meet, the stricter one shows.
    for value in (BROKEN_WHITE_VALUE, SOLID_VALUE):
        for strip in strips:
            for edge, paint in (
                (strip.left, strip.left_marking),
                (strip.right, strip.right_marking),
            ):
                line = pixels(edge)
                pieces = [line[i : i + 2] for i, painted in enumerate(paint) if painted == value]
                cv2.polylines(layers[MARKING], pieces, False, value, thickness, shift=SUBPIXEL_BITS)
    return TownRaster(np.stack(layers, -1), origin, pixels_per_meter)


_RASTERS: dict[float, MapCache[TownRaster]] = {}


def town_raster(map: carla.Map, pixels_per_meter: float) -> TownRaster:
    """The raster of a town, drawn once per process (0.1 to 0.3 s for a small town).

    Args:
        map: The town.
        pixels_per_meter: Of the frames that are taken from it; the raster has at least 2 px/m.
    """
    if pixels_per_meter not in _RASTERS:
        _RASTERS[pixels_per_meter] = MapCache(lambda map: draw_town(map, pixels_per_meter))
    return _RASTERS[pixels_per_meter](map)
