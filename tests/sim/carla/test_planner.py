from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

carla = pytest.importorskip("carla")

from robo.sim.carla.planner import LANE_CHANGE_COST, plan, road_graph  # noqa: E402
from robo.sim.carla.route_sources import random_route  # noqa: E402
from robo.sim.carla.routes import RouteError, wrap_angle  # noqa: E402
from robo.sim.carla.standin.towns import TOWNS, town  # noqa: E402

MAPS = Path(__file__).parents[4] / "shared" / "maps"


@pytest.fixture(scope="module", params=[*TOWNS, "Town01", "Town02"])
def city(request):
    name = request.param
    if name in TOWNS:
        return carla.Map(name, town(name))
    path = MAPS / f"{name}.xodr"
    if not path.exists():
        pytest.skip(f"{name}.xodr is not in ../shared/maps")
    return carla.Map(name, path.read_text())


@pytest.fixture(scope="module")
def multilane():
    return carla.Map("Multilane", town("Multilane"))


def lane_at(city, point):
    return city.get_waypoint(carla.Location(*(float(value) for value in point)))


def test_routes_follow_lanes_in_the_direction_of_traffic(city) -> None:
    generator = np.random.default_rng(0)
    for _ in range(3):
        route = random_route(city, generator, 150.0, 400.0)
        steps = np.linalg.norm(np.diff(route.points, axis=0), axis=1)
        assert steps.max() < 1.01
        assert np.abs(wrap_angle(np.diff(route.yaw))).max() < 0.6
        plain = np.flatnonzero(~route.in_junction)[5:-5:10]
        turned = []
        for index in plain:
            lane = lane_at(city, route.points[index])
            if lane.is_junction:
                continue
            turned.append(
                abs(wrap_angle(route.yaw[index] - np.radians(lane.transform.rotation.yaw)))
            )
        assert np.max(turned) < 0.8
        assert np.median(turned) < 0.05


def test_plan_reaches_its_destination_by_a_shortest_way(city) -> None:
    generator = np.random.default_rng(1)
    route = random_route(city, generator, 120.0, 300.0)
    half = len(route) // 2
    direct = plan(city, route.points[0], route.points[half])
    assert np.linalg.norm(direct.points[0] - route.points[0]) < 1.5
    assert np.linalg.norm(direct.points[-1] - route.points[half]) < 1.5
    assert direct.length <= route.distance[half] + 2 * LANE_CHANGE_COST + 3.0


def test_a_destination_behind_is_reached_around_the_block(city) -> None:
    graph = road_graph(city)
    generator = np.random.default_rng(2)
    route = random_route(city, generator, 200.0, 200.0)
    key, index = next(
        place
        for place in map(graph.locate, route.points)
        if place[1] > 15 and len(graph.samples(place[0]).points) > 20
    )
    points = graph.samples(key).points
    around = plan(city, points[index], points[index - 10])
    assert around.length > 30.0
    assert np.linalg.norm(around.points[-1] - points[index - 10]) < 1.5


def test_lane_changes_are_planned_where_the_marking_allows(multilane) -> None:
    graph = road_graph(multilane)
    key = next(
        key
        for key in sorted(graph.entry)
        if graph.samples(key).neighbours and len(graph.samples(key).points) > 60
        and not graph.samples(key).in_junction.any()
    )  # fmt: skip
    beside = graph.samples(key).neighbours[0]
    target = graph.samples(beside.key).points[55]
    route = plan(multilane, graph.samples(key).points[2], target)
    assert route.length < 62.0
    assert np.linalg.norm(route.points[-1] - target) < 1.5
    # It glides over: no jump aside from point to point.
    assert np.abs(wrap_angle(np.diff(route.yaw))).max() < 0.15


def test_places_off_the_map_are_refused_in_one_sentence(multilane) -> None:
    with pytest.raises(RouteError, match=r"off the map: \(5000.0, 5000.0\).*Multilane"):
        plan(multilane, np.array([5000.0, 5000.0, 0.0]), np.zeros(3))


def test_the_graph_is_made_once_per_town_not_per_object() -> None:
    first = carla.Map("Grid", town("Grid"))
    second = carla.Map("Grid", town("Grid"))
    assert road_graph(first) is road_graph(second)
