from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import savgol_filter

from robo.sim.carla.driving_state import Bodies, CollisionEvent, Ego
from robo.sim.carla.infractions.blocked import BlockedDetector
from robo.sim.carla.infractions.collision import collision_signals
from robo.sim.carla.infractions.comfort import (
    METRICS,
    SAMPLES,
    ComfortDetector,
    ComfortLimits,
    comfort_metrics,
)
from robo.sim.carla.infractions.counters import TickCounter
from robo.sim.carla.infractions.off_road import is_off_road, off_road_share
from robo.sim.carla.infractions.outside_lanes import LanePosition, WrongLaneDetector, is_outside
from robo.sim.carla.infractions.route_deviation import deviates
from robo.sim.carla.infractions.speed_limit import speed_limit
from robo.sim.carla.infractions.time_to_collision import boxes_overlap, violates_time_to_collision


def ego(x=0.0, y=0.0, yaw=0.0, speed=10.0, acceleration=(0.0, 0.0)) -> Ego:
    velocity = speed * np.array([np.cos(yaw), np.sin(yaw), 0.0])
    return Ego(
        np.array([x, y, 0.0]), yaw, velocity, np.array([*acceleration, 0.0]),
        np.array([2.0, 1.0, 0.8]),
    )  # fmt: skip


def bodies(*rows: tuple[float, float, float, float]) -> Bodies:
    """x, y, yaw, speed; half sizes 2 x 1 m."""
    array = np.array(rows, np.float64).reshape(-1, 4)
    yaw = array[:, 2]
    velocity = array[:, 3:] * np.stack([np.cos(yaw), np.sin(yaw), 0 * yaw], 1)
    count = len(array)
    return Bodies(
        np.arange(count), np.concatenate([array[:, :2], np.zeros((count, 1))], 1), yaw, velocity,
        np.tile([2.0, 1.0, 0.8], (count, 1)), np.zeros(count, np.int64),
    )  # fmt: skip


def test_a_counter_runs_500_ticks() -> None:
    counter = TickCounter()
    active = [counter.update(tick == 0) for tick in range(502)]
    assert active == [True] * 500 + [False] * 2
    counter.update(True)
    for _ in range(499):
        counter.update(False)
    assert counter.update(True)
    assert counter.remaining == 500


def test_collisions_by_kind() -> None:
    assert collision_signals((), 3.0) == dict.fromkeys(collision_signals((), 0.0), 0.0)
    events = [CollisionEvent("vehicle", 7, 10.0), CollisionEvent("prop", 9)]
    assert collision_signals(events, 3.0) == {
        "collision": 1.0,
        "collision_vehicle": 1.0,
        "collision_walker": 0.0,
        "collision_static": 1.0,
        "collision_speed": 3.0,
    }


def test_speed_limit_and_its_fallback() -> None:
    assert speed_limit(36.0) == pytest.approx(10.0)
    assert speed_limit(0.0) == speed_limit(None) == 6.0


def test_deviation_is_beyond_30_metres() -> None:
    assert not deviates(30.0)
    assert deviates(30.01)


def test_blocked_after_more_than_90_seconds() -> None:
    detector = BlockedDetector()
    fired = [detector.update(0.05, 0.1) for _ in range(901)]
    assert not any(fired[:900])
    assert fired[900]
    assert detector.time_left == 0.0


def test_moving_at_the_threshold_resets_the_blocked_timer() -> None:
    detector = BlockedDetector()
    for _ in range(450):
        detector.update(0.0, 0.1)
    assert detector.time_left == pytest.approx(0.5)
    assert not detector.update(0.1, 0.1)
    assert detector.time_left == 1.0


def test_outside_is_beyond_half_a_lane_and_half_a_metre() -> None:
    assert not is_outside(2.25, 3.5)
    assert is_outside(2.26, 3.5)


EXTENT = np.array([2.4, 1.0, 0.8])


@pytest.mark.parametrize(
    ("distance", "share"),
    [(0.0, 0.0), (0.75, 0.0), (1.25, 0.25), (1.75, 0.5), (2.25, 0.75), (2.75, 1.0), (9.0, 1.0)],
)
def test_the_share_beyond_the_edge_of_a_lane(distance, share) -> None:
    # A lane of 3.5 m ends 1.75 m from its centre; the car beside it is 2 m wide.
    assert off_road_share(distance, 3.5, 0.0, EXTENT) == pytest.approx(share)
    assert off_road_share(distance, 3.5, np.pi, EXTENT) == pytest.approx(share)


