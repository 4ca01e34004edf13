"""Driving blind along the points of the route: what a policy has to do better than."""

from __future__ import annotations

import numpy as np

SPEED = 6.0
"""m/s from which the throttle is let go."""
LOOK_AHEAD, GAIN = 8, 1.2
"""Point of the route that is steered for, 1 m apart, and steering per radian towards it."""
NUMBERS, FORWARD_SPEED = 8, 6
"""Numbers of the state before the route's points, and which of them is the speed ahead, m/s."""


class RouteFollower:
    """Steers for a point of the route ahead at an even speed; it sees no car and no light.

    For ``carla/...`` and ``carla-standin/...`` with at least :data:`LOOK_AHEAD` ``route_points``.
    """

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Steering and throttle, float32 ``[N, 2]``."""
        state = observation["state"]
        ahead, right = state[:, NUMBERS:].reshape(len(state), -1, 2)[:, LOOK_AHEAD - 1].T
        steer = np.clip(GAIN * np.arctan2(right, ahead), -1.0, 1.0)
        throttle = np.where(state[:, FORWARD_SPEED] < SPEED, 0.5, 0.0)
        return np.stack([steer, throttle], 1).astype(np.float32)
