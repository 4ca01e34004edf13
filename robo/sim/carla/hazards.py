"""What lies ahead on the route, and how far: other road users, red lights, stop signs."""

from __future__ import annotations

import numpy as np

from robo.sim.carla.driving_state import Bodies, Ego
from robo.sim.carla.routes import Route
from robo.sim.carla.traffic_rules import StopLines

NO_HAZARD = 1000.0
"""m, what stands for "nothing ahead"."""
REACH = 80
"""Route points ahead that are looked at for road users (m, at 1 m spacing)."""
SIDE_CLEARANCE = 0.3
"""m beside the ego's own width that count as in its way."""
MAX_HEIGHT = 4.0
"""m of height between the route and a body in its way; a bridge is higher."""


def line_crossings(route: Route, lines: StopLines) -> tuple[np.ndarray, np.ndarray]:
    """Where a route crosses stop lines, in the direction of traffic.

    Returns:
        Distance along the route float64 ``[C]``, ascending, in m, and the index of the line
        int64 ``[C]``. A line that is crossed twice is there twice.
    """
    found: list[tuple[float, int]] = []
    if len(lines):
        ends = route.points[:, :2]
        box = 3.0 + np.max(lines.half_width)
        low, high = ends.min(0) - box, ends.max(0) + box
        middle = lines.center[:, :2]
        for index in np.flatnonzero(((middle >= low) & (middle <= high)).all(1)):
            forward = np.array([np.cos(lines.yaw[index]), np.sin(lines.yaw[index])])
            offset = ends - middle[index]
            ahead = offset @ forward
            lateral = offset[:, 1] * forward[0] - offset[:, 0] * forward[1]
            step = np.flatnonzero((ahead[:-1] < 0.0) & (ahead[1:] >= 0.0))
            share = -ahead[step] / (ahead[step + 1] - ahead[step])
            aside = lateral[step] + share * (lateral[step + 1] - lateral[step])
            inside = np.abs(aside) <= lines.half_width[index]
            along = route.distance[step] + share * (route.distance[step + 1] - route.distance[step])
            found += [(float(value), int(index)) for value in along[inside]]
    found.sort()
    return (
        np.array([value for value, _ in found]),
        np.array([index for _, index in found], np.int64),
    )


def gap_on_route(route: Route, progress: float, next_point: int, ego: Ego, bodies: Bodies) -> float:
    """Distance along the route from the ego's progress to the nearest body in the way.

    Measured to the body's centre, as Roach's reward does. In the way is what reaches into the
    strip that the ego's box sweeps along the route, 0.3 m on either side included.

    Args:
        route: The route.
        progress: m along it.
        next_point: First route point ahead.
        ego: For its width.
        bodies: Vehicles or walkers.

    Returns:
        m; 1000 where nothing is within the next 80 m.
    """
    points = route.points[max(0, next_point - 1) : next_point + REACH]
    if not len(bodies) or len(points) < 2:
        return NO_HAZARD
    close = np.abs(bodies.center - ego.location).max(1) <= REACH + 10.0
    # Most are far from the stretch ahead: they are left out before the distances to its points.
    room = bodies.extent[:, :2].sum(1) + (ego.extent[1] + SIDE_CLEARANCE + 1.5)
    low, high = route.bounds_ahead(max(0, next_point - 1), len(points))
    x, y = bodies.center[:, 0], bodies.center[:, 1]
    close &= (x >= low[0] - room) & (x <= high[0] + room)
    close &= (y >= low[1] - room) & (y <= high[1] + room)
    if not close.any():
        return NO_HAZARD
    center, body_yaw, extent = bodies.center[close], bodies.yaw[close], bodies.extent[close]
    x = center[:, 0, None] - points[:, 0]
    y = center[:, 1, None] - points[:, 1]
    away = x * x + y * y
    nearest = away.argmin(1)
    rows = np.arange(len(center))
    index = max(0, next_point - 1) + nearest
    yaw = route.yaw[index]
    cos, sin = np.cos(yaw), np.sin(yaw)
    near_x, near_y = x[rows, nearest], y[rows, nearest]
    lateral = np.abs(near_y * cos - near_x * sin)
    along = route.distance[index] + near_x * cos + near_y * sin - progress
    turn = body_yaw - yaw
    half = np.abs(np.cos(turn)) * extent[:, 1] + np.abs(np.sin(turn)) * extent[:, 0]
    # Beyond the last point, a body is no longer near the route.
    in_way = (lateral <= half + ego.extent[1] + SIDE_CLEARANCE) & (along > 0.0)
    in_way &= away[rows, nearest] <= (half + ego.extent[1] + SIDE_CLEARANCE) ** 2 + 1.0
    in_way &= np.abs(center[:, 2] - points[nearest, 2]) <= MAX_HEIGHT
    return float(along[in_way].min()) if in_way.any() else NO_HAZARD
