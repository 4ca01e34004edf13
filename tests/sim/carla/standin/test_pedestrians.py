"""The server's own pedestrians: beside the road, and across it where there is a gap."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("carla")

from robo.sim.carla.standin.pedestrians import CROSSING, WAITING
from robo.sim.carla.standin.towns import town
from robo.sim.carla.standin.world import World

CAR = "vehicle.lincoln.mkz_2020"


@pytest.mark.parametrize("name", ["Grid", "Junctions", "Multilane"])
def test_they_walk_beside_the_road_and_cross_now_and_then(name: str) -> None:
    world = World(town(name), name, seed=1)
    ids = world.populate(0, 12, seed=1)
    assert len(ids) == 12
    start = np.array([world.pose(id)[:2] for id in ids])
    crossed: set[int] = set()
    for _ in range(1200):
        world.tick()
        walk = world.pedestrians
        crossed |= {walk.ids[k] for k in np.flatnonzero(walk.phase == CROSSING)}
    moved = np.hypot(*(np.array([world.pose(id)[:2] for id in ids]) - start).T)
    assert (moved > 3.0).mean() > 0.7
    assert len(crossed) >= 6
    assert not world.collisions()


def test_those_who_do_not_cross_keep_off_the_lanes() -> None:
    world = World(town("Grid"), "Grid", seed=1)
    ids = world.populate(0, 20, seed=1)
    graph = world.lanes
    for _ in range(400):
        world.tick()
    for number, id in enumerate(ids):
        if world.pedestrians.phase[number] == CROSSING:
            continue
        x, y = world.pose(id)[:2]
        nearest = np.hypot(graph.x - x, graph.y - y).argmin()
        half = graph.width[graph.segment[nearest]] / 2.0
        assert graph.distance(int(nearest), x, y) > half - 0.3


def test_they_wait_for_a_gap() -> None:
    world = World(town("Grid"), "Grid", seed=1)
    (id,) = world.populate(0, 1, seed=3)
    world.tick()
    walk = world.pedestrians
    walk._timer[0] = 0.0
    x, y = world.pose(id)[:2]
    graph, node = world.lanes, int(walk._node[0])
    yaw = math.degrees(graph.yaw[node])
    # A car that comes along the lane at speed, seven metres away.
    pose = (graph.x[node] - 7 * graph.cos[node], graph.y[node] - 7 * graph.sin[node], 0.1)
    car = world.spawn(CAR, {}, (*map(float, pose), 0.0, yaw, 0.0))
    velocity = 8 * graph.cos[node], 8 * graph.sin[node], 0.0
    world.set_target_velocity(car.id, velocity)
    world.tick()
    assert walk.phase[0] == WAITING
    world.destroy(car.id)
    for _ in range(40):
        world.tick()
    assert walk.phase[0] == CROSSING or math.dist(world.pose(id)[:2], (x, y)) > 1.0


def test_traffic_and_pedestrians_get_along() -> None:
    world = World(town("Grid"), "Grid", seed=5)
    world.populate(20, 20, seed=5)
    walkers = {a.id for a in world.actors.values() if a.kind == "walker"}
    struck = set()
    for _ in range(800):
        world.tick()
        struck |= {hit.actor for hit in world.collisions() if hit.actor in walkers}
    assert len(struck) <= 1
