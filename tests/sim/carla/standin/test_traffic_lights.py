"""Traffic lights and signs: actors, phases, clocks, trigger volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("carla")

from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.towns import town
from robo.sim.carla.standin.traffic_lights import GREEN, RED, YELLOW
from robo.sim.carla.standin.world import World

TOWN01 = Path(__file__).parents[5] / "shared" / "maps" / "Town01.xodr"
CAR = "vehicle.lincoln.mkz_2020"


@pytest.fixture(params=["Grid", "Multilane", "Town01"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param != "Town01":
        return World(town(request.param), request.param, seed=3)
    if not TOWN01.exists():
        pytest.skip("Town01.xodr is not beside the repository")
    return World(TOWN01.read_text(), "Town01", seed=3)


def lights(world: World) -> list[int]:
    return [a.id for a in world.actors.values() if a.kind == "traffic_light"]


def test_every_physical_light_is_one_actor_with_lanes(world: World) -> None:
    plan = world.road_map.lights
    assert len(lights(world)) == len({light.id for light in plan.lights}) > 0
    assert all(light.lanes and light.ways for light in plan.lights)
    graph = world.lanes
    for light in plan.lights:
        assert all(graph.junction[lane] < 0 for lane in light.lanes)
        assert len({int(graph.junction[way]) for way in light.ways}) == 1
    rows = world.snapshot()
    states = rows[[world.actors[id].row for id in lights(world)]]["light"]
    assert [s.decode() for s in states["opendrive_id"]] == [light.id for light in plan.lights]


def test_conflicting_approaches_are_never_green_together(world: World) -> None:
    plan, junctions = world.road_map.lights, world.road_map.junctions
    conflicts = [
        (a, b)
        for members in plan.members
        for a in members
        for b in members
        if a < b and plan.in_conflict(a, b, junctions)
    ]
    assert conflicts
    ever_green: set[int] = set()
    for _ in range(80 * 20):
        world.lights.tick(0.05)
        color = world.lights.color
        go = np.flatnonzero((color == GREEN) | (color == YELLOW))
        ever_green |= set(go.tolist())
        assert not any(color[a] != RED and color[b] != RED for a, b in conflicts)
    assert len(ever_green) == len(color)


def test_default_cycle(world: World) -> None:
    world.reset_lights()
    light = int(np.flatnonzero(world.lights.color == GREEN)[0])
    seen = []
    for _ in range(17 * 20):
        world.tick()
        seen.append(int(world.lights.color[light]))
    assert seen.count(GREEN) / 20 >= 9.9
    assert seen[:199] == [GREEN] * 199
    assert seen[201:259] == [YELLOW] * 58
    assert seen[261:299] == [RED] * 38


def test_times_states_and_freezing(world: World) -> None:
    id = lights(world)[0]
    group = world.light_group(id)
    assert id in group
    world.set_light_times(id, green=4.0, yellow=1.0, red=0.5)
    row = world.actors[id].row
    world.tick()
    state = world.snapshot()[row]["light"]
    assert (state["green_time"], state["yellow_time"], state["red_time"]) == (4.0, 1.0, 0.5)
    for other in group:
        world.set_light_state(other, GREEN)
    world.freeze_light(id, True)
    for _ in range(1000):
        world.tick()
    rows = world.snapshot()[[world.actors[other].row for other in group]]["light"]
    assert (rows["state"] == GREEN).all()
    assert rows["frozen"].all()
    world.freeze_all(False)
    for _ in range(1000):
        world.tick()
    assert not world.snapshot()[row]["light"]["frozen"]
    colors = world.snapshot()[[world.actors[other].row for other in group]]["light"]["state"]
    assert (colors == GREEN).sum() < len(group) or len(group) == 1
    with pytest.raises(StandinError, match="not a traffic_light"):
        world.freeze_light(world.spectator, True)


def test_a_vehicle_in_the_trigger_volume_reports_its_light(world: World) -> None:
    graph, plan = world.lanes, world.road_map.lights
    world.freeze_all(True)
    for number, id in list(enumerate(lights(world)))[:6]:
        light = plan.lights[number]
        node = int(graph.last[light.lanes[0]]) - 5
        for other in [a.id for a in world.actors.values() if a.kind == "vehicle"]:
            world.destroy(other)
        car = world.spawn(CAR, {}, graph.pose(node, 0.1))
        for color in (RED, YELLOW, GREEN):
            world.set_light_state(id, color)
            world.tick()
            state = world.snapshot()[car.row]["vehicle"]
            assert state["has_light"]
            assert state["light_id"] == id
            assert state["light_state"] == color
        way = light.ways[0]
        world.set_transform(car.id, graph.pose(int(graph.first[way] + graph.last[way]) // 2))
        world.tick()
        assert not world.snapshot()[car.row]["vehicle"]["has_light"]


def test_trigger_volume_covers_its_lanes(world: World) -> None:
    """The box that clients see holds the nodes that trigger, and its x axis lies across."""
    graph = world.lanes
    for signal in world.road_map.lights.lights:
        yaw = np.radians(signal.pose[4])
        ends = graph.last[list(signal.lanes)]
        dx, dy = graph.x[ends] - signal.pose[0], graph.y[ends] - signal.pose[1]
        x = dx * np.cos(yaw) + dy * np.sin(yaw) - signal.center[0]
        y = dy * np.cos(yaw) - dx * np.sin(yaw) - signal.center[1]
        assert (np.abs(x) <= signal.extent[0]).all()
        assert (np.abs(y) <= signal.extent[1] + 2.0).all()


def test_signs_and_limits() -> None:
    world = World(town("Junctions"), "Junctions")
    kinds = {a.type_id for a in world.actors.values() if a.kind == "traffic_sign"}
    assert {"traffic.stop", "traffic.yield"} <= kinds
    assert any(kind.startswith("traffic.speed_limit.") for kind in kinds)
    car = world.spawn(CAR, {}, world.spawn_points[0])
    world.tick()
    x, y, _, _, yaw, _ = world.spawn_points[0]
    node = world.lanes.nearest(np.array([x]), np.array([y]), np.radians([yaw]))[0]
    assert world.snapshot()[car.row]["vehicle"]["speed_limit"] == world.lanes.limit[node]
    assert world.lanes.limit.min() >= 20.0
