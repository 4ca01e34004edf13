"""Which lane the ego is on, asked of ``carla.Map`` offline (about 20 µs a query)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robo.sim.carla.driving_state import Ego
from robo.sim.carla.infractions.outside_lanes import LanePosition

if TYPE_CHECKING:
    import carla

FAR = 1e3
"""m, the distance to a lane of a kind that the map does not have."""


@dataclass(frozen=True)
class DrivingLane:
    """The nearest driving lane."""

    lateral_offset: float
    """m from its centre to the ego's origin, not negative."""
    lane_width: float
    """m."""
    in_junction: bool


class LaneQuery:
    """Lane queries on one map."""

    def __init__(self, map: carla.Map) -> None:
        """Find out whether the map has parking lanes, which cost a second query."""
        import carla

        self._map = map
        self._location = carla.Location
        self._driving, self._parking = carla.LaneType.Driving, carla.LaneType.Parking
        origin = carla.Location(0.0, 0.0, 0.0)
        self._has_parking = map.get_waypoint(origin, lane_type=self._parking) is not None

    def _nearest(self, ego: Ego, lane_type: carla.LaneType) -> tuple[carla.Waypoint | None, float]:
        x, y, z = ego.location.tolist()
        waypoint = self._map.get_waypoint(self._location(x, y, z), lane_type=lane_type)
        if waypoint is None:
            return None, FAR
        place = waypoint.transform.location
        return waypoint, float(np.hypot(place.x - x, place.y - y))

    def __call__(self, ego: Ego) -> tuple[DrivingLane, LanePosition]:
        """The nearest driving lane, and the nearest lane that one may be on at all.

        A map without any driving lane near gives a lane 1 km away.
        """
        driving, distance = self._nearest(ego, self._driving)
        if driving is None:
            lane = DrivingLane(FAR, 0.0, False)
            return lane, LanePosition(FAR, 0.0, ego.yaw, ego.yaw, False, 0, 0)
        lane = DrivingLane(distance, driving.lane_width, driving.is_junction)
        nearest = driving
        if self._has_parking:
            parking, parking_distance = self._nearest(ego, self._parking)
            if parking is not None and parking_distance < distance:
                nearest, distance = parking, parking_distance
        position = LanePosition(
            distance=distance,
            lane_width=nearest.lane_width,
            lane_yaw=float(np.radians(nearest.transform.rotation.yaw)),
            ego_yaw=ego.yaw,
            in_junction=nearest.is_junction,
            road_id=nearest.road_id,
            lane_id=nearest.lane_id,
        )
        return lane, position
