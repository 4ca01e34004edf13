"""The driving environment on the stand-in, through the unmodified client."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("carla")

import robo
from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.carla.cameras import ROLES
from robo.sim.carla.session import Session
from robo.sim.contract_check import check_contract

SMALL = {
    "vehicles": 6,
    "pedestrians": 3,
    "birdseye_size": 32,
    "pixels_per_metre": 0.25,
    "time_limit": 3.0,
}


@pytest.fixture(scope="module")
def grid():
    environment = robo.make("carla-standin/Grid", **SMALL)
    yield environment
    environment.close()


def drive(environment, seed, steps=45):
    """Everything returned from a seeded reset on, over several episodes."""
    found = [environment.reset(seed=seed)[0]]
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, 2)) * [0.2, 1.0] + [0, 0.4]
    for action in actions:
        observation, reward, terminated, truncated, info = environment.step(action)
        found += [observation, reward, terminated, truncated, info["signals"]]
        if terminated or truncated:
            found.append(environment.reset()[0])
    return found


def assert_same(one, two):
    assert len(one) == len(two)
    for index, (a, b) in enumerate(zip(one, two, strict=True)):
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                assert np.array_equal(a[key], b[key]), f"{key} differs at entry {index}"
        else:
            assert a == b, f"entry {index} differs"


@pytest.mark.parametrize(
    "town",
    [
        "Grid",
        pytest.param("Junctions", marks=pytest.mark.slow),
        pytest.param("Multilane", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_keeps_the_contract(town):
    environment = robo.make(f"carla-standin/{town}", **SMALL)
    try:
        check_contract(environment, steps=40, render=town == "Junctions")
    finally:
        environment.close()


def test_seeds_repeat_to_the_bit_whatever_happened_before(grid):
    first = drive(grid, 3)
    drive(grid, 4, steps=7)
    assert_same(first, drive(grid, 3))
    fresh = robo.make("carla-standin/Grid", **SMALL)
    try:
        assert_same(first, drive(fresh, 3))
    finally:
        fresh.close()


def test_time_limit_truncates_and_tells_the_route(grid):
    grid.reset(seed=0)
    for step in range(30):
        _, reward, terminated, truncated, info = grid.step(np.array([0.0, -1.0]))
        assert reward == 0.0 and not terminated
        assert truncated == (step == 29) and ("route" in info) == truncated
    route = info["route"]
    assert route["route_completion"] == 0.0 and route["collisions"] == 0
    assert route["time"] == pytest.approx(3.0) and 200 <= route["route_length"] <= 400
    with pytest.raises(RoboError, match="reset"):
        grid.step(np.zeros(2))


def test_driving_earns_the_share_of_the_route(grid):
    grid.reset(seed=1)
    earned = 0.0
    for _ in range(25):
        observation, reward, terminated, truncated, info = grid.step(np.array([0.0, 0.6]))
        earned += reward
        if terminated or truncated:
            break
    assert earned == pytest.approx(info["signals"]["route_completion"] / 100, abs=1e-6)
    assert earned > 0.005
    steer, throttle, brake, gear, ahead, right, forward, limit = observation["state"]
    assert steer == 0.0 and throttle == pytest.approx(0.6) and brake == 0.0 and gear >= 1
    assert ahead == forward > 2.0 and abs(right) < 0.5
    assert 25 / 3.6 < limit < 60 / 3.6
    assert observation["critic_state"][0] == pytest.approx(1 - 25 * 0.1 / 3.0, abs=1e-5)


def test_bad_actions_and_options_are_refused(grid):
    grid.reset(seed=0)
    with pytest.raises(RoboError, match="two finite numbers"):
        grid.step(np.array([0.0, np.nan]))
    with pytest.raises(RoboError, match="no option cars"):
        robo.make("carla-standin/Grid", cars=3)
    with pytest.raises(RoboError, match="TrafficManager"):
        robo.make("carla/Town01", host="127.0.0.1", port=2000)
    with pytest.raises(RoboError, match="carla_root"):
        robo.make("carla/Town01", vehicles=0)
    with pytest.raises(RoboError, match="holds no CarlaUE4"):
        robo.make("carla/Town01", vehicles=0, carla_root="/")
    with pytest.raises(RoboError, match=r"out of a bird's-eye view .* metres_behind < 32$"):
        robo.make("carla-standin/Grid", birdseye_size=64)
    with pytest.raises(RoboError, match="metres_behind -1 leaves"):
        robo.make("carla-standin/Grid", metres_behind=-1.0)
    with pytest.raises(RoboError, match="is no file"):
        robo.make("carla-standin/Grid", opendrive="nowhere.xodr")


def test_cameras_are_of_the_step_they_belong_to(grid):
    schedule = CameraSchedule(ROLES, height=32, width=48, stride=5)
    grid.set_camera_schedule(schedule)
    try:
        _, info = grid.reset(seed=2)
        before = info["frames"]
        assert set(before) == set(ROLES)
        assert all(image.shape == (32, 48, 3) for image in before.values())
        for step in range(1, 11):
            *_, info = grid.step(np.array([0.0, 1.0]))
            assert ("frames" in info) == (step % 5 == 0)
        assert not np.array_equal(before["front"], info["frames"]["front"])
        again = grid.reset(seed=2)[1]["frames"]
        assert all(np.array_equal(before[role], again[role]) for role in ROLES)
    finally:
        grid.set_camera_schedule(None)


def test_a_killed_server_costs_one_episode():
    options = {**SMALL, "tick_timeout": 1.0}
    environment = robo.make("carla-standin/Grid", **options)
    try:
        environment.reset(seed=5)
        for _ in range(12):
            before, *_, told = environment.step(np.array([0.0, 1.0]))
        victim = environment._supervisor._server.process_id
        os.kill(victim, signal.SIGKILL)
        start = time.monotonic()
        after, reward, terminated, truncated, info = environment.step(np.array([0.0, 1.0]))
        assert truncated and not terminated and reward == 0.0
        assert info["server_lost"] is True and not info["success"]
        signals, last = info["signals"], told["signals"]
        assert signals.keys() == last.keys()
        assert signals["route_completion"] == last["route_completion"] > 0.0
        assert info["route"]["route_completion"] == last["route_completion"]
        for name in ("speed", "speed_limit", "lane_width", "vehicle_gap", "red_light_gap"):
            assert signals[name] == last[name] > 0.0
        assert last["distance"] > 0.0
        assert signals["distance"] == signals["delta_route_completion"] == 0.0
        assert all(np.array_equal(before[key], after[key]) for key in before)
        environment.reset()
        assert not environment.step(np.array([0.0, 1.0]))[4].get("server_lost")
        assert time.monotonic() - start < 20
        assert environment.server_restarts == 1
        assert not Path(f"/proc/{victim}").exists()
    finally:
        environment.close()


@pytest.mark.slow
def test_a_silent_server_is_replaced():
    environment = robo.make("carla-standin/Grid", **SMALL, tick_timeout=0.5)
    try:
        environment.reset(seed=5)
        os.kill(environment._supervisor._server.process_id, signal.SIGSTOP)
        *_, truncated, info = environment.step(np.zeros(2))
        assert truncated and "does not answer" in info["reason"]
        environment.reset()
        assert environment.server_restarts == 1
    finally:
        environment.close()


def test_a_narrow_bird_renders_what_a_crop_keeps():
    wide = {**SMALL, "vehicles": 0, "pedestrians": 0}
    narrow = {**wide, "bird_fov": np.degrees(2 * np.arctan(0.25))}
    shown = []
    for options, size in ((wide, 128), (narrow, 32)):
        environment = robo.make("carla-standin/Grid", **options)
        try:
            environment.set_camera_schedule(CameraSchedule(("bird",), size, size, 1))
            shown.append(environment.reset(seed=5)[1]["frames"]["bird"].astype(float))
        finally:
            environment.close()
    crop, whole = shown[0][48:80, 48:80], shown[0][::4, ::4]
    assert 2 * np.abs(crop - shown[1]).mean() < np.abs(whole - shown[1]).mean()
    with pytest.raises(RoboError, match=r"bird_fov is 180.0, expected above 0"):
        robo.make("carla-standin/Grid", bird_fov=180.0)


def test_a_server_may_take_long_over_its_first_pictures(monkeypatch):
    environment = robo.make("carla-standin/Grid", **SMALL, tick_timeout=0.5)
    show, paused = Session.show, []

    def slowly(session, *arguments):
        if not paused:
            paused.append(environment._supervisor._server.process_id)
            os.kill(paused[0], signal.SIGSTOP)
            threading.Timer(1.5, os.kill, (paused[0], signal.SIGCONT)).start()
        show(session, *arguments)

    monkeypatch.setattr(Session, "show", slowly)
    try:
        environment.set_camera_schedule(CameraSchedule(("front",), 32, 32, 1))
        environment.reset(seed=5)
        assert paused and environment.server_restarts == 0
        assert environment._session.connection.tick_timeout == 0.5
    finally:
        environment.close()


@pytest.mark.slow
def test_the_leak_budget_replaces_the_server():
    environment = robo.make("carla-standin/Grid", **SMALL, episodes_per_server=2)
    try:
        for episode in range(4):
            environment.reset(seed=9)
            assert environment.server_restarts == episode // 2
    finally:
        environment.close()


def test_routes_of_a_file_are_driven_in_order_of_their_index(tmp_path, grid):
    grid.reset(seed=0)
    route = grid._session.route
    places = [route.points[0], route.points[60], route.points[120]]
    inside = "".join(f'<position x="{x}" y="{y}" z="{z}"/>' for x, y, z in places)
    off = '<position x="1e5" y="0" z="0"/><position x="2e5" y="0" z="0"/>'
    file = tmp_path / "routes.xml"
    file.write_text(
        f'<routes><route id="0" town="Grid"><waypoints>{inside}</waypoints></route>'
        f'<route id="1" town="Grid"><waypoints>{off}</waypoints></route>'
        f'<route id="2" town="Town01"><waypoints>{off}</waypoints></route></routes>'
    )
    environment = robo.make("carla-standin/Grid", **SMALL, route_file=str(file))
    try:
        _, info = environment.reset(seed=0, options={"route": 0})
        assert info["initial_state"] == 0 == environment.episode_info().initial_state
        assert environment._session.route.length == pytest.approx(120.0, abs=3.0)
        with pytest.raises(RoboError, match=r"off the map|from any"):
            environment.reset(options={"route": 1})
        with pytest.raises(RoboError, match="holds 2 routes"):
            environment.reset(options={"route": 2})
    finally:
        environment.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_vectors_take_the_towns_in_turn_and_outlive_their_servers():
    vector = robo.make_vec("carla-standin/All", 3, **SMALL, tick_timeout=1.0)
    try:
        assert vector.backend == "workers" and vector.task == "carla-standin/All"
        check_contract(vector, steps=12, render=False)
        towns = [vector.episode_info(index).task for index in range(3)]
        assert towns == [f"carla-standin/{town}" for town in ("Grid", "Junctions", "Multilane")]
        lost = 0
        servers = children_of(vector.process_ids)
        assert len(servers) == 3
        for victim in servers[:2]:
            os.kill(victim, signal.SIGKILL)
        for _ in range(40):
            *_, infos = vector.step(np.tile([0.0, 1.0], (3, 1)).astype(np.float32))
            lost += int(np.sum(infos.get("final_info", {}).get("server_lost", False)))
        assert lost == 2
        servers = children_of(vector.process_ids)
    finally:
        vector.close()
    assert len(servers) == 3
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in servers):
        assert time.monotonic() < deadline, "a server outlived its environment"
        time.sleep(0.05)


def children_of(parents):
    """Process ids of the servers that worker processes started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) in parents and fields[0] != "Z":
            found.append(int(status.parent.name))
    return sorted(found)


@pytest.mark.slow
def test_a_collision_counts_in_the_step_in_which_it_happens():
    options = {**SMALL, "vehicles": 40, "pedestrians": 0, "time_limit": 60.0}
    environment = robo.make("carla-standin/Multilane", **options, end_on_infraction=False)
    hits = 0
    try:
        environment.reset(seed=1)
        for _ in range(600):
            speed = environment._session.state.ego.speed
            *_, terminated, truncated, info = environment.step(np.array([0.0, 1.0]))
            if info["signals"]["collision"]:
                assert terminated and not info["success"]
                assert info["signals"]["collision_speed"] == pytest.approx(speed)
                assert environment._session.state.ego.speed < speed + 0.5
                assert info["route"]["collisions"] == 1
                hits += 1
            if terminated or truncated:
                environment.reset()
            if hits:
                break
        assert hits
    finally:
        environment.close()
