"""The lanes of a map as a graph, with their centres sampled at 1 m; read by the planner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robo.sim.carla.routes import SPACING, RouteError

if TYPE_CHECKING:
    import carla

LaneKey = tuple[int, int, int]
"""Road, section and lane id."""

MAX_DISTANCE_TO_LANE = 6.0
"""m: farther from any driving lane, a place is off the map."""


@dataclass(frozen=True)
class Neighbour:
    """The lane beside one, of the same direction, to which a change is allowed somewhere."""

    key: LaneKey
    points: np.ndarray
    """float64 ``[K, 3]``, m: its centre beside each sample."""
    allowed: np.ndarray
    """bool ``[K]``: the marking between the two allows the change there."""


@dataclass(frozen=True)
class LaneSamples:
    """K waypoints of one lane, 1 m apart along the road, in driving order."""

    points: np.ndarray
    """float64 ``[K, 3]``, m."""
    width: np.ndarray
    """float64 ``[K]``, m."""
    in_junction: np.ndarray
    """bool ``[K]``."""
    neighbours: tuple[Neighbour, ...]
    """None, one or two."""
    length: float
    """m; what the last step leaves of the lane counts as half a step."""


def lane_key(waypoint: carla.Waypoint) -> LaneKey:
    """The lane that a waypoint lies in."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _position(waypoint: carla.Waypoint) -> tuple[float, float, float]:
    place = waypoint.transform.location
    return place.x, place.y, place.z


def _neighbour(waypoints: list[carla.Waypoint], left: bool) -> Neighbour | None:
    """The lane to the left or right, if a change to it is allowed anywhere."""
    import carla

    permission = carla.LaneChange.Left if left else carla.LaneChange.Right
    beside = [w.get_left_lane() if left else w.get_right_lane() for w in waypoints]
    # Opposite traffic has the other sign of lane id: no change into it, whatever is painted.
    beside = [
        other
        if other is not None
        and other.lane_type & carla.LaneType.Driving
        and other.lane_id * own.lane_id > 0
        else None
        for own, other in zip(waypoints, beside, strict=True)
    ]
    allowed = np.array(
        [
            other is not None and bool(own.lane_change & permission)
            for own, other in zip(waypoints, beside, strict=True)
        ]
    )
    keys = [lane_key(other) for other in beside if other is not None]
    if not allowed.any():
        return None
    return Neighbour(
        key=keys[0],
        points=np.array(
            [_position(other or own) for own, other in zip(waypoints, beside, strict=True)]
        ),
        allowed=allowed,
    )


class RoadGraph:
    """Lanes as nodes; successors and allowed lane changes as edges. Samples are made lazily."""

    def __init__(self, map: carla.Map) -> None:
        """Read the topology of ``map``."""
        self.map = map
        self.entry: dict[LaneKey, carla.Waypoint] = {}
        self.successors: dict[LaneKey, list[LaneKey]] = {}
        for start, end in map.get_topology():
            self.entry.setdefault(lane_key(start), start)
            self.entry.setdefault(lane_key(end), end)
            following = self.successors.setdefault(lane_key(start), [])
            if lane_key(end) not in following:
                following.append(lane_key(end))
        self._samples: dict[LaneKey, LaneSamples] = {}

    def samples(self, key: LaneKey) -> LaneSamples:
        """Points of a lane."""
        if key not in self._samples:
            entry = self.entry[key]
            waypoints = [entry, *entry.next_until_lane_end(SPACING)]
            points = np.array([_position(waypoint) for waypoint in waypoints])
            beside = (_neighbour(waypoints, left=True), _neighbour(waypoints, left=False))
            self._samples[key] = LaneSamples(
                points=points,
                width=np.array([waypoint.lane_width for waypoint in waypoints]),
                in_junction=np.array([waypoint.is_junction for waypoint in waypoints]),
                neighbours=tuple(n for n in beside if n is not None and n.key in self.entry),
                length=float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()) + SPACING / 2,
            )
        return self._samples[key]

    def locate(self, place: np.ndarray) -> tuple[LaneKey, int]:
        """The driving lane at ``place [3]`` and the index of its nearest sample.

        Raises:
            RouteError: no driving lane within 6 m.
        """
        import carla

        x, y, z = (float(value) for value in place)
        waypoint = self.map.get_waypoint(carla.Location(x, y, z))
        if waypoint is not None and lane_key(waypoint) in self.entry:
            away = np.linalg.norm(np.array(_position(waypoint)[:2]) - (x, y))
            if away <= MAX_DISTANCE_TO_LANE:
                key = lane_key(waypoint)
                gap = np.linalg.norm(self.samples(key).points[:, :2] - (x, y), axis=1)
                return key, int(np.argmin(gap))
            problem = f"lies {away:.0f} m from the nearest driving lane"
        else:
            problem = "has no driving lane near it"
        raise RouteError(
            f"the route is off the map: ({x:.1f}, {y:.1f}) {problem} of {self.map.name}; give "
            f"points within {MAX_DISTANCE_TO_LANE:.0f} m of a lane, and check that the route is "
            "for this town"
        )
