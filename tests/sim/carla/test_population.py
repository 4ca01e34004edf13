"""Traffic of an episode: pedestrians that the client walks, and what counts as an obstacle."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("carla")

import carla

from robo.sim.carla.client import Connection
from robo.sim.carla.population import Population
from robo.sim.carla.session import others_by_kind
from robo.sim.carla.standin.process import start_process

ROUTE = np.zeros((20, 3))
WALKERS = 3


@pytest.fixture(scope="module")
def connection():
    with start_process("Grid", seed=1) as server:
        connected = Connection("127.0.0.1", server.port, "Grid")
        yield connected
        connected.close()


def test_each_pedestrian_gets_a_controller_and_a_way(connection, monkeypatch) -> None:
    # The stand-in has no mesh; the places are given, all else is the client's and the server's.
    place = carla.Location(10.0, 20.0, 0.0)
    monkeypatch.setattr(carla.World, "get_random_location_from_navigation", lambda world: place)
    population = Population(connection, 0, WALKERS, foreign=True)
    for episode in range(2):
        population.repopulate(np.random.default_rng(episode), ROUTE)
        connection.tick()
        population.set_out()
        connection.tick()
        actors = connection.world.get_actors()
        walkers = {actor.id for actor in actors.filter("walker.*")}
        controllers = list(actors.filter("controller.ai.walker"))
        assert len(walkers) == WALKERS
        assert {controller.parent.id for controller in controllers} == walkers
        assert len(controllers) == WALKERS
    population.clear()
    connection.tick()
    left = connection.world.get_actors()
    assert not list(left.filter("walker.*")) and not list(left.filter("controller.*"))
    population.close()


def test_without_a_mesh_pedestrians_are_there_and_nobody_leads_them(connection) -> None:
    population = Population(connection, 0, WALKERS, foreign=True)
    population.repopulate(np.random.default_rng(0), ROUTE)
    connection.tick()
    population.set_out()
    actors = connection.world.get_actors()
    assert len(actors.filter("walker.*")) == WALKERS
    assert not list(actors.filter("controller.*"))
    population.clear()
    connection.tick()
    population.close()


def test_the_driven_car_and_dirt_are_no_obstacles() -> None:
    kinds = {
        9: "static.prop.trafficcone01",
        8: "static.prop.dirtdebris02",
        7: "vehicle.lincoln.mkz_2020",
        5: "vehicle.audi.tt",
        4: "walker.pedestrian.0001",
        3: "traffic.traffic_light",
        2: "static.prop.dirtdebris01",
        1: "static.prop.barrel",
    }
    actors = [SimpleNamespace(id=id, type_id=kind) for id, kind in kinds.items()]
    found = others_by_kind(actors, own=7)
    assert {kind: [actor.id for actor in group] for kind, group in found.items()} == {
        "vehicle": [5],
        "walker": [4],
        "static": [1, 9],
    }
