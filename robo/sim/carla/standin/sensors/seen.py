"""Which quadrilaterals a camera sees, in which order they are painted: compiled (numba).

One pass over the bodies within reach, as numpy spends five times as long on a hundred small
arrays. Arguments are few tables of numbers, as what takes long to compile is an array, not a
line. Positions are in metres, x, y, z of the world's frame where nothing else is said.

Quadrilaterals (float32 [Q, 17]): corners 0-11, normal 12-14, distance of the plane from the
origin 15, pixels per metre from which it is drawn 16. Those of body i are the rows from
``starts[i]`` to ``starts[i + 1]``.

Fixed bodies (float64 [N, 12]), whose quadrilaterals are in the world's frame: place 0-2, radius
about it 3, half length 4 and half width 5 of a house (negative for other bodies), rows that turn
x, y, 1 into the frame of a house 6-8 and 9-11.

Actors' bodies (float64 [N, 19]), whose quadrilaterals are in local coordinates: place, radius,
half sizes of the box 4-6, its centre in local coordinates 7-9, rotation matrix 10-18.

Eye (float64 [15]): place 0-2, axes of the camera 3-11 (row by row; columns right, down, forward),
focal length, width and height in pixels 12-14.
"""

from __future__ import annotations

import math

import numba  # type: ignore[import-not-found]
import numpy as np

from robo.sim.carla.standin.sensors.camera import NEAR

REACH = 170.0
"""Metres up to which bodies are drawn."""
SMALLEST = 2.2
"""Apparent radius in pixels from which bodies are drawn."""


compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

Table = np.ndarray


