"""Bodies of actors and scenery as flat quadrilaterals.

A shape lives in the unit cube of its bounding box ([-1, 1] along x forward, y right, z up) and is
scaled by the half sizes. Quadrilaterals are in painting order for one convex-ish body: body,
then what lies on it, then what stands on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from robo.sim.carla.standin.sensors import tags

PAINT: tags.Color = (-1, -1, -1)
"""Stands for the actor's own colour."""


@dataclass(frozen=True)
class Shape:
    """Quadrilaterals of a body, Q of them."""

    vertices: np.ndarray
    """float32 [Q, 4, 3], anticlockwise or clockwise alike: outward by cross(v1 - v0, v3 - v0)."""
    colors: np.ndarray
    """Blue, green, red as int16 [Q, 3]; -1 for the actor's own colour."""
    tags: np.ndarray
    """Semantic tags, uint8 [Q]; 0 for the actor's own."""
    fine: np.ndarray
    """Whether a quadrilateral is a detail left out far away, bool [Q]."""
    glow: np.ndarray
    """Whether it shines by itself (no shading), bool [Q]."""


class Modeller:
    """Collects quadrilaterals in painting order."""

    def __init__(self) -> None:
        """Nothing added yet."""
        self._rows: list[tuple[np.ndarray, tags.Color, int, bool, bool]] = []

    def quad(
        self,
        corners: Sequence[Sequence[float]],
        color: tags.Color,
        inside: Sequence[float] = (0.0, 0.0, 0.0),
        tag: int = 0,
        fine: bool = False,
        glow: bool = False,
    ) -> None:
        """Add one quadrilateral that faces away from the point ``inside``."""
        points = np.array(corners, np.float32)
        # Rotations keep the orientation, so facing outward once is enough.
        normal = np.cross(points[1] - points[0], points[3] - points[0])
        if normal @ (points.mean(0) - np.asarray(inside, np.float32)) < 0.0:
            points = points[::-1]
        self._rows.append((points, color, tag, fine, glow))

    def prism(
        self,
        low: Sequence[float],
        high: Sequence[float],
        color: tags.Color,
        top: tags.Color | None = None,
        taper: tuple[float, float, float] = (0.0, 0.0, 0.0),
        tag: int = 0,
        fine: bool = False,
    ) -> None:
        """Add a box without a bottom, whose top is narrower by ``taper`` (rear, front, sides)."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        rear, front, side = taper
        base = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
        lid = [
            (x0 + rear, y0 + side, z1),
            (x1 - front, y0 + side, z1),
            (x1 - front, y1 - side, z1),
            (x0 + rear, y1 - side, z1),
        ]
        inside = ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
        for i in range(4):
            j = (i + 1) % 4
            self.quad([base[i], base[j], lid[j], lid[i]], color, inside, tag, fine)
        self.quad(lid, color if top is None else top, inside, tag, fine)

    def shape(self) -> Shape:
        """Everything added so far."""
        vertices, colors, kinds, fine, glow = zip(*self._rows, strict=True)
        return Shape(
            np.array(vertices, np.float32),
            np.array(colors, np.int16),
            np.array(kinds, np.uint8),
            np.array(fine, bool),
            np.array(glow, bool),
        )


def _pair(
    model: Modeller, x: float, ys: Iterable[float], zs: tuple[float, float], color: tags.Color
) -> None:
    """Two lamps on the front (x > 0) or the rear of a vehicle, mirrored."""
    near, far = ys
    for side in (-1.0, 1.0):
        corners = [
            (x, side * y, z) for y, z in zip((near, far, far, near), np.repeat(zs, 2), strict=True)
        ]
        model.quad(corners, color, fine=True, glow=True)


def _wheels(model: Modeller, xs: Sequence[float], radius: float, top: float) -> None:
    for side in (-1.01, 1.01):
        for x in xs:
            for wide, low, high in ((radius, -0.75, top - 0.1), (0.6 * radius, -1.0, top)):
                corners = [
                    (x - wide, side, low),
                    (x + wide, side, low),
                    (x + wide, side, high),
                    (x - wide, side, high),
                ]
                model.quad(corners, tags.RUBBER, fine=True)


@cache
def car() -> Shape:
    """A saloon: body, wheels, lamps, and a cabin of glass under a painted roof."""
    model = Modeller()
    model.prism((-1, -1, -0.72), (1, 1, 0.12), PAINT, taper=(0.04, 0.08, 0.04))
    _wheels(model, (-0.6, 0.62), 0.145, -0.15)
    _pair(model, 0.99, (0.5, 0.9), (-0.3, -0.08), tags.HEADLIGHT)
    _pair(model, -1.0, (0.5, 0.92), (-0.2, 0.02), tags.TAILLIGHT)
    model.quad(
        [(-1.0, -0.25, -0.4), (-1.0, 0.25, -0.4), (-1.0, 0.25, -0.2), (-1.0, -0.25, -0.2)],
        tags.WHITE,
        fine=True,
    )
    model.prism((-0.82, -0.9, 0.12), (0.46, 0.9, 1.0), tags.GLASS, PAINT, (0.26, 0.34, 0.16))
    for side in (-1.0, 1.0):
        pillar = [
            (-0.22, side * 0.905, 0.12),
            (-0.12, side * 0.905, 0.12),
            (-0.14, side * 0.745, 1.0),
            (-0.22, side * 0.745, 1.0),
        ]
        model.quad(pillar, PAINT, fine=True)
    return model.shape()


@cache
def van() -> Shape:
    """Vans, trucks and buses: a tall body with glass around its upper half."""
    model = Modeller()
    model.prism((-1, -1, -0.8), (1, 1, 1.0), PAINT, taper=(0.02, 0.06, 0.04))
    _wheels(model, (-0.62, 0.64), 0.12, -0.45)
    for side in (-1.0, 1.0):
        strip = [
            (-0.9, side * 0.99, 0.2),
            (0.86, side * 0.99, 0.2),
            (0.84, side * 0.975, 0.72),
            (-0.9, side * 0.975, 0.72),
        ]
        model.quad(strip, tags.GLASS)
    for x, low, inset in ((0.98, 0.1, 0.02), (-1.0, 0.25, -0.02)):
        pane = [(x, -0.88, low), (x, 0.88, low), (x - inset, 0.85, 0.75), (x - inset, -0.85, 0.75)]
        model.quad(pane, tags.GLASS)
    _pair(model, 1.0, (0.55, 0.9), (-0.55, -0.35), tags.HEADLIGHT)
    _pair(model, -1.0, (0.7, 0.92), (-0.5, -0.25), tags.TAILLIGHT)
    return model.shape()


@cache
def two_wheeler() -> Shape:
    """A bicycle or motorcycle with its rider."""
    model = Modeller()
    for x in (-0.66, 0.66):
        model.prism((x - 0.34, -0.12, -1), (x + 0.34, 0.12, -0.15), tags.RUBBER)
    model.prism((-0.7, -0.25, -0.35), (0.7, 0.25, 0.02), PAINT)
    model.prism((0.4, -0.9, 0.1), (0.52, 0.9, 0.2), tags.METAL, fine=True)
    model.prism((-0.4, -0.55, 0.0), (0.1, 0.55, 0.7), tags.CLOTHES[1], tag=tags.RIDER)
    model.prism((-0.2, -0.35, 0.7), (0.1, 0.35, 1.15), tags.SKIN, tags.RUBBER, tag=tags.RIDER)
    return model.shape()


@cache
def person() -> Shape:
    """A pedestrian: legs, coat, head with hair."""
    model = Modeller()
    model.prism((-0.5, -0.7, -1.0), (0.5, -0.06, -0.1), (96, 70, 56))
    model.prism((-0.5, 0.06, -1.0), (0.5, 0.7, -0.1), (96, 70, 56))
    model.prism((-0.7, -1.0, -0.15), (0.7, 1.0, 0.64), PAINT, taper=(0.1, 0.1, 0.15))
    model.prism((-0.5, -0.5, 0.66), (0.5, 0.5, 1.0), tags.SKIN, (40, 50, 70))
    return model.shape()


@cache
def block() -> Shape:
    """A plain box in the actor's own colour."""
    model = Modeller()
    model.prism((-1, -1, -1), (1, 1, 1), PAINT)
    return model.shape()


