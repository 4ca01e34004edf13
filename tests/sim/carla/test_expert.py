"""The scripted driver follows its route, and looks ahead where it is not blind."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("carla")

import robo
from robo.policies.recorder import record_episodes
from robo.sim.carla.birdseye import LINES, ROUTE, VEHICLES
from robo.sim.carla.expert import OPTIONS, RED, DriverStyle, RouteFollower

EGO_ROW, MIDDLE = 48, 32


def view(speed=0.0, **channels):
    """One observation; channels are painted at (metres ahead, metres to the right)."""
    raster = np.zeros((1, 10, 64, 64), np.uint8)
    for name, (value, places) in channels.items():
        for ahead, right in places:
            index = {"route": ROUTE, "vehicles": VEHICLES, "lines": LINES}[name]
            raster[0, index, EGO_ROW - 1 - ahead, MIDDLE + right] = value
    state = np.zeros((1, 8), np.float32)
    state[0, 6] = speed
    return {"birdseye": raster, "state": state}


def act(observation, blind=0.0):
    driver = RouteFollower(DriverStyle(slowest=5.0, fastest=5.0, blind=blind, noise=0.0))
    driver.reset(1)
    return driver(observation, np.array([True]))[0]


STRAIGHT = (255, [(k, 0) for k in range(2, 20)])


def test_it_steers_at_the_route():
    steer, push = act(view(route=STRAIGHT))
    assert abs(steer) < 0.15 and push > 0.5
    assert act(view(route=(255, [(5, 5)])))[0] > 0.3
    assert act(view(route=(255, [(5, -5)])))[0] < -0.3
    assert act(view())[0] == 0.0


def test_it_stops_before_what_is_in_the_way_unless_blind():
    free = act(view(5.0, route=STRAIGHT))[1]
    car = view(5.0, route=STRAIGHT, vehicles=(200, [(6, 0)]))
    assert act(car)[1] == -1.0 and act(car, blind=1.0)[1] == free > -0.3
    assert act(view(5.0, route=STRAIGHT, vehicles=(200, [(6, 4)])))[1] == free
    assert act(view(5.0, route=STRAIGHT, lines=(RED, [(5, 0)])))[1] == -1.0
    assert act(view(5.0, route=STRAIGHT, lines=(80, [(5, 0)])))[1] == free


@pytest.mark.slow
def test_it_drives_in_town():
    calm = {"vehicles": 0, "pedestrians": 0, "time_limit": 15.0, "end_on_infraction": False}
    env = robo.make_vec("carla-standin/Grid", 1, backend="in_process", **calm, **OPTIONS)
    try:
        style = DriverStyle(slowest=6.0, fastest=6.0, blind=1.0)
        (episode,) = record_episodes(env, RouteFollower(style), [3])
    finally:
        env.close()
    assert episode.signals["distance"].sum() > 40
    assert np.abs(episode.signals["route_offset"]).max() < 1.5
    assert episode.metadata["driver"] == "blind"