@compiled
def visible(
    eye: Table, quads: Table, starts: Table, bodies: Table, own: Table, firsts: Table, actors: Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Quadrilaterals that a camera sees, from far to near.

    Args:
        eye: the camera.
        quads: of fixed bodies.
        starts: first row of each fixed body and, at the end, their number, int64 [N + 1].
        bodies: fixed bodies.
        own: quadrilaterals of actors.
        firsts: as ``starts``, of actors.
        actors: their bodies.

    Returns:
        Columns and rows of the corners in pixels, float64 [K, 5, 2], and how many there are, int64
        [K]: what reaches behind ``NEAR`` is cut off there, and may have five corners or none.
        Camera coordinates of the whole quadrilaterals, float32 [K, 4, 3]; rows, int64 [K] (of
        ``quads``, or -1 - row of ``own``).
    """
    fixed, most = len(bodies), len(quads) + len(own)
    rows, corners = np.empty(most, np.int64), np.empty((most, 12))
    # Of each body that is seen: itself, its first quadrilateral, its least and largest column.
    shown = np.empty((fixed + len(actors) + 1, 2), np.int64)
    spans = np.empty((fixed + len(actors), 2))
    seen = found = 0
    local = np.empty(3)
    for body in range(fixed + len(actors)):
        moves = body >= fixed
        table, item = (actors, body - fixed) if moves else (bodies, body)
        scale = _scale(eye, table, item)
        if scale == 0.0 or (moves and _inside(eye, actors, item, local)):
            continue
        if not moves:
            local[0], local[1], local[2] = eye[0], eye[1], eye[2]
        rim, first = firsts if moves else starts, found
        sides = own if moves else quads
        for row in range(rim[item], rim[item + 1]):
            toward = sides[row, 12] * local[0] + sides[row, 13] * local[1]
            toward += sides[row, 14] * local[2]
            if sides[row, 16] >= scale or toward <= sides[row, 15]:
                continue
            _place(eye, sides, row, actors, item, moves, corners, found)
            low, high = _columns(eye, corners, found)
            if low > high:
                continue
            spans[seen, 0] = low if found == first else min(spans[seen, 0], low)
            spans[seen, 1] = high if found == first else max(spans[seen, 1], high)
            rows[found] = -1 - row if moves else row
            found += 1
        if found > first:
            shown[seen, 0], shown[seen, 1] = body, first
            seen += 1
    shown[seen, 1] = found
    ranks = _ranks(eye, bodies, actors, shown, spans, seen)
    return _painted(eye, _order(ranks), shown, rows, corners, found)


@compiled
def _scale(eye: Table, bodies: Table, body: int) -> float:
    """Pixels per metre at a body; 0 for one that cannot be on the picture."""
    x, y, z = bodies[body, 0] - eye[0], bodies[body, 1] - eye[1], bodies[body, 2] - eye[2]
    radius, depth = bodies[body, 3], x * eye[5] + y * eye[8] + z * eye[11]
    distance = math.sqrt(x * x + y * y + z * z)
    scale = eye[12] / max(distance, 1e-3)
    if depth + radius <= NEAR or distance >= REACH + radius or scale * radius <= SMALLEST:
        return 0.0
    for axis in range(2):
        # Distance outside the planes through the camera and the picture's edges.
        slope = eye[13 + axis] / (2.0 * eye[12])
        aside = abs(x * eye[3 + axis] + y * eye[6 + axis] + z * eye[9 + axis])
        if aside - slope * depth >= radius * math.sqrt(1.0 + slope * slope):
            return 0.0
    return scale


@compiled
def _inside(eye: Table, actors: Table, actor: int, local: Table) -> bool:
    """Whether the camera is in an actor's box; writes where it is in the actor's frame, [3].

    A camera within a body (a driver's view) does not see that body.
    """
    inside = True
    for axis in range(3):
        local[axis] = 0.0
        for i in range(3):
            local[axis] += (eye[i] - actors[actor, i]) * actors[actor, 10 + 3 * i + axis]
        inside &= abs(local[axis] - actors[actor, 7 + axis]) < actors[actor, 4 + axis]
    return inside


@compiled
def _place(
    eye: Table,
    sides: Table,
    row: int,
    actors: Table,
    actor: int,
    moves: bool,
    corners: Table,
    place: int,
) -> None:
    """Write the corners of a quadrilateral in camera coordinates, [12]."""
    for corner in range(0, 12, 3):
        x, y, z = sides[row, corner], sides[row, corner + 1], sides[row, corner + 2]
        if moves:
            a, b, c = x, y, z
            x = actors[actor, 10] * a + actors[actor, 11] * b + actors[actor, 12] * c
            y = actors[actor, 13] * a + actors[actor, 14] * b + actors[actor, 15] * c
            z = actors[actor, 16] * a + actors[actor, 17] * b + actors[actor, 18] * c
            x, y, z = x + actors[actor, 0], y + actors[actor, 1], z + actors[actor, 2]
        x, y, z = x - eye[0], y - eye[1], z - eye[2]
        for axis in range(3):
            corners[place, corner + axis] = (
                x * eye[3 + axis] + y * eye[6 + axis] + z * eye[9 + axis]
            )


@compiled
def _spot(eye: Table, corners: Table, place: int, corner: int, axis: int) -> float:
    """Column (axis 0) or row of a corner in the image; what is too near is taken at ``NEAR``."""
    depth = max(corners[place, corner + 2], NEAR)
    return corners[place, corner + axis] * eye[12] / depth + 0.5 * eye[13 + axis] - 0.5


@compiled
def _columns(eye: Table, corners: Table, place: int) -> tuple[float, float]:
    """Least and largest column of a quadrilateral; the former is larger where it is not seen.

    What reaches behind the camera is moved before it; that errs on the side of being seen.
    """
    left = top = math.inf
    right = bottom = depth = -math.inf
    for corner in range(0, 12, 3):
        u, v = _spot(eye, corners, place, corner, 0), _spot(eye, corners, place, corner, 1)
        left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        depth = max(depth, corners[place, corner + 2])
    if depth > NEAR and right >= -1.0 and left <= eye[13] and bottom >= -1.0 and top <= eye[14]:
        return left, right
    return 1.0, 0.0


@compiled
def _ranks(
    eye: Table, bodies: Table, actors: Table, shown: Table, spans: Table, count: int
) -> np.ndarray:
    """Rank of every body that is seen, float64 [count]: painting follows rising ranks.

    Houses go by the distance of their nearest point. Other bodies go by their distance, but
    before the first house that hides them: one with no wall's plane between it and them.
    """
    ranks, nearest = np.empty(count), np.full(count, math.inf)
    houses = 0
    for index in range(count):
        body = shown[index, 0]
        if body < len(bodies) and bodies[body, 4] >= 0.0:
            nearest[index] = 0.0
            for axis in range(2):
                beyond = abs(_within(bodies, body, axis, eye[0], eye[1])) - bodies[body, 4 + axis]
                nearest[index] -= max(beyond, 0.0) ** 2
            houses += 1
    sequence = _order(nearest)  # houses, far to near, then the others
    for order in range(count):
        index = sequence[order]
        if order < houses:
            ranks[index] = order + 1.0
            continue
        body = shown[index, 0]
        table, item = (bodies, body) if body < len(bodies) else (actors, body - len(bodies))
        x, y, z = table[item, 0], table[item, 1], table[item, 2]
        first = 0
        while first < houses:
            wall = sequence[first]
            meets = spans[wall, 0] < spans[index, 1] and spans[wall, 1] > spans[index, 0]
            if meets and _hides(bodies, shown[wall, 0], eye, x, y):
                break
            first += 1
        apart = math.sqrt((x - eye[0]) ** 2 + (y - eye[1]) ** 2 + (z - eye[2]) ** 2)
        ranks[index] = first + 0.5 - 1e-4 * apart
    return ranks


@compiled
def _order(values: np.ndarray) -> np.ndarray:
    """Stable order of rising values (insertion: numpy's sorting takes seconds to compile)."""
    order = np.arange(len(values))
    for place in range(1, len(values)):
        item, back = order[place], place
        while back and values[order[back - 1]] > values[item]:
            order[back] = order[back - 1]
            back -= 1
        order[back] = item
    return order


@compiled
def _within(bodies: Table, body: int, axis: int, x: float, y: float) -> float:
    """A coordinate of a place in the frame of a house."""
    row = 6 + 3 * axis
    return bodies[body, row] * x + bodies[body, row + 1] * y + bodies[body, row + 2]


@compiled
def _hides(bodies: Table, body: int, eye: Table, x: float, y: float) -> bool:
    """Whether no plane of a house's walls has both the camera and a place on its outer side."""
    for axis in range(2):
        half = bodies[body, 4 + axis]
        mine, other = _within(bodies, body, axis, eye[0], eye[1]), _within(bodies, body, axis, x, y)
        if (mine > half and other > half) or (mine < -half and other < -half):
            return False
    return True


@compiled
def _painted(
    eye: Table, order: Table, shown: Table, rows: Table, corners: Table, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Everything in order of painting, body by body; see :func:`visible`."""
    polygons, points = np.empty((count, 5, 2)), np.empty((count, 4, 3), np.float32)
    mine, amount = np.empty(count, np.int64), np.empty(count, np.int64)
    place = 0
    for body in order:
        for source in range(shown[body, 1], shown[body + 1, 1]):
            for corner in range(4):
                for axis in range(3):
                    points[place, corner, axis] = corners[source, 3 * corner + axis]
            amount[place] = _clip(eye, corners, source, polygons[place])
            mine[place] = rows[source]
            place += 1
    return polygons, amount, points, mine


@compiled
def _clip(eye: Table, corners: Table, source: int, polygon: Table) -> int:
    """Write the image of what lies beyond ``NEAR``, [5, 2]; returns how many corners it has."""
    count, before = 0, 9
    for corner in range(0, 12, 3):
        start, depth = corners[source, before + 2], corners[source, corner + 2]
        if (start >= NEAR) != (depth >= NEAR):
            share = (NEAR - start) / (depth - start)
            for axis in range(2):
                begin = corners[source, before + axis]
                crossing = begin + share * (corners[source, corner + axis] - begin)
                polygon[count, axis] = crossing * eye[12] / NEAR + 0.5 * eye[13 + axis] - 0.5
            count += 1
        if depth >= NEAR:
            for axis in range(2):
                polygon[count, axis] = _spot(eye, corners, source, corner, axis)
            count += 1
        before = corner
    return count
