"""CaRL's bird's-eye raster, computed from map and actors; nothing is rendered by the simulator.

Ten channels, uint8, the ego's heading up (arXiv 2504.17838 and its released configuration):

==  ===================  =======================================================================
0   road                 255 on driving and parking lanes
1   route                255: discs of radius 3 px at those of the next 150 route points that lie
                         in a junction
2   lane markings        255; broken white ones 127
3   vehicles             127 + int(128 clip(v + 2.67, 0, 36) / 36), v in m/s along the heading;
                         the way of the next second as a line; lights as 1 m squares
4   pedestrians          as vehicles
5   stop lines           of traffic lights: green 80, yellow 170 (to 255 in its last 3 s), red 255
6   stop signs           255 on the zone before a sign that is ahead and not yet served
7   speed-limit signs    2 m squares, coded as vehicles are, with the limit in m/s
8   static props         255
9   shoulders            255
==  ===================  =======================================================================

Sizes in px are those at 2 px/m; at other resolutions they cover the same metres, one pixel at
least. Open doors, which CaRL draws too, are not known to the public client API.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.sim.carla.birdseye_map import SUBPIXEL_BITS, town_raster
from robo.sim.carla.driving_state import GREEN, RED, YELLOW, Bodies, DrivingState
from robo.sim.carla.infractions.stop_sign import ZONE_LENGTH
from robo.sim.carla.map_cache import MapCache
from robo.sim.carla.routes import Route
from robo.sim.carla.traffic_rules import light_stop_lines, speed_signs, stop_sign_lines

if TYPE_CHECKING:
    import carla

CHANNELS = (
    "road",
    "route",
    "lane_markings",
    "vehicles",
    "pedestrians",
    "stop_lines",
    "stop_signs",
    "speed_limits",
    "static_props",
    "shoulder",
)
ROAD, ROUTE, MARKINGS, VEHICLES, PEDESTRIANS, LINES, SIGNS, LIMITS, STATICS, SHOULDER = range(10)
RANGE, HEIGHT = 128.0, 8.0
"""m: bodies farther away, or that much higher or lower, are left out."""
MARGIN, FARTHEST = 4.0, 40.0
"""m beside the picture at which points are drawn still, and at most the middles of bodies."""
MIN_EXTENT = 0.8
"""m: smaller half sizes are drawn as this."""
ROUTE_POINTS = 150
EMERGENCY, LEFT_BLINKER, RIGHT_BLINKER, BRAKE = 22, 44, 77, 111
"""Values of vehicle lights."""
YELLOW_VALUE, YELLOW_RAMP = 170, 3.0
"""Value of a yellow light, and the s before red over which it grows to 255."""
GREEN_VALUE = int(0.315 * 255)

# Flag of carla.VehicleLightState, value, and place in half lengths and widths of the box. The
# source gives values and size only; the places are ours, apart from each other.
_LIGHTS = (
    (512, EMERGENCY, 0.0, 0.0),
    (32, LEFT_BLINKER, 0.8, -0.6),
    (16, RIGHT_BLINKER, 0.8, 0.6),
    (8, BRAKE, -0.8, 0.0),
)
_ANY_LIGHT = 512 | 32 | 16 | 8
_ASIDE = np.array([-1.0, 1.0])
_CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])


@dataclass(frozen=True)
class BirdseyeConfig:
    """Size and scale; 256 at 2 px/m is CaRL's, 64 at 0.5 px/m shows the same 128 x 128 m."""

    size: int = 256
    """Pixels along each side."""
    pixels_per_meter: float = 2.0
    """Resolution."""
    meters_behind: float = 50.0
    """Metres from the ego to the lower edge."""
    route_outside_junctions: bool = False
    """Draw the route on plain road too, which CaRL does not."""


def speed_value(speed: np.ndarray) -> np.ndarray:
    """Grey value 127 to 255 that codes a speed in m/s (any shape), as int64."""
    return 127 + (128 * np.clip(speed + 2.67, 0.0, 36.0) / 36).astype(np.int64)


