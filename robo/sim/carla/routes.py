"""A route as dense points, and how far along it the ego has come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from robo.errors import RoboError

SPACING = 1.0
"""m between neighbouring points of a route."""
_BLOCK = 16
"""Points that share a box of :meth:`Route.bounds_ahead`."""


class RouteError(RoboError):
    """A route that is too short, off the map, or has no way between two of its points."""


def wrap_angle(angle: Any) -> Any:
    """The same angle in [-pi, pi), rad."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


@dataclass(frozen=True)
class Route:
    """R points, 1 m apart along the way (the last gap is shorter), in CARLA's frame."""

    points: np.ndarray
    """float64 ``[R, 3]``, m."""
    yaw: np.ndarray
    """float64 ``[R]``, rad: direction of travel."""
    lane_width: np.ndarray
    """float64 ``[R]``, m: width of the lane that the point lies in."""
    in_junction: np.ndarray
    """bool ``[R]``."""
    distance: np.ndarray
    """float64 ``[R]``, m along the route; 0 at the first point."""

    def __len__(self) -> int:
        """Number of points R."""
        return len(self.distance)

    @property
    def length(self) -> float:
        """Length, m."""
        return float(self.distance[-1])

    @classmethod
    def from_samples(
        cls, points: np.ndarray, lane_width: np.ndarray, in_junction: np.ndarray
    ) -> Route:
        """Resample to points 1 m apart.

        Args:
            points: ``[K, 3]`` in driving order, m, at any spacing.
            lane_width: ``[K]``, m.
            in_junction: bool ``[K]``.

        Raises:
            RouteError: fewer than two distinct points.
        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        steps = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1)
        keep = np.concatenate([[True], steps > 1e-6])
        points, lane_width = points[keep], np.asarray(lane_width, np.float64)[keep]
        in_junction = np.asarray(in_junction, bool)[keep]
        if len(points) < 2:
            raise RouteError(
                f"a route needs at least two distinct points, got {len(points)}: "
                "choose a destination farther from the start"
            )
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        distance = np.arange(0.0, along[-1], SPACING)
        if along[-1] - distance[-1] > 1e-3:
            distance = np.append(distance, along[-1])
        dense = np.stack([np.interp(distance, along, points[:, axis]) for axis in range(3)], 1)
        nearest = np.clip(np.searchsorted(along, distance), 1, len(along) - 1)
        nearest -= (distance - along[nearest - 1]) < (along[nearest] - distance)
        slope = np.gradient(dense[:, :2], distance, axis=0)
        return cls(
            points=dense,
            yaw=np.arctan2(slope[:, 1], slope[:, 0]),
            lane_width=lane_width[nearest],
            in_junction=in_junction[nearest],
            distance=distance,
        )

    @cached_property
    def _bounds(self) -> dict[int, tuple[list[float], list[float]]]:
        """What :meth:`bounds_ahead` has worked out so far."""
        return {}

    def bounds_ahead(self, first: int, count: int) -> tuple[list[float], list[float]]:
        """A box around at least the ``count`` points from ``first`` on: lowest and highest x, y, m.

        Some points after them are taken in too, so that few boxes are ever worked out.
        """
        first -= first % _BLOCK
        box = self._bounds.get(first)
        if box is None:
            points = self.points[first : first + count + 2 * _BLOCK, :2]
            box = self._bounds[first] = points.min(0).tolist(), points.max(0).tolist()
        return box

    def cut(self, length: float) -> Route:
        """The first ``length`` m (the whole route if it is shorter)."""
        count = max(2, int(np.searchsorted(self.distance, length, side="right")))
        return Route(
            self.points[:count],
            self.yaw[:count],
            self.lane_width[:count],
            self.in_junction[:count],
            self.distance[:count],
        )


class RouteTracker:
    """How far along a route the ego has come; the progress never goes back.

    The ego is projected on the stretch just around its last progress, so that a route that
    crosses or repeats itself is followed in order and shortcuts earn nothing.
    """

    window_ahead = 15
    """Points ahead of the progress that are searched (m, at 1 m spacing)."""
    window_behind = 15
    """Points behind the progress that are searched, for offset and heading only."""

    def __init__(self, route: Route) -> None:
        """At the first point of ``route``."""
        self.route = route
        self.progress = 0.0
        """m along the route, never decreasing."""
        self.offset = 0.0
        """m from the nearest point of the route, not negative."""
        self.heading_error = 0.0
        """rad in [-pi, pi): the ego's heading minus the route's."""
        self._counted = (-1.0, 0)
        self._leg = route.points[1:, :2] - route.points[:-1, :2]
        self._squared = np.einsum("ij,ij->i", self._leg, self._leg)

    @property
    def next_point(self) -> int:
        """Index of the first route point ahead of the progress; R once all are passed."""
        # Asked for many times in a step.
        if self._counted[0] != self.progress:
            passed = self.route.distance.searchsorted(self.progress + 1e-9, side="right")
            self._counted = self.progress, int(passed)
        return self._counted[1]

    @property
    def points_left(self) -> int:
        """Route points ahead of the progress."""
        return len(self.route) - self.next_point

    @property
    def finished(self) -> bool:
        """Fewer than two route points are left (CaRL)."""
        return self.points_left < 2

    @property
    def route_completion(self) -> float:
        """Percent of the route's length, [0, 100]; 100 once finished."""
        return 100.0 if self.finished else 100.0 * self.progress / self.route.length

    def update(self, location: np.ndarray, yaw: float) -> None:
        """Move on to where the ego is now.

        Args:
            location: ``[2]`` or ``[3]``, m.
            yaw: Heading, rad.
        """
        route = self.route
        here = self.next_point - 1
        first = max(0, here - self.window_behind)
        last = min(len(route) - 1, here + self.window_ahead)
        if first >= last:
            first = last - 1
        leg = self._leg[first:last]
        to_ego = location[:2] - route.points[first:last, :2]
        share = np.einsum("ij,ij->i", to_ego, leg) / self._squared[first:last]
        share = np.minimum(np.maximum(share, 0.0), 1.0)
        gap = to_ego - share[:, None] * leg
        away = np.einsum("ij,ij->i", gap, gap)
        nearest = int(np.argmin(away))
        along = route.distance[first : last + 1]
        reached = along[nearest] + share[nearest] * (along[nearest + 1] - along[nearest])
        self.progress = max(self.progress, float(reached))
        self.offset = float(np.sqrt(away[nearest]))
        heading = np.arctan2(leg[nearest, 1], leg[nearest, 0])
        self.heading_error = float(wrap_angle(yaw - heading))

    def state_dict(self) -> dict[str, float]:
        """Everything but the route."""
        return {
            "progress": self.progress,
            "offset": self.offset,
            "heading_error": self.heading_error,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what :meth:`state_dict` returned, on the same route."""
        self.progress = float(state["progress"])
        self.offset = float(state["offset"])
        self.heading_error = float(state["heading_error"])
