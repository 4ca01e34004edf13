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
        """Find out whether the map has parking lanes and shoulders, which cost queries."""
        import carla

        self._map = map
        self._location = carla.Location
        self._driving, self._parking = carla.LaneType.Driving, carla.LaneType.Parking
        self._shoulder = carla.LaneType.Shoulder
        origin = carla.Location(0.0, 0.0, 0.0)
        self._has_parking = map.get_waypoint(origin, lane_type=self._parking) is not None
        self._has_shoulder = map.get_waypoint(origin, lane_type=self._shoulder) is not None

    def _nearest(
        self, ego: Ego, lane_type: carla.LaneType
    ) -> tuple[carla.Waypoint | None, float, float]:
        """Waypoint, its distance (m) and its lane's direction (degrees)."""
        x, y, z = ego.location.tolist()
        waypoint = self._map.get_waypoint(self._location(x, y, z), lane_type=lane_type)
        if waypoint is None:
            return None, FAR, 0.0
        # The client works the pose out anew whenever it is asked.
        pose = waypoint.transform
        place = pose.location
        return waypoint, float(np.hypot(place.x - x, place.y - y)), pose.rotation.yaw

    def __call__(self, ego: Ego) -> tuple[DrivingLane, LanePosition]:
        """The nearest driving lane, and the nearest lane that one may be on at all.

        A map without any driving lane near gives a lane 1 km away.
        """
        driving, distance, yaw = self._nearest(ego, self._driving)
        if driving is None:
            lane = DrivingLane(FAR, 0.0, False)
            return lane, LanePosition(FAR, 0.0, ego.yaw, ego.yaw, False, 0, 0)
        lane = DrivingLane(distance, driving.lane_width, driving.is_junction)
        nearest, width, in_junction = driving, lane.lane_width, lane.in_junction
        if self._has_parking:
            parking, parking_distance, parking_yaw = self._nearest(ego, self._parking)
            if parking is not None and parking_distance < distance:
                nearest, distance, yaw = parking, parking_distance, parking_yaw
                width, in_junction = parking.lane_width, parking.is_junction
        position = LanePosition(
            distance=distance,
            lane_width=width,
            lane_yaw=float(np.radians(yaw)),
            ego_yaw=ego.yaw,
            in_junction=in_junction,
            road_id=nearest.road_id,
            lane_id=nearest.lane_id,
        )
        return lane, position

    def shoulder(self, ego: Ego) -> LanePosition | None:
        """The nearest shoulder, which is no lane to drive on but is road; None without any."""
        if not self._has_shoulder:
            return None
        nearest, distance, yaw = self._nearest(ego, self._shoulder)
        if nearest is None:
            return None
        return LanePosition(
            distance=distance,
            lane_width=nearest.lane_width,
            lane_yaw=float(np.radians(yaw)),
            ego_yaw=ego.yaw,
            in_junction=nearest.is_junction,
            road_id=nearest.road_id,
            lane_id=nearest.lane_id,
        )
