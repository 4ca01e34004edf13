"""Points of the route ahead, in the car's frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("carla")

import robo
from robo.errors import RoboError
from robo.sim.carla.driving_state import Ego
from robo.sim.carla.observation import points_ahead
from robo.sim.carla.options import DrivingOptions
from robo.sim.carla.routes import Route


def test_points_are_metres_ahead_and_to_the_right_and_go_straight_on_after_the_end():
    line = np.array([[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]])  # along +y, that is to the right of +x
    route = Route.from_samples(line, np.full(2, 3.5), np.zeros(2, bool))
    still = np.zeros(3)
    ego = Ego(np.array([-1.0, 1.0, 0.0]), math.pi / 2, still, still, np.ones(3))
    points = points_ahead(ego, route, 2, 5).reshape(5, 2)
    # Facing +y, the line lies 1 m to the left (+x is on the left there).
    np.testing.assert_allclose(points, [[n, -1.0] for n in (1, 2, 3, 4, 5)], atol=1e-6)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points_ahead(ego, route, 5, 1), [4.0, -1.0], atol=1e-6)


def test_the_state_ends_with_the_route_ahead():
    options = {"vehicles": 0, "pedestrians": 0, "birdseye_size": 32, "metres_behind": 4.0}
    environment = robo.make("carla-standin/Grid", route_points=15, **options)
    try:
        observation, _ = environment.reset(seed=3)
        assert environment.observation_space["state"].shape == (38,)
        for _ in range(10):
            points = observation["state"][8:].reshape(15, 2)
            assert 0.0 < points[0, 0] < 2.0 and abs(points[0, 1]) < 1.0
            gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
            np.testing.assert_allclose(gaps, 1.0, atol=0.1)
            observation, *_ = environment.step(np.array([0.0, 0.6]))
    finally:
        environment.close()
    with pytest.raises(RoboError, match="route_points is -1, expected at least 0"):
        DrivingOptions(route_points=-1)
