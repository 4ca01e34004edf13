"""The server's own traffic: it moves, keeps its distance, and obeys."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("carla")

from robo.sim.carla.standin.landmarks import STOP
from robo.sim.carla.standin.towns import town
from robo.sim.carla.standin.traffic_lights import RED
from robo.sim.carla.standin.world import World

CAR = "vehicle.lincoln.mkz_2020"
AUTOPILOT = {"role_name": "autopilot"}


def run(world: World, seconds: float) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Metres that each driven vehicle went, and the pairs that collided."""
    way, pairs = np.zeros(len(world.traffic.rows)), set()
    for _ in range(round(seconds / world.delta)):
        world.tick()
        if len(way) != len(world.traffic.rows):
            way = np.zeros(len(world.traffic.rows))
        way += np.hypot(*world.table.state[world.traffic.rows, 6:8].T) * world.delta
        pairs |= {(hit.actor, hit.other) for hit in world.collisions() if hit.actor < hit.other}
    return way, pairs


@pytest.mark.parametrize("name", ["Grid", "Junctions", "Multilane"])
def test_thirty_cars_circulate(name: str) -> None:
    world = World(town(name), name, seed=1)
    assert len(world.populate(30, 0, seed=2)) == 30
    way, pairs = run(world, 60.0)
    assert (way > 20.0).mean() > 0.9
    assert len(pairs) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Grid", "Junctions"])
def test_five_minutes_without_a_jam(name: str) -> None:
    world = World(town(name), name, seed=1)
    world.populate(30, 10, seed=2)
    pairs = set()
    for _ in range(3):
        way, hit = run(world, 100.0)
        assert (way > 5.0).mean() > 0.85
        pairs |= hit
    assert len(pairs) <= 5


def test_cars_keep_to_the_limit_and_to_their_lane() -> None:
    world = World(town("Multilane"), "Multilane")
    for point in world.spawn_points[::60]:
        world.spawn(CAR, AUTOPILOT, point)
    for tick in range(500):
        world.tick()
        if tick < 50:
            continue
        state = world.table.state[world.traffic.rows]
        node = world.traffic.paths.nodes[np.arange(len(state)), world.traffic.paths.at]
        graph = world.lanes
        off = (state[:, 1] - graph.y[node]) * graph.cos[node]
        off -= (state[:, 0] - graph.x[node]) * graph.sin[node]
        assert np.abs(off).max() < 1.2
        assert (np.hypot(*state[:, 6:8].T) < graph.limit[node] / 3.6 * 1.25 + 1.0).mean() > 0.9


def test_a_car_stops_behind_a_standing_one() -> None:
    world = World(town("Grid"), "Grid")
    graph = world.lanes
    long = int(np.argmax(np.where(graph.junction < 0, graph.length, 0.0)))
    first = int(graph.first[long])
    follower = world.spawn(CAR, AUTOPILOT, graph.pose(first + 4, 0.1))
    hero = world.spawn(CAR, {}, graph.pose(first + 30, 0.1))
    _, pairs = run(world, 12.0)
    gap = math.dist(world.pose(follower.id)[:2], world.pose(hero.id)[:2]) - 2 * 2.446
    assert not pairs
    assert 1.0 < gap < 4.5


def test_a_car_brakes_for_a_walker_on_its_lane() -> None:
    world = World(town("Grid"), "Grid")
    graph = world.lanes
    long = int(np.argmax(np.where(graph.junction < 0, graph.length, 0.0)))
    first = int(graph.first[long])
    world.spawn(CAR, AUTOPILOT, graph.pose(first + 4, 0.1))
    world.spawn("walker.pedestrian.0001", {}, graph.pose(first + 35, 1.0))
    _, pairs = run(world, 12.0)
    assert not pairs


def test_red_lights_are_obeyed_and_green_ones_used() -> None:
    world = World(town("Grid"), "Grid")
    plan, graph = world.road_map.lights, world.lanes
    lane = plan.lights[0].lanes[0]
    car = world.spawn(CAR, AUTOPILOT, graph.pose(int(graph.last[lane]) - 20, 0.1))
    for id in [a.id for a in world.actors.values() if a.kind == "traffic_light"]:
        world.set_light_state(id, RED)
    world.freeze_all(True)
    run(world, 15.0)
    end = graph.pose(int(graph.last[lane]))
    left = math.dist(world.pose(car.id)[:2], end[:2]) - 2.446
    assert 0.5 < left < 3.0
    assert world.snapshot()[car.row]["vehicle"]["has_light"]
    world.freeze_all(False)
    way, _ = run(world, 60.0)
    assert way[0] > 20.0


def test_stop_signs_make_cars_stop() -> None:
    world = World(town("Junctions"), "Junctions")
    graph = world.lanes
    sign = next(s for s in world.road_map.signs if s.type == STOP)
    lane = sign.lanes[0]
    car = world.spawn(CAR, AUTOPILOT, graph.pose(max(int(graph.last[lane]) - 25, 0), 0.1))
    slowest = np.inf
    for _ in range(300):
        world.tick()
        state = world.table.state[car.row]
        near = math.dist(state[:2], graph.pose(int(graph.last[lane]))[:2]) < 6.0
        slowest = min(slowest, np.hypot(*state[6:8])) if near else slowest
    assert slowest < 0.25
    way, _ = run(world, 20.0)
    assert way[0] > 10.0


def test_autopilot_can_be_switched() -> None:
    world = World(town("Grid"), "Grid")
    car = world.spawn(CAR, {}, world.spawn_points[3])
    run(world, 2.0)
    assert np.hypot(*world.table.state[car.row, 6:8]) == 0.0
    world.set_autopilot(car.id, True)
    run(world, 3.0)
    assert np.hypot(*world.table.state[car.row, 6:8]) > 1.0
    world.set_autopilot(car.id, False)
    assert world.destroy(car.id)
    world.tick()
    assert world.traffic.ids == []
    assert not any(world.traffic.right_of_way.holders.values())
