"""The five figures of a driving policy."""

from __future__ import annotations

import numpy as np
import pytest

from robo.assess.driving_metrics import METRICS, driving_metrics, metrics_table
from robo.errors import RoboError
from robo.rollout import Episode, EpisodeInfo


def route(speed, completion, collision=0.0, success=False):
    steps = len(speed)
    return Episode(
        info=EpisodeInfo("carla-standin/Grid"),
        observation={},
        action=np.zeros((steps, 2)),
        reward=np.zeros(steps, np.float32),
        success=success,
        terminated=True,
        signals={
            "speed": np.array(speed, np.float32),
            "distance": np.array(speed, np.float32) / 10,
            "route_completion": np.linspace(0, completion, steps, dtype=np.float32),
            "collision_speed": np.array([0.0] * (steps - 1) + [collision], np.float32),
        },
    )


def test_figures_of_two_routes():
    found = driving_metrics(
        [route([5.0, 5.0], 100.0, success=True), route([0.0, 10.0, 20.0], 40.0, collision=2.0)]
    )
    assert found == pytest.approx(
        {
            "average_speed": (18.0 + 36.0) / 2,
            "route_completion": 0.7,
            "total_distance": 1.0 + 3.0,
            "collision_speed": 7.2 / 2,
            "success_rate": 0.5,
        }
    )
    assert set(found) == set(METRICS)
    lines = metrics_table({"Grid, 20 vehicles": found})
    assert len(lines) == 2 and "0.70" in lines[1] and len(lines[0]) == len(lines[1])


def test_what_is_no_driving():
    other = route([1.0], 1.0)
    del other.signals["distance"]
    with pytest.raises(RoboError, match="distance"):
        driving_metrics([other])
    with pytest.raises(RoboError, match="at least one"):
        driving_metrics([])
