from __future__ import annotations

import pytest

from robo.sim.carla.route_score import RouteRecorder, RouteSummary, aggregate
from robo.sim.carla.signals import SIGNAL_NAMES


def test_factors_multiply() -> None:
    summary = RouteSummary(
        route_completion=80.0, collisions_walker=1, collisions_vehicle=2, collisions_static=1,
        red_lights=1, stop_signs=1,
    )  # fmt: skip
    assert summary.penalty == pytest.approx(0.5 * 0.6**2 * 0.65 * 0.7 * 0.8)
    assert summary.score == pytest.approx(80.0 * summary.penalty)
    assert summary.collisions == 4
    assert not summary.finished


def test_a_clean_route_scores_its_completion() -> None:
    clean = RouteSummary(route_completion=100.0, distance=500.0, time=100.0)
    assert clean.score == 100.0
    assert clean.mean_speed == 5.0
    assert clean.finished
    outside = RouteSummary(route_completion=100.0, distance=500.0, outside_distance=50.0)
    assert outside.score == pytest.approx(90.0)


def test_the_recorder_counts_each_contact_once() -> None:
    recorder = RouteRecorder(200.0)
    for step in range(10):
        signals = dict.fromkeys(SIGNAL_NAMES, 0.0)
        signals |= {"distance": 1.0, "route_completion": step / 2.0}
        signals["collision_vehicle"] = float(step in (3, 4, 7))
        signals["outside_lanes"] = float(step < 2)
        recorder.update(signals, 0.1)
    other = RouteRecorder(200.0)
    other.load_state_dict(recorder.state_dict())
    summary = other.summary()
    assert summary == recorder.summary()
    assert summary.collisions_vehicle == 2
    assert (summary.distance, summary.outside_distance) == (10.0, 2.0)
    assert summary.time == pytest.approx(1.0)
    assert (summary.route_completion, summary.route_length) == (4.5, 200.0)


def test_aggregation() -> None:
    result = aggregate(
        [
            RouteSummary(route_completion=100.0, distance=1500.0, time=300.0),
            RouteSummary(route_completion=50.0, red_lights=1, distance=500.0, time=50.0),
        ]
    )
    assert result["routes"] == 2
    assert result["score"] == pytest.approx((100.0 + 35.0) / 2)
    assert result["route_completion"] == 75.0
    assert result["finished"] == 0.5
    assert result["mean_speed"] == pytest.approx(7.5)
    assert result["red_lights"] == 0.5
    assert result["red_lights_per_km"] == 0.5
    with pytest.raises(ValueError, match="no routes"):
        aggregate([])
