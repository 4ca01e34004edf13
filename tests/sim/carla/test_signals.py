from __future__ import annotations

import numpy as np
import pytest

carla = pytest.importorskip("carla")

from robo.sim.carla.driving_state import (  # noqa: E402
    GREEN,
    RED,
    Bodies,
    CollisionEvent,
    DrivingState,
    Ego,
)
from robo.sim.carla.hazards import NO_HAZARD, gap_on_route  # noqa: E402
from robo.sim.carla.route_sources import random_route  # noqa: E402
from robo.sim.carla.routes import Route  # noqa: E402
from robo.sim.carla.signals import SIGNAL_NAMES, SignalBuilder, without_a_step  # noqa: E402
from robo.sim.carla.standin.towns import TOWNS, town  # noqa: E402
from robo.sim.carla.traffic_rules import light_stop_lines, stop_sign_lines  # noqa: E402


@pytest.fixture(scope="module")
def city():
    return carla.Map("Grid", town("Grid"))


@pytest.fixture(scope="module")
def route(city):
    return random_route(city, np.random.default_rng(2), 250.0, 250.0)


def state_at(route, index, builder, *, speed=5.0, light=GREEN, time=0.0, **fields) -> DrivingState:
    yaw = float(route.yaw[index])
    ego = Ego(
        route.points[index].copy(), yaw, speed * np.array([np.cos(yaw), np.sin(yaw), 0.0]),
        np.zeros(3), np.array([2.4, 1.0, 0.8]),
    )  # fmt: skip
    lights = np.full(len(builder.stop_lines), light)
    return DrivingState(time, 0.1, ego, light_state=lights, speed_limit=30.0, **fields)


def drive(builder, route, indices, **fields):
    builder.reset(route, state_at(route, indices[0], builder, **fields))
    return [builder.step(state_at(route, index, builder, **fields)) for index in indices[1:]]


def test_a_route_on_green_is_finished_without_any_infraction(city, route) -> None:
    builder = SignalBuilder(city)
    steps = drive(builder, route, range(len(route)))
    assert all(tuple(sorted(step.signals)) == tuple(sorted(SIGNAL_NAMES)) for step in steps)
    assert all(np.isfinite(list(step.signals.values())).all() for step in steps)
    assert steps[-1].finished
    assert not any(step.ended_by for step in steps)
    assert steps[-1].signals["route_completion"] == 100.0
    total = sum(step.signals["delta_route_completion"] for step in steps)
    assert total == pytest.approx(100.0)
    assert max(step.signals["route_offset"] for step in steps) < 0.3
    assert not any(step.signals["wrong_lane"] for step in steps)
    assert max(step.signals["lateral_offset"] for step in steps) < 1.0
    assert builder.summary().score == pytest.approx(100.0)
    assert builder.summary().distance == pytest.approx(route.length, rel=0.01)


def test_red_lights_on_the_route_end_it(city, route) -> None:
    builder = SignalBuilder(city)
    steps = drive(builder, route, range(len(route)), light=RED)
    ended = [index for index, step in enumerate(steps) if step.ended_by]
    assert ended
    assert steps[ended[0]].ended_by == "red_light"
    gaps = [step.signals["red_light_gap"] for step in steps[: ended[0] - 6]]
    np.testing.assert_allclose(np.diff(gaps), -1.0, atol=0.05)


def test_collision_outranks_and_reports_the_speed_before(city, route) -> None:
    builder = SignalBuilder(city)
    builder.reset(route, state_at(route, 0, builder, speed=7.0))
    hit = state_at(route, 1, builder, speed=0.0, collisions=(CollisionEvent("walker"),))
    step = builder.step(hit)
    assert step.ended_by == "collision"
    assert step.signals["collision_walker"] == 1.0
    assert step.signals["collision_speed"] == pytest.approx(7.0)


def test_leaving_the_route(city, route) -> None:
    builder = SignalBuilder(city)
    builder.reset(route, state_at(route, 5, builder))
    away = state_at(route, 5, builder)
    away.ego.location = away.ego.location + np.array([0.0, 0.0, 0.0])
    away.ego.location[:2] += 31.0 * np.array([-np.sin(route.yaw[5]), np.cos(route.yaw[5])])
    step = builder.step(away)
    assert step.ended_by == "route_deviation" or step.signals["route_offset"] < 30.0
    assert step.signals["distance"] == pytest.approx(31.0)


def test_leaving_the_road_ends_the_episode(city, route) -> None:
    builder = SignalBuilder(city)
    builder.reset(route, state_at(route, 5, builder))
    found = {}
    for aside in (1.0, 2.0, 15.0):
        away = state_at(route, 5, builder)
        aside_of = np.array([-np.sin(route.yaw[5]), np.cos(route.yaw[5])])
        away.ego.location[:2] += aside * aside_of
        found[aside] = builder.step(away)
    assert not found[1.0].ended_by and not found[2.0].signals["off_road"]
    assert found[15.0].signals["off_road"] and found[15.0].ended_by == "off_road"
    assert builder.summary().off_road == 1