def test_a_car_across_the_lane_is_off_later() -> None:
    # 4.8 m long: its centre is 3.65 m from the edge's inner side when 90 % are beyond.
    assert off_road_share(1.75 + 1.92, 3.5, np.pi / 2, EXTENT) == pytest.approx(0.9)
    assert off_road_share(1.75 + 2.4, 3.5, -np.pi / 2, EXTENT) == pytest.approx(1.0)


@pytest.mark.parametrize(("beyond", "off"), [(0.89, False), (0.91, True)])
def test_off_road_from_95_percent_on(beyond, off) -> None:
    # 95 % of 2 m are beyond when the centre is 0.9 m past the edge.
    assert is_off_road(replace(lane(), distance=1.75 + beyond), EXTENT) == off


def lane(ego_yaw=0.0, lane_yaw=0.0, junction=False, road=1, lane_id=-1) -> LanePosition:
    return LanePosition(
        0.0, 3.5, float(np.radians(lane_yaw)), float(np.radians(ego_yaw)), junction, road, lane_id
    )


@pytest.mark.parametrize(
    ("turned", "wrong"), [(0, 0), (119, 0), (121, 1), (180, 1), (239, 1), (241, 0), (-150, 1)]
)
def test_wrong_lane_right_after_a_junction_goes_by_heading(turned, wrong) -> None:
    detector = WrongLaneDetector()
    detector.update(lane(junction=True))
    assert detector.update(lane(ego_yaw=turned, road=2)) == bool(wrong)


def test_wrong_lane_toggles_when_the_lane_turns_round() -> None:
    detector = WrongLaneDetector()
    assert not detector.update(lane())
    assert detector.update(lane(lane_yaw=180, lane_id=1))
    # It stays, whatever the heading does, until the lane turns back.
    assert detector.update(lane(ego_yaw=90, lane_yaw=180, lane_id=1))
    assert not detector.update(lane(ego_yaw=20))


@pytest.mark.parametrize(("jump", "toggles"), [(149, 0), (151, 1), (209, 1), (211, 0)])
def test_bounds_of_the_turn(jump, toggles) -> None:
    detector = WrongLaneDetector()
    detector.update(lane())
    assert detector.update(lane(lane_yaw=jump, lane_id=1)) == bool(toggles)


def test_never_wrong_in_a_junction_and_not_by_swerving_on_one_lane() -> None:
    detector = WrongLaneDetector()
    detector.update(lane())
    assert not detector.update(lane(ego_yaw=180))
    detector.update(lane(lane_yaw=180, lane_id=1))
    assert not detector.update(lane(lane_yaw=180, lane_id=1, junction=True))


def test_wrong_lane_state_is_exact() -> None:
    detector, other = WrongLaneDetector(), WrongLaneDetector()
    detector.update(lane())
    detector.update(lane(lane_yaw=180, lane_id=1))
    other.load_state_dict(detector.state_dict())
    assert other.update(lane(lane_yaw=180, lane_id=1))
    assert not other.update(lane())


def test_boxes_against_an_exact_count_of_overlap() -> None:
    cv2 = pytest.importorskip("cv2")
    generator = np.random.default_rng(0)
    count = 400
    offset = generator.uniform(-5, 5, (count, 2))
    yaw, other_yaw = 0.7, generator.uniform(-4, 4, count)
    other_extent = generator.uniform(0.3, 3.0, (count, 2))
    extent = np.array([2.0, 1.0])
    got = boxes_overlap(offset, yaw, extent, other_yaw, other_extent)
    for index in range(count):
        one = ((0.0, 0.0), tuple(2 * extent), float(np.degrees(yaw)))
        two = (
            tuple(offset[index]),
            tuple(2 * other_extent[index]),
            float(np.degrees(other_yaw[index])),
        )
        assert got[index] == (cv2.rotatedRectangleIntersection(one, two)[0] != 0)


@pytest.mark.parametrize(
    ("gap", "hit"),
    [(4.0 + 10 * 0.9 - 0.01, True), (4.0 + 10 * 0.9 + 0.01, False)],
)
def test_ttc_looks_09_seconds_ahead(gap, hit) -> None:
    # Both are 2 m half-long; the other one stands.
    assert violates_time_to_collision(ego(), [bodies((gap, 0, 0, 0))]) == hit


def test_ttc_pairs_equal_times() -> None:
    # Crosses the ego's way at x = 6, y = 0 after 0.5 s, when the ego has driven 5 m.
    assert violates_time_to_collision(ego(), [bodies((6.0, -5.0, np.pi / 2, 10.0))])
    # Fast enough to have left before the ego comes.
    assert not violates_time_to_collision(ego(), [bodies((12.0, -2.0, np.pi / 2, 30.0))])
    assert not violates_time_to_collision(ego(), [bodies((7.0, 0.0, 0.0, 10.0))])
    assert not violates_time_to_collision(ego(), [bodies((5.0, 2.1, 0.0, 0.0))])


