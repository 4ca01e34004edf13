"""Built-in towns, as the real CARLA client reads them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest

carla = pytest.importorskip("carla")
pytest.importorskip("scenariogeneration")

from robo.errors import RoboError  # noqa: E402
from robo.sim.carla.standin.towns import TOWNS, town  # noqa: E402
from robo.sim.carla.standin.towns.plans import grid  # noqa: E402

DRIVING = carla.LaneType.Driving
NAMES = sorted(TOWNS)
PLANS = [*NAMES, "Grid2"]
"""The towns, and the grid with two lanes each way."""
JUNCTIONS = {"Grid": 21, "Grid2": 21, "Junctions": 12, "Multilane": 9}


@cache
def parsed(name: str) -> Any:
    """The town as a map of the unmodified client."""
    return carla.Map(name, grid(lanes=2) if name == "Grid2" else town(name))


@cache
def waypoints(name: str) -> list[Any]:
    """Waypoints every half metre on all driving lanes."""
    return parsed(name).generate_waypoints(0.5)


def lane(waypoint: Any) -> tuple[int, int, int]:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def lane_graph(name: str) -> dict[tuple[int, int, int], set[tuple[int, int, int]]]:
    """Lanes that can be entered from each lane, lane changes included."""
    graph: dict[tuple[int, int, int], set[tuple[int, int, int]]] = {}
    for start, end in parsed(name).get_topology():
        following = graph.setdefault(lane(start), set())
        following.update(lane(after) for after in end.next(0.5))
        for change, neighbour in (
            (carla.LaneChange.Left, start.get_left_lane()),
            (carla.LaneChange.Right, start.get_right_lane()),
        ):
            if start.lane_change & change and neighbour.lane_type == DRIVING:
                following.add(lane(neighbour))
    return graph


def reach(graph: dict[Any, set[Any]], root: Any) -> set[Any]:
    seen, open_lanes = {root}, [root]
    while open_lanes:
        new = graph[open_lanes.pop()] - seen
        seen |= new
        open_lanes.extend(new)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_town_is_deterministic_and_cached(name: str) -> None:
    assert TOWNS[name]() == town(name)
    assert town(name) is town(name)


def test_unknown_town_is_one_clear_sentence() -> None:
    with pytest.raises(RoboError, match=r"Atlantis.*Grid, Junctions, Multilane"):
        town("Atlantis")


@pytest.mark.parametrize("name", PLANS)
def test_every_lane_reaches_every_other(name: str) -> None:
    graph = lane_graph(name)
    backward: dict[Any, set[Any]] = {node: set() for node in graph}
    for node, following in graph.items():
        for after in following:
            backward[after].add(node)
    root = min(graph)
    assert reach(graph, root) == set(graph)
    assert reach(backward, root) == set(graph)


@pytest.mark.parametrize("name", PLANS)
def test_lane_centres_are_continuous(name: str) -> None:
    for waypoint in waypoints(name):
        following = waypoint.next(0.5)
        assert following, f"lane {lane(waypoint)} ends at s={waypoint.s:.1f}"
        for after in following:
            distance = waypoint.transform.location.distance(after.transform.location)
            turn = after.transform.rotation.yaw - waypoint.transform.rotation.yaw
            assert 0.2 < distance < 1.0, (lane(waypoint), lane(after), distance)
            assert abs((turn + 180.0) % 360.0 - 180.0) < 10.0, (lane(waypoint), lane(after))


@pytest.mark.parametrize("name", PLANS)
def test_junctions_and_turns(name: str) -> None:
    junctions = {w.junction_id: w.get_junction() for w in waypoints(name) if w.is_junction}
    assert len(junctions) == JUNCTIONS[name]
    turns: Counter[int] = Counter()
    for junction in junctions.values():
        pairs = junction.get_waypoints(DRIVING)
        assert len(pairs) >= 3
        for start, end in pairs:
            turn = end.transform.rotation.yaw - start.transform.rotation.yaw
            turns[round(((turn + 180.0) % 360.0 - 180.0) / 90.0)] += 1
    assert set(turns) <= {-1, 0, 1}
    assert min(turns[-1], turns[0], turns[1]) >= 3


@pytest.mark.parametrize("name", PLANS)
def test_traffic_keeps_right_beside_sidewalks_and_marks(name: str) -> None:
    for waypoint in waypoints(name)[::25]:
        if waypoint.is_junction:
            continue
        outward = waypoint
        while outward.lane_type == DRIVING:
            assert outward.lane_id * waypoint.lane_id > 0
            assert 3.0 < outward.lane_width < 5.0
            assert outward.right_lane_marking.type in (
                carla.LaneMarkingType.Solid,
                carla.LaneMarkingType.Broken,
            )
            outward = outward.get_right_lane()
        assert outward.lane_type == carla.LaneType.Sidewalk


@pytest.mark.parametrize("name", ["Grid", "Grid2", "Multilane"])
def test_every_way_into_a_crossing_has_its_own_light(name: str) -> None:
    lights: Counter[str] = Counter()
    for start, end in parsed(name).get_topology():
        if start.is_junction:
            continue
        seen = end.get_landmarks_of_type(3.0, "1000001", False)
        assert {mark.waypoint.road_id for mark in seen} >= {w.road_id for w in end.next(1.0)}
        assert len({mark.id for mark in seen}) == 1
        lights[seen[0].id] += 1
        for mark in seen:
            offset = mark.transform.location - end.transform.location
            assert 1.5 < offset.dot(end.transform.get_right_vector()) < 12.0
            assert abs(offset.dot(end.transform.get_forward_vector())) < 1.0
    assert len(lights) == {"Grid": 72, "Grid2": 72, "Multilane": 28}[name]


def test_controllers_hold_every_light_once() -> None:
    text = town("Grid")
    assert text.count("<control ") == text.count('type="1000001"') == 72
    assert text.count("<controller ") == 2 * 72  # at the root and in the junction


def test_signs_govern_the_minor_roads() -> None:
    plan = parsed("Junctions")
    kinds = Counter(mark.type for mark in plan.get_all_landmarks())
    assert (kinds["206"], kinds["205"], kinds["1000001"]) == (4, 8, 0)
    ends = [end for start, end in plan.get_topology() if not start.is_junction]
    stops = [
        mark for end in ends for mark in end.previous(5.0)[0].get_landmarks_of_type(6.0, "206")
    ]
    assert len({mark.id for mark in stops}) == 4
    assert all(mark.waypoint.next(2.0)[0].is_junction for mark in stops)


@pytest.mark.parametrize("name", PLANS)
def test_speed_limits_and_crosswalks(name: str) -> None:
    limits = parsed(name).get_all_landmarks_of_type("274")
    assert len(limits) >= 28
    assert all(30.0 <= limit.value <= 50.0 for limit in limits)
    corners = parsed(name).get_crosswalks()
    assert len(corners) >= 5 * 8
    assert len(corners) % 5 == 0
    for first, last in zip(corners[::5], corners[4::5], strict=True):
        assert first.distance(last) < 1e-3


def test_a_grid_has_one_or_two_lanes_each_way() -> None:
    assert grid(lanes=1) == town("Grid")
    lanes = {point.lane_id for point in waypoints("Grid2") if not point.is_junction}
    assert lanes == {-2, -1, 1, 2}
    with pytest.raises(RoboError, match="1 or 2 lanes each way, not 3"):
        grid(lanes=3)


def test_lane_changes_are_allowed_between_lanes_only() -> None:
    changes = {
        waypoint.lane_id: waypoint.lane_change
        for waypoint in waypoints("Multilane")
        if not waypoint.is_junction and waypoint.get_left_lane().lane_type == carla.LaneType.Median
    }
    assert set(changes) == {-2, 2}
    assert set(changes.values()) == {carla.LaneChange.Right}


@pytest.mark.parametrize("name", PLANS)
def test_long_routes_exist_from_everywhere(name: str) -> None:
    """Following any branch for a kilometre never meets a dead end."""
    for waypoint in waypoints(name)[::400]:
        driven, choice = 0.0, 0
        while driven < 1000.0:
            following = waypoint.next(5.0)
            assert following
            waypoint = following[choice % len(following)]
            choice += 1
            driven += 5.0
