from __future__ import annotations

import numpy as np
import pytest

from robo.sim.carla.driving_state import GREEN, RED, YELLOW, Ego
from robo.sim.carla.infractions.red_light import RedLightDetector
from robo.sim.carla.infractions.stop_sign import ZONE_LENGTH, StopSignDetector
from robo.sim.carla.traffic_rules import StopLines


def ego(x: float, y: float = 0.0, yaw: float = 0.0, speed: float = 5.0) -> Ego:
    velocity = speed * np.array([np.cos(yaw), np.sin(yaw), 0.0])
    return Ego(np.array([x, y, 0.0]), yaw, velocity, np.zeros(3), np.array([2.0, 1.0, 0.8]))


def line_at(x: float = 10.0, ids: tuple[str, ...] = ("a",), ys: tuple[float, ...] = (0.0,)):
    count = len(ys)
    return StopLines(
        opendrive_id=ids,
        center=np.array([[x, y, 0.0] for y in ys]),
        yaw=np.zeros(count),
        half_width=np.full(count, 1.75),
    )


def drive(detector: RedLightDetector, path, state: int) -> list[bool]:
    return [detector.update(ego(*place), np.array([state])) for place in path]


# The rear bumper is 2 m behind the ego's origin and crosses x = 10 as the origin reaches 12.
PATH = [(8.0, 0.0), (10.0, 0.0), (11.9, 0.0), (12.0, 0.0), (13.0, 0.0)]


def test_red_fires_once_where_the_rear_reaches_the_line() -> None:
    assert drive(RedLightDetector(line_at()), PATH, RED) == [False, False, False, True, False]


@pytest.mark.parametrize("state", [YELLOW, GREEN])
def test_yellow_and_green_do_not_fire(state) -> None:
    assert not any(drive(RedLightDetector(line_at()), PATH, state))


def test_yellow_fires_where_asked_for() -> None:
    assert any(drive(RedLightDetector(line_at(), penalize_yellow=True), PATH, YELLOW))


def test_another_lane_or_direction_does_not_fire() -> None:
    beside = [(x, 1.76) for x, _ in PATH]
    assert not any(drive(RedLightDetector(line_at()), beside, RED))
    on_the_edge = [(x, 1.75) for x, _ in PATH]
    assert any(drive(RedLightDetector(line_at()), on_the_edge, RED))
    backwards = [(x, 0.0, np.pi) for x in (14.0, 12.0, 10.0, 8.0, 6.0)]
    assert not any(drive(RedLightDetector(line_at()), backwards, RED))


def test_a_jump_at_the_start_of_an_episode_does_not_fire() -> None:
    detector = RedLightDetector(line_at())
    drive(detector, [(0.0, 0.0)], RED)
    detector.reset()
    assert drive(detector, [(20.0, 0.0)], RED) == [False]


def test_the_light_when_the_rear_crosses_decides() -> None:
    detector = RedLightDetector(line_at())
    states = [YELLOW, YELLOW, YELLOW, RED, RED]
    fired = [
        detector.update(ego(*place), np.array([state]))
        for place, state in zip(PATH, states, strict=True)
    ]
    assert fired == [False, False, False, True, False]


def test_one_state_per_line_is_needed() -> None:
    with pytest.raises(ValueError, match="2 light states for 1 stop lines"):
        RedLightDetector(line_at()).update(ego(0.0), np.array([RED, RED]))


def test_red_light_state_is_exact() -> None:
    detector, other = RedLightDetector(line_at()), RedLightDetector(line_at())
    drive(detector, PATH[:3], RED)
    other.load_state_dict(detector.state_dict())
    assert drive(other, PATH[3:4], RED) == [True]


def approach(detector: StopSignDetector, halts: dict[float, float], y=lambda x: 0.0) -> list[float]:
    """Drive along x from -5 to 15; returns where it fired."""
    return [
        x
        for x in np.arange(-5.0, 15.0, 0.5).tolist()
        if detector.update(ego(x, y(x), speed=halts.get(x, 5.0)))
    ]


def test_a_stop_sign_is_run_without_halting_and_served_by_halting() -> None:
    assert approach(StopSignDetector(line_at()), {}) == [10.0]
    assert approach(StopSignDetector(line_at()), {8.0: 0.05}) == []


def test_halting_needs_the_zone_and_the_speed() -> None:
    assert approach(StopSignDetector(line_at()), {10.0 - ZONE_LENGTH: 0.0}) == []
    assert approach(StopSignDetector(line_at()), {10.0 - ZONE_LENGTH - 0.5: 0.0}) == [10.0]
    assert approach(StopSignDetector(line_at()), {8.0: 0.1}) == [10.0]
    assert approach(StopSignDetector(line_at()), {10.0: 0.0}) == [10.0]


def test_a_lane_change_is_no_way_around() -> None:
    def aside(x: float) -> float:
        return 3.5 if x > 6.0 else 0.0

    assert approach(StopSignDetector(line_at()), {}, aside) == [10.0]
    assert approach(StopSignDetector(line_at()), {}, lambda x: -aside(x)) == [10.0]
    # Halting on one lane serves the sign on the other lane of the same sign too.
    two = line_at(ids=("a", "a"), ys=(0.0, 3.5))
    assert approach(StopSignDetector(two), {5.0: 0.0}, aside) == []


def test_another_road_is_not_concerned() -> None:
    assert approach(StopSignDetector(line_at()), {}, lambda x: 6.0) == []


def test_leaving_the_zone_makes_the_sign_count_again() -> None:
    detector = StopSignDetector(line_at())
    detector.update(ego(5.0, speed=0.0))
    assert detector.served.tolist() == [True]
    detector.update(ego(0.0))
    assert detector.served.tolist() == [False]
    assert approach(detector, {}) == [10.0]


def test_stop_sign_state_is_exact() -> None:
    detector, other = StopSignDetector(line_at()), StopSignDetector(line_at())
    detector.update(ego(9.5, speed=0.0))
    other.load_state_dict(detector.state_dict())
    assert not other.update(ego(10.5))


def test_no_lines_at_all() -> None:
    empty = line_at(ids=(), ys=())
    empty = StopLines((), empty.center.reshape(-1, 3), np.zeros(0), np.zeros(0))
    assert not StopSignDetector(empty).update(ego(0.0))
    assert not RedLightDetector(empty).update(ego(0.0), np.zeros(0))