@cache
def traffic_light() -> Shape:
    """A post with three lamps, in metres; lamps (red, yellow, green) are the last three."""
    model = Modeller()
    model.prism((-0.07, -0.07, 0.0), (0.07, 0.07, 3.0), tags.METAL, tag=tags.POLE)
    model.prism((-0.2, -0.24, 2.6), (0.12, 0.24, 3.8), (30, 34, 34), tag=tags.TRAFFIC_LIGHT)
    for index, color in enumerate(tags.DARK_LAMPS):
        z = 3.6 - 0.4 * index
        corners = [(-0.21, y, z + dz) for y, dz in ((-0.16, -0.16), (0.16, -0.16), (0.16, 0.16))]
        corners.append((-0.21, -0.16, z + 0.16))
        model.quad(corners, color, (0.0, 0.0, z), tags.TRAFFIC_LIGHT, glow=True)
    return model.shape()


@cache
def sign(kind: str) -> Shape:
    """A road sign on a post, in metres: ``stop``, ``yield`` or any other (a speed limit)."""
    model = Modeller()
    model.prism((-0.04, -0.04, 0.0), (0.04, 0.04, 2.6), tags.METAL, tag=tags.POLE)
    center = (0.0, 0.0, 2.5)

    def plate(points: Sequence[tuple[float, float]], color: tags.Color, x: float) -> None:
        corners = [(x, y, 2.5 + z) for y, z in points]
        model.quad(corners, color, center, tags.TRAFFIC_SIGN)

    def octagon(size: float, color: tags.Color, x: float) -> None:
        cut = 0.41 * size
        for wide, tall in ((size, cut), (cut, size)):
            plate([(-wide, -tall), (wide, -tall), (wide, tall), (-wide, tall)], color, x)
        corner = 0.707 * size
        plate(
            [(-corner, -corner), (corner, -corner), (corner, corner), (-corner, corner)], color, x
        )

    for x, front in ((0.05, False), (-0.05, True)):
        red, white = ((40, 34, 200), tags.WHITE) if front else (tags.METAL, tags.METAL)
        if kind == "yield":
            plate([(-0.45, 0.35), (0.45, 0.35), (0.02, -0.45), (-0.02, -0.45)], red, x)
            if front:
                plate([(-0.27, 0.24), (0.27, 0.24), (0.02, -0.24), (-0.02, -0.24)], white, x)
        elif kind == "stop":
            octagon(0.4, red, x)
            if front:
                plate([(-0.28, -0.09), (0.28, -0.09), (0.28, 0.09), (-0.28, 0.09)], white, x)
        else:
            octagon(0.35, red, x)
            if front:
                octagon(0.25, white, x)
                plate([(-0.12, -0.09), (0.12, -0.09), (0.12, 0.09), (-0.12, 0.09)], tags.RUBBER, x)
    return model.shape()


