from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.sim.carla.routes import Route, RouteError, RouteTracker


def straight(length: float = 100.0) -> Route:
    points = np.array([[0.0, 0.0, 0.0], [length, 0.0, 0.0]])
    return Route.from_samples(points, np.array([3.5, 3.5]), np.array([False, False]))


def loop() -> Route:
    """Out along x, back along the same line."""
    points = np.array([[0.0, 0, 0], [60, 0, 0], [60, 2, 0], [0, 2, 0]])
    return Route.from_samples(points, np.full(4, 3.5), np.zeros(4, bool))


def test_points_are_a_metre_apart_and_keep_the_ends() -> None:
    route = straight(10.4)
    np.testing.assert_allclose(route.distance, [*range(11), 10.4])
    np.testing.assert_allclose(route.points[-1], [10.4, 0, 0])
    np.testing.assert_allclose(route.yaw, 0.0)


def test_lane_attributes_come_from_the_nearest_sample() -> None:
    points = np.array([[0.0, 0, 0], [5, 0, 0], [10, 0, 0]])
    route = Route.from_samples(points, np.array([3.0, 4, 5]), np.array([False, True, False]))
    assert np.flatnonzero(route.in_junction).tolist() == [3, 4, 5, 6, 7]
    assert route.lane_width[5] == 4.0


def test_two_distinct_points_are_needed() -> None:
    with pytest.raises(RouteError, match="two distinct points"):
        Route.from_samples(np.zeros((3, 3)), np.ones(3), np.zeros(3, bool))


def test_completion_offset_and_heading() -> None:
    tracker = RouteTracker(straight())
    tracker.update(np.array([10.25, -1.5, 0.0]), 0.2)
    assert tracker.route_completion == pytest.approx(10.25)
    assert tracker.offset == pytest.approx(1.5)
    assert tracker.heading_error == pytest.approx(0.2)
    assert tracker.next_point == 11


def test_completion_never_goes_back() -> None:
    tracker = RouteTracker(straight())
    tracker.update(np.array([10.0, 0, 0]), 0.0)
    tracker.update(np.array([6.0, 0, 0]), 0.0)
    assert tracker.route_completion == pytest.approx(10.0)
    assert tracker.offset == pytest.approx(0.0)


def test_finished_when_fewer_than_two_points_are_left() -> None:
    tracker = RouteTracker(straight(20.0))
    for x in range(1, 19):
        tracker.update(np.array([float(x), 0, 0]), 0.0)
    assert tracker.points_left == 2
    assert not tracker.finished
    assert tracker.route_completion == pytest.approx(90.0)
    tracker.update(np.array([19.0, 0, 0]), 0.0)
    assert tracker.finished
    assert tracker.route_completion == 100.0


def test_the_way_back_beside_the_way_out_is_no_shortcut() -> None:
    tracker = RouteTracker(loop())
    tracker.update(np.array([5.0, 0.0, 0]), 0.0)
    tracker.update(np.array([6.0, 2.0, 0]), np.pi)
    assert tracker.progress == pytest.approx(6.0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-20, 120), st.floats(-40, 40)), min_size=1, max_size=40))
def test_progress_is_monotone_and_bounded_whatever_the_ego_does(places) -> None:
    tracker = RouteTracker(straight())
    last = 0.0
    for x, y in places:
        tracker.update(np.array([x, y, 0.0]), 0.0)
        assert last <= tracker.route_completion <= 100.0
        assert tracker.progress - last * tracker.route.length / 100 <= tracker.window_ahead + 1
        last = tracker.route_completion


def test_tracker_state_is_exact() -> None:
    tracker, other = RouteTracker(loop()), RouteTracker(loop())
    tracker.update(np.array([7.7, 0.3, 0]), 0.4)
    other.load_state_dict(tracker.state_dict())
    for each in (tracker, other):
        each.update(np.array([9.1, -0.2, 0]), -0.1)
    assert tracker.state_dict() == other.state_dict()


def test_random_routes_repeat_with_the_seed_and_keep_their_length() -> None:
    carla = pytest.importorskip("carla")
    from robo.sim.carla.route_sources import random_route
    from robo.sim.carla.standin.towns import town

    city = carla.Map("Grid", town("Grid"))
    routes = [random_route(city, np.random.default_rng(s), 150, 300) for s in (3, 3, 4)]
    np.testing.assert_array_equal(routes[0].points, routes[1].points)
    assert not np.array_equal(routes[0].points[:50], routes[2].points[:50])
    assert all(148 <= route.length <= 300 for route in routes)
    begun = random_route(city, np.random.default_rng(5), 100, 100, start=routes[0].points[0])
    assert np.linalg.norm(begun.points[0] - routes[0].points[0]) < 1.5
    with pytest.raises(RouteError, match="min_length <= max_length"):
        random_route(city, np.random.default_rng(0), 300, 200)


VERSION_1 = """<routes><route id="7" town="Grid"><weather/>
<waypoint x="{a}" y="{b}" z="0" yaw="0"/><waypoint x="{c}" y="{d}" z="0"/></route></routes>"""
VERSION_2 = """<routes><route id="7" town="Grid"><waypoints>
<position x="{a}" y="{b}" z="0"/><position x="{c}" y="{d}" z="0"/></waypoints></route></routes>"""


@pytest.mark.parametrize("text", [VERSION_1, VERSION_2])
def test_leaderboard_files_of_both_versions(text, tmp_path) -> None:
    carla = pytest.importorskip("carla")
    from robo.sim.carla.route_sources import random_route, read_routes, route_through
    from robo.sim.carla.standin.towns import town

    city = carla.Map("Grid", town("Grid"))
    made = random_route(city, np.random.default_rng(0), 120, 120)
    (a, b, _), (c, d, _) = made.points[0], made.points[-1]
    path = tmp_path / "routes.xml"
    path.write_text(text.format(a=a, b=b, c=c, d=d))
    zipped = tmp_path / "routes.xml.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for source in (path, zipped):
        (description,) = read_routes(source)
        assert (description.id, description.town) == ("7", "Grid")
        route = route_through(city, description.waypoints)
        assert np.linalg.norm(route.points[-1] - made.points[-1]) < 1.5
    path.write_text(text.format(a=a, b=b, c=9000, d=0))
    with pytest.raises(RouteError, match=r"off the map: \(9000.0, 0.0\)"):
        route_through(city, read_routes(path)[0].waypoints)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no xml", "cannot read routes"),
        ("<routes/>", "holds no <route>"),
        ('<routes><route id="1"><waypoint x="0" y="0"/></route></routes>', "has 1 waypoints"),
        ('<routes><route id="1"><waypoint x="a"/></route></routes>', "is no number"),
    ],
)
def test_bad_route_files_get_one_sentence(text, message, tmp_path) -> None:
    pytest.importorskip("carla")
    from robo.sim.carla.route_sources import read_routes

    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(RouteError, match=message):
        read_routes(path)