def test_ttc_is_silent_when_standing_or_alone() -> None:
    near = [bodies((1.0, 0.0, 0.0, 0.0))]
    assert not violates_time_to_collision(ego(speed=0.09), near)
    assert violates_time_to_collision(ego(speed=0.11), near)
    assert not violates_time_to_collision(ego(), [Bodies.empty(), Bodies.empty()])


@pytest.mark.parametrize("count", range(8, SAMPLES + 1))
def test_comfort_weights_are_the_last_value_of_savgol(count) -> None:
    generator = np.random.default_rng(count)
    series = generator.normal(size=(4, count))
    delta = 0.1
    smooth = savgol_filter(series[:3], min(8, count), 2, axis=1)
    window = min(15, count)
    slope = savgol_filter(smooth, window, 2, deriv=1, delta=delta, axis=1)
    expected = [
        smooth[0, -1],
        smooth[1, -1],
        slope[2, -1],
        slope[0, -1],
        savgol_filter(series[3], 5, 2, deriv=1, delta=delta)[-1],
        savgol_filter(series[3], 5, 3, deriv=2, delta=delta)[-1],
    ]
    np.testing.assert_allclose(comfort_metrics(series, delta), expected, rtol=1e-9, atol=1e-9)


def test_nothing_is_judged_before_the_eighth_sample() -> None:
    detector = ComfortDetector()
    counts = [detector.update(ego(acceleration=(50.0, 0.0))) for _ in range(8)]
    assert counts == [0] * 7 + [1]


def settled(**motion) -> np.ndarray:
    detector = ComfortDetector()
    for _ in range(SAMPLES):
        detector.update(ego(**motion))
    return np.array([counter.active for counter in detector.counters])


@pytest.mark.parametrize(
    ("acceleration", "bad"),
    [
        ((9.99, 0.0), ()),
        ((10.01, 0.0), (0,)),
        ((-19.99, 0.0), ()),
        ((-20.01, 0.0), (0,)),
        ((0.0, 8.99), ()),
        ((0.0, 9.01), (1,)),
        ((0.0, -9.01), (1,)),
    ],
)
def test_bounds_of_acceleration(acceleration, bad) -> None:
    assert np.flatnonzero(settled(acceleration=acceleration)).tolist() == list(bad)


def test_bounds_of_jerk_yaw_rate_and_yaw_acceleration() -> None:
    def run(step, count=SAMPLES) -> list[str]:
        detector = ComfortDetector()
        for index in range(count):
            detector.update(step(index * 0.1))
        return [m for m, c in zip(METRICS, detector.counters, strict=True) if c.active]

    assert run(lambda t: ego(acceleration=(29.0 * t / 10, 0.0))) == []
    ramp = run(lambda t: ego(acceleration=(31.0 * (t - 0.7), 0.0)), 8)
    assert "longitudinal_jerk" in ramp
    assert run(lambda t: ego(yaw=0.99 * t)) == []
    assert run(lambda t: ego(yaw=1.01 * t)) == ["yaw_rate"]
    # A heading that passes pi is unwrapped.
    assert run(lambda t: ego(yaw=(3.0 + 0.9 * t + np.pi) % (2 * np.pi) - np.pi)) == []
    assert "yaw_acceleration" in run(lambda t: ego(yaw=3.1 / 2 * (t - 0.7) ** 2), 9)
    assert "yaw_acceleration" not in run(lambda t: ego(yaw=2.9 / 2 * (t - 0.7) ** 2), 9)


def test_each_metric_counts_500_ticks_of_its_own() -> None:
    detector = ComfortDetector()
    for _ in range(SAMPLES):
        detector.update(ego(acceleration=(0.0, 9.5)))
    # Gently back to rest: no jerk beyond its limit, one sample at a time.
    ticks = 0
    while detector.update(ego(acceleration=(0.0, max(0.0, 9.0 - 0.4 * ticks)))):
        ticks += 1
    assert 500 <= ticks + 1 <= 505


def test_comfort_state_is_exact() -> None:
    generator = np.random.default_rng(0)
    detector, other = ComfortDetector(), ComfortDetector()
    for _ in range(12):
        detector.update(ego(acceleration=generator.normal(0, 15, 2)))
    other.load_state_dict(detector.state_dict())
    for _ in range(12):
        sample = ego(acceleration=generator.normal(0, 15, 2), yaw=generator.normal())
        assert detector.update(sample) == other.update(sample)
    np.testing.assert_array_equal(detector.metrics, other.metrics)


def test_limits_are_carls() -> None:
    assert ComfortLimits().bounds.tolist() == [[-20, -9, -30, -30, -1, -3], [10, 9, 30, 30, 1, 3]]