@cache
def tree() -> Shape:
    """A street tree in metres: trunk and crown."""
    model = Modeller()
    model.prism((-0.14, -0.14, 0.0), (0.14, 0.14, 2.4), (50, 72, 96), tag=tags.VEGETATION)
    leaves = (56, 112, 70)
    narrow = (0.75, 0.75, 0.75)
    model.prism((-1.3, -1.3, 2.2), (1.3, 1.3, 5.6), leaves, taper=narrow, tag=tags.VEGETATION)
    return model.shape()


def building(half: Sequence[float], color: tags.Color) -> Shape:
    """A house in metres (half sizes), with a strip of windows on each storey."""
    model = Modeller()
    x, y, z = half
    model.prism((-x, -y, 0.0), (x, y, 2 * z), color, tags.ROOF)
    storeys = max(1, int(2 * z / 3.2))
    for storey in range(storeys):
        low = 3.2 * storey + 1.0
        for sign_ in (-1.0, 1.0):
            for wall in (
                [(sign_ * x, -y + 1, low), (sign_ * x, y - 1, low)],
                [(-x + 1, sign_ * y, low), (x - 1, sign_ * y, low)],
            ):
                upper = [(a, b, low + 1.5) for a, b, _ in reversed(wall)]
                model.quad([*wall, *upper], tags.WINDOW, (0.0, 0.0, low + 0.75), fine=True)
    return model.shape()