def light_values(state: np.ndarray, remaining: np.ndarray | None) -> np.ndarray:
    """Grey values of stop lines ``[S]``, 0 for lights that are off.

    Args:
        state: ``[S]``, as :attr:`DrivingState.light_state`.
        remaining: ``[S]``, s until the light changes, or None.
    """
    values = np.zeros(len(state), np.int64)
    values[state == GREEN] = GREEN_VALUE
    values[state == RED] = 255
    ramp = np.zeros(len(state))
    if remaining is not None:
        ramp = np.clip((YELLOW_RAMP - remaining) / YELLOW_RAMP, 0.0, 1.0)
    yellow = state == YELLOW
    values[yellow] = YELLOW_VALUE + ((255 - YELLOW_VALUE) * ramp[yellow]).astype(np.int64)
    return values


_light_lines = MapCache(light_stop_lines)
_sign_lines = MapCache(stop_sign_lines)
_speed_signs = MapCache(speed_signs)


class BirdseyeRenderer:
    """Draws frames of one town; the static layers are shared by all renderers of a process.

    Sets OpenCV to one thread, unless OPENCV_FOR_THREADS_NUM is set.
    """

    def __init__(self, map: carla.Map, config: BirdseyeConfig | None = None) -> None:
        """Draw or fetch the static layers of ``map``."""
        import cv2

        if "OPENCV_FOR_THREADS_NUM" not in os.environ:
            # Threads make warps this small forty times slower: they wait for each other.
            cv2.setNumThreads(1)
        self._cv2 = cv2
        self.config = config or BirdseyeConfig()
        scale = self.config.pixels_per_meter
        self._town = town_raster(map, scale)
        self._lines = _light_lines(map)
        self._signs = _sign_lines(map)
        self._limits = _speed_signs(map)
        self._limit_values = speed_value(self._limits.limit)
        facing = np.stack([np.cos(self._limits.yaw), np.sin(self._limits.yaw)], 1)
        self._limit_boxes = _boxes(self._limits.center[:, :2], facing, np.ones_like(facing))
        size = self.config.size
        self._warped = np.empty((size, size, 3), np.uint8)
        self._back = np.empty((2, 3))
        self._radius = max(1, round(3 * scale / 2))
        self._thickness = max(1, round(3 * scale / 2))
        self._stamp = _DiscStamp(cv2, size, self._radius, math.ceil(MARGIN * scale))
        # Column and row of the ego, as continuous pixel coordinates.
        self._column = size / 2
        self._row = size - self.config.meters_behind * scale

    def render(
        self,
        state: DrivingState,
        route: Route,
        next_point: int,
        active_stop_signs: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """One frame.

        Args:
            state: What to draw. Its static props should leave out dirt and debris, as CaRL does.
            route: The route that is driven.
            next_point: Index of the first route point still ahead.
            active_stop_signs: bool, one for each line of ``stop_sign_lines(map)``; None for none.
            out: uint8 ``[10, size, size]``, C-contiguous, to draw into; None makes a new one.

        Returns:
            uint8 ``[10, size, size]``; rows run from ahead to behind, columns from left to right.
        """
        size = self.config.size
        if out is None:
            out = np.zeros((len(CHANNELS), size, size), np.uint8)
        else:
            out[1:SHOULDER] = 0
        self._view(state)
        self._draw_map(out)
        self._draw_route(out[ROUTE], route, next_point)
        self._draw_bodies(out[VEHICLES], state.vehicles, state, lights=True)
        self._draw_bodies(out[PEDESTRIANS], state.walkers, state)
        self._draw_bodies(out[STATICS], state.statics, state, value=255)
        self._draw_stop_lines(out[LINES], state)
        self._draw_signs(out, active_stop_signs)
        return out

    def _view(self, state: DrivingState) -> None:
        """World to pixels, for a point p: ``self._turn @ p + self._shift`` (pixel centres)."""
        scale = self.config.pixels_per_meter
        cos, sin = np.cos(state.ego.yaw), np.sin(state.ego.yaw)
        self._turn = scale * np.array([[-sin, cos], [-cos, -sin]])
        middle = np.array([self._column - 0.5, self._row - 0.5])
        self._shift = middle - self._turn @ state.ego.location[:2]

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """Fixed-point pixel coordinates of world points ``[..., 2]``."""
        scaled = (points @ self._turn.T + self._shift) * (1 << SUBPIXEL_BITS)
        return np.rint(scaled).astype(np.int32)

    def _inside(self, pixels: np.ndarray, margin: float | np.ndarray = MARGIN) -> np.ndarray:
        """Which pixels ``[K, 2]`` are within ``margin`` m (one, or ``[K, 1]``) of the picture."""
        edge = margin * self.config.pixels_per_meter
        inside = (pixels >= -edge) & (pixels < self.config.size + edge)
        return inside[:, 0] & inside[:, 1]

    def _in_view(self, points: np.ndarray) -> np.ndarray:
        """Indices of the world points ``[K, 2]`` that lie in the picture or just beside it."""
        return self._inside(points @ self._turn.T + self._shift).nonzero()[0]

    def _draw_map(self, out: np.ndarray) -> None:
        cv2 = self._cv2
        # From pixels of the frame to pixels of the town.
        back = np.linalg.inv(self._turn)
        scale = self._town.pixels_per_meter
        matrix = self._back
        matrix[:, :2] = scale * back
        matrix[:, 2] = scale * (-back @ self._shift - self._town.origin) - 0.5
        cv2.warpAffine(
            self._town.image,
            matrix,
            (self.config.size, self.config.size),
            dst=self._warped,
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderValue=(0, 0, 0),
        )
        for channel, target in enumerate((ROAD, MARKINGS, SHOULDER)):
            cv2.extractChannel(self._warped, channel, out[target])

    def _draw_route(self, layer: np.ndarray, route: Route, next_point: int) -> None:
        window = slice(next_point, next_point + ROUTE_POINTS)
        points = route.points[window, :2]
        if not self.config.route_outside_junctions:
            points = points[route.in_junction[window]]
        pixels = points @ self._turn.T + self._shift
        pixels = np.rint(pixels[self._inside(pixels)]).astype(np.int64)
        if len(pixels):
            self._stamp(layer, pixels)

    def _draw_bodies(
        self,
        layer: np.ndarray,
        bodies: Bodies,
        state: DrivingState,
        value: int | None = None,
        lights: bool = False,
    ) -> None:
        if not len(bodies):
            return
        cv2 = self._cv2
        index = self._near(bodies, state)
        if not len(index):
            return
        center, heading = bodies.center[index, :2], bodies.heading[index]
        extent = np.maximum(bodies.extent[index, :2], MIN_EXTENT)
        boxes = self._pixels(_boxes(center, heading, extent))
        if value is not None:
            for box in boxes:
                cv2.fillPoly(layer, [box], value, shift=SUBPIXEL_BITS)
            return
        speed = bodies.forward_speed[index]
        ways = self._pixels(np.stack([center, center + speed[:, None] * heading], 1)).tolist()
        for box, way, code in zip(boxes, ways, speed_value(speed).tolist(), strict=True):
            cv2.fillPoly(layer, [box], code, shift=SUBPIXEL_BITS)
            cv2.line(layer, way[0], way[1], code, 1, cv2.LINE_8, SUBPIXEL_BITS)
        if lights:
            lit = np.flatnonzero(bodies.lights[index] & _ANY_LIGHT)
            self._draw_lights(
                layer, bodies.lights[index][lit], center[lit], heading[lit], extent[lit]
            )

    def _near(self, bodies: Bodies, state: DrivingState) -> np.ndarray:
        """Indices of the bodies that are near and leave a mark in the picture."""
        reach = bodies.extent[:, 0] + bodies.extent[:, 1] + np.abs(bodies.forward_speed)
        # Box, way and lights, drawn a little larger than they are.
        margin = np.minimum(reach + (2.4 + 2.0 / self.config.pixels_per_meter), FARTHEST)
        pixels = bodies.center[:, :2] @ self._turn.T + self._shift
        index = self._inside(pixels, margin[:, None]).nonzero()[0]
        if not len(index):
            return index
        away = bodies.center[index] - state.ego.location
        near = (np.hypot(away[:, 0], away[:, 1]) <= RANGE) & (np.abs(away[:, 2]) < HEIGHT)
        return index[near]

    def _draw_lights(
        self,
        layer: np.ndarray,
        flags: np.ndarray,
        center: np.ndarray,
        heading: np.ndarray,
        extent: np.ndarray,
    ) -> None:
        """Squares of 1 m, over the vehicles that are lit."""
        aside = heading[:, ::-1] * _ASIDE
        for flag, value, along, across in _LIGHTS:
            on = (flags & flag) > 0
            if not on.any():
                continue
            place = (
                center[on]
                + along * extent[on, :1] * heading[on]
                + across * extent[on, 1:] * aside[on]
            )
            for square in self._pixels(_boxes(place, heading[on], np.full((len(place), 2), 0.5))):
                self._cv2.fillPoly(layer, [square], value, shift=SUBPIXEL_BITS)

    def _draw_stop_lines(self, layer: np.ndarray, state: DrivingState) -> None:
        cv2 = self._cv2
        if not len(self._lines) or not len(state.light_state):
            return
        shown = self._in_view(self._lines.center[:, :2])
        if not len(shown):
            return
        remaining = None if state.light_remaining is None else state.light_remaining[shown]
        values = light_values(state.light_state[shown], remaining).tolist()
        # Whole pixels, so that a line is as thick as it should be.
        pixels = np.rint(self._lines.ends[shown] @ self._turn.T + self._shift).astype(np.int64)
        for ends, value in zip(pixels.tolist(), values, strict=True):
            if value:
                cv2.line(layer, ends[0], ends[1], value, self._thickness)

    def _draw_signs(self, out: np.ndarray, active: np.ndarray | None) -> None:
        cv2 = self._cv2
        if active is not None and active.any():
            lines = self._signs
            heading = np.stack([np.cos(lines.yaw[active]), np.sin(lines.yaw[active])], 1)
            middle = lines.center[active, :2] - heading * ZONE_LENGTH / 2
            half = lines.half_width[active]
            extent = np.stack([np.full(len(half), ZONE_LENGTH / 2), half], 1)
            for box in self._pixels(_boxes(middle, heading, extent)):
                cv2.fillPoly(out[SIGNS], [box], 255, shift=SUBPIXEL_BITS)
        limits = self._limits
        shown = self._in_view(limits.center[:, :2]) if len(limits.yaw) else ()
        if len(shown):
            values = self._limit_values[shown].tolist()
            for box, value in zip(self._pixels(self._limit_boxes[shown]), values, strict=True):
                cv2.fillPoly(out[LIMITS], [box], value, shift=SUBPIXEL_BITS)


class _DiscStamp:
    """Sets equal discs in a picture, all at once: OpenCV would take a call for each."""

    def __init__(self, cv2: Any, size: int, radius: int, margin: int) -> None:
        """Discs as OpenCV draws them.

        Args:
            cv2: the module.
            size: of the picture, pixels.
            radius: of the discs, pixels.
            margin: pixels beside the picture where centres may lie.
        """
        self._size, self._pad = size, margin + radius + 1
        self._width = size + 2 * self._pad
        self._canvas = np.zeros((self._width, self._width), np.uint8)
        middle = self._width // 2
        cv2.circle(self._canvas, (middle, middle), radius, 255, -1)
        self._disc = np.flatnonzero(self._canvas) - middle * (self._width + 1)
        self._canvas[:] = 0

    def __call__(self, layer: np.ndarray, centers: np.ndarray) -> None:
        """Overwrite ``layer [size, size]`` with discs of 255 at ``centers`` (column, row)."""
        pad, size = self._pad, self._size
        first = (centers[:, 1] + pad) * self._width + (centers[:, 0] + pad)
        cells = (first[:, None] + self._disc).reshape(-1)
        flat = self._canvas.reshape(-1)
        flat[cells] = 255
        layer[:] = self._canvas[pad : pad + size, pad : pad + size]
        flat[cells] = 0


def _boxes(center: np.ndarray, heading: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Corners ``[K, 4, 2]`` of boxes: centres, unit headings and half sizes, ``[K, 2]`` each."""
    aside = heading[:, ::-1] * _ASIDE
    reach = _CORNERS[None] * extent[:, None]
    return center[:, None] + reach[..., :1] * heading[:, None] + reach[..., 1:] * aside[:, None]