SHOULDER = """<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="4" name="Shoulder"/>
<road name="" length="200.0" id="0" junction="-1"><link/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="200.0"><line/></geometry></planView>
<lanes><laneSection s="0"><center><lane id="0" type="none"/></center><right>
<lane id="-1" type="driving"><width sOffset="0" a="4.0" b="0" c="0" d="0"/></lane>
<lane id="-2" type="{}"><width sOffset="0" a="3.0" b="0" c="0" d="0"/></lane>
</right></laneSection></lanes></road></OpenDRIVE>"""


@pytest.mark.parametrize(
    ("kind", "aside", "off", "outside"),
    [
        ("shoulder", 2.0, False, False),
        ("shoulder", 5.5, False, True),
        ("shoulder", 7.8, False, True),
        ("shoulder", 8.0, True, True),
        ("border", 5.5, True, True),
    ],
)
def test_a_shoulder_is_road_but_no_lane(kind, aside, off, outside) -> None:
    # The lane ends 4 m from the road's centre line, the shoulder 7 m; the car is 2 m wide.
    road = carla.Map("Shoulder", SHOULDER.format(kind))
    points = np.stack([np.arange(0.0, 150.0), np.full(150, 2.0), np.zeros(150)], 1)
    along = Route.from_samples(points, np.full(150, 4.0), np.zeros(150, bool))
    builder = SignalBuilder(road)
    builder.reset(along, state_at(along, 10, builder))
    beside = state_at(along, 10, builder)
    beside.ego.location[1] = aside
    step = builder.step(beside)
    assert (step.signals["off_road"], step.signals["outside_lanes"]) == (off, outside)
    assert step.ended_by == ("off_road" if off else "")


def test_without_a_step_the_state_stays() -> None:
    nothing = without_a_step()
    assert tuple(nothing) == SIGNAL_NAMES
    assert nothing["walker_gap"] == nothing["red_light_gap"] == NO_HAZARD
    assert nothing["route_completion"] == 0.0
    found = without_a_step(dict.fromkeys(SIGNAL_NAMES, 1.0))
    assert tuple(found) == SIGNAL_NAMES
    kept = {name for name, value in found.items() if value == 1.0}
    assert {"route_completion", "lane_width", "speed_limit", "vehicle_gap"} <= kept
    assert not kept & {"delta_route_completion", "distance", "collision", "red_light", "off_road"}


def test_gaps_see_what_is_in_the_way(city, route) -> None:
    builder = SignalBuilder(city)
    state = state_at(route, 0, builder)

    def gap(index, aside, height=0.0):
        yaw = route.yaw[index]
        center = route.points[index] + np.array([-np.sin(yaw) * aside, np.cos(yaw) * aside, height])
        one = Bodies(
            np.array([1]), center[None], np.array([yaw]), np.zeros((1, 3)),
            np.array([[2.0, 1.0, 0.8]]), np.zeros(1, np.int64),
        )  # fmt: skip
        return gap_on_route(route, 0.0, 1, state.ego, one)

    assert gap(30, 0.0) == pytest.approx(30.0, abs=0.3)
    assert gap(30, 2.2) == pytest.approx(30.0, abs=0.5)
    assert gap(30, 3.5) == NO_HAZARD
    assert gap(30, 0.0, height=6.0) == NO_HAZARD
    assert gap(150, 0.0) == NO_HAZARD


def test_critic_state(city, route) -> None:
    builder = SignalBuilder(city)
    builder.reset(route, state_at(route, 0, builder))
    for _ in range(10):
        builder.step(state_at(route, 0, builder, speed=0.0))
    critic = builder.critic_state(300.0)
    assert critic.shape == (10,)
    assert critic.dtype == np.float32
    assert critic[0] == pytest.approx(0.75)
    assert critic[1] == pytest.approx(1 - 1.0 / 90)
    assert critic[2] == pytest.approx((len(route) - 1) / 100)
    assert not critic[3:].any()


def test_state_is_exact_in_mid_episode(city, route) -> None:
    generator = np.random.default_rng(0)
    states = []
    builder, other = SignalBuilder(city), SignalBuilder(city)
    for index in range(60):
        state = state_at(route, index, builder, light=RED if index % 7 else GREEN)
        state.ego.location[:2] += generator.normal(0, 0.3, 2)
        state.ego.acceleration = generator.normal(0, 15, 3)
        states.append(state)
    builder.reset(route, states[0])
    for state in states[1:30]:
        builder.step(state)
    other.load_state_dict(builder.state_dict(), route)
    for state in states[30:]:
        assert builder.step(state) == other.step(state)
    np.testing.assert_array_equal(builder.critic_state(1.0), other.critic_state(1.0))
    assert builder.summary() == other.summary()


@pytest.mark.parametrize("name", TOWNS)
def test_stop_lines_lie_just_before_junctions(name) -> None:
    city = carla.Map(name, town(name))
    for lines in (light_stop_lines(city), stop_sign_lines(city)):
        for center, yaw in zip(lines.center, lines.yaw, strict=True):
            ahead = center + 2.0 * np.array([np.cos(yaw), np.sin(yaw), 0.0])
            assert not city.get_waypoint(carla.Location(*map(float, center))).is_junction
            assert city.get_waypoint(carla.Location(*map(float, ahead))).is_junction
