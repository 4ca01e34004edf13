"""Nearly all of the car is off road and shoulder: CaRL ends the episode at 95 % of it."""

from __future__ import annotations

import math

import numpy as np

from robo.sim.carla.infractions.outside_lanes import LanePosition

OFF_ROAD_SHARE = 0.95
"""Share of the footprint outside all lanes and shoulders at which the episode ends."""


def is_off_road(nearest: LanePosition, extent: np.ndarray) -> bool:
    """Whether 95 % of the car's footprint are beyond the edge of the nearest lane.

    Args:
        nearest: the car against it.
        extent: half length and half width of the car, m.
    """
    angle = nearest.ego_yaw - nearest.lane_yaw
    share = off_road_share(nearest.distance, nearest.lane_width, angle, extent)
    return share >= OFF_ROAD_SHARE


def off_road_share(distance: float, lane_width: float, angle: float, extent: np.ndarray) -> float:
    """Share of the car's footprint beyond the edge of the nearest lane, 0 to 1.

    Exact for a car parallel or square to the lane, close to it at other angles.

    Args:
        distance: m from the centre of the nearest lane.
        lane_width: m.
        angle: rad between the car and the lane.
        extent: half length and half width of the car, m.
    """
    reach = abs(math.sin(angle)) * float(extent[0]) + abs(math.cos(angle)) * float(extent[1])
    beyond = distance - lane_width / 2
    return min(max(0.5 + beyond / (2 * reach), 0.0), 1.0)
