from __future__ import annotations

import numpy as np
import pytest

carla = pytest.importorskip("carla")

from robo.sim.carla import birdseye  # noqa: E402
from robo.sim.carla.birdseye import (  # noqa: E402
    BirdseyeConfig,
    BirdseyeRenderer,
    light_values,
    speed_value,
)
from robo.sim.carla.birdseye_map import town_raster  # noqa: E402
from robo.sim.carla.birdseye_picture import birdseye_to_rgb  # noqa: E402
from robo.sim.carla.driving_state import (  # noqa: E402
    GREEN,
    OFF,
    RED,
    YELLOW,
    Bodies,
    DrivingState,
    Ego,
)
from robo.sim.carla.routes import Route  # noqa: E402
from robo.sim.carla.standin.towns import TOWNS, town  # noqa: E402
from robo.sim.carla.traffic_rules import light_stop_lines, stop_sign_lines  # noqa: E402


@pytest.fixture(scope="module")
def city():
    return carla.Map("Grid", town("Grid"))


@pytest.fixture(scope="module")
def renderer(city):
    return BirdseyeRenderer(city)


def place(city):
    """A straight lane outside junctions: location and yaw."""
    for waypoint in city.generate_waypoints(5.0):
        ahead, behind = waypoint.next(12.0), waypoint.previous(12.0)
        lane = [waypoint, *ahead, *behind]
        yaws = {round(w.transform.rotation.yaw) % 360 for w in lane}
        if len(lane) == 3 and len(yaws) == 1 and not any(w.is_junction for w in lane):
            point = waypoint.transform.location
            return np.array([point.x, point.y, point.z]), np.radians(
                waypoint.transform.rotation.yaw
            )
    raise AssertionError("no straight lane")


def body(state: DrivingState, ahead, right, speed=0.0, extent=(2.0, 1.0, 0.8), lights=0, turn=0.0):
    """One body, given in the ego's frame."""
    yaw = state.ego.yaw
    cos, sin = np.cos(yaw), np.sin(yaw)
    center = state.ego.location + np.array(
        [cos * ahead - sin * right, sin * ahead + cos * right, 0]
    )
    own = yaw + turn
    velocity = speed * np.array([np.cos(own), np.sin(own), 0.0])
    return Bodies(
        np.array([1]), center[None], np.array([own]), velocity[None], np.array([extent]),
        np.array([lights]),
    )  # fmt: skip


@pytest.fixture
def state(city, renderer):
    location, yaw = place(city)
    ego = Ego(location, float(yaw), np.zeros(3), np.zeros(3), np.array([2.4, 1.0, 0.8]))
    lights = len(light_stop_lines(city))
    return DrivingState(0.0, 0.1, ego, light_state=np.full(lights, OFF))


def nowhere() -> Route:
    points = np.array([[9000.0, 0.0, 0.0], [9010.0, 0.0, 0.0]])
    return Route.from_samples(points, np.full(2, 3.5), np.zeros(2, bool))


def test_codes() -> None:
    np.testing.assert_array_equal(
        speed_value(np.array([-10.0, -2.67, 0.0, 10.0, 33.33, 99.0])),
        [127, 127, 127 + int(128 * 2.67 / 36), 127 + int(128 * 12.67 / 36), 255, 255],
    )
    states = np.array([RED, YELLOW, GREEN, OFF])
    assert light_values(states, None).tolist() == [255, 170, 80, 0]
    assert light_values(np.full(4, YELLOW), np.array([9.0, 3.0, 1.5, 0.0])).tolist() == [
        170, 170, 212, 255,
    ]  # fmt: skip


def test_an_empty_road(state, renderer) -> None:
    frame = renderer.render(state, nowhere(), 0)
    assert frame.shape == (10, 256, 256)
    assert frame.dtype == np.uint8
    assert set(np.unique(frame[birdseye.ROAD])) == {0, 255}
    assert set(np.unique(frame[birdseye.MARKINGS])) <= {0, 127, 255}
    assert set(np.unique(frame[birdseye.SHOULDER])) <= {0, 255}
    # The ego stands on the road, 100 px from the lower edge.
    assert (frame[birdseye.ROAD, 150:162, 126:130] == 255).all()
    for channel in (birdseye.ROUTE, birdseye.VEHICLES, birdseye.PEDESTRIANS, birdseye.LINES,
                    birdseye.SIGNS, birdseye.STATICS):  # fmt: skip
        assert not frame[channel].any()


def test_a_car_ahead_is_above_and_one_to_the_right_is_right(state, renderer) -> None:
    state.vehicles = body(state, ahead=20.0, right=0.0)
    rows, columns = np.nonzero(renderer.render(state, nowhere(), 0)[birdseye.VEHICLES])
    assert rows.mean() == pytest.approx(155.5 - 40, abs=0.51)
    assert columns.mean() == pytest.approx(127.5, abs=0.51)
    # 4 x 2 m are 8 x 4 px; OpenCV paints the border pixels too.
    assert np.ptp(rows) + 1 in (8, 9)
    assert np.ptp(columns) + 1 in (4, 5)
    state.vehicles = body(state, ahead=0.0, right=10.0)
    rows, columns = np.nonzero(renderer.render(state, nowhere(), 0)[birdseye.VEHICLES])
    assert rows.mean() == pytest.approx(155.5, abs=0.51)
    assert columns.mean() == pytest.approx(147.5, abs=0.51)


def test_vehicle_value_and_the_way_of_the_next_second(state, renderer) -> None:
    state.vehicles = body(state, ahead=20.0, right=5.0, speed=10.0)
    layer = renderer.render(state, nowhere(), 0)[birdseye.VEHICLES]
    assert set(np.unique(layer)) == {0, 127 + int(128 * 12.67 / 36)}
    rows, _ = np.nonzero(layer)
    assert rows.min() == pytest.approx(155.5 - 2 * 30, abs=1)
    # Beyond the box (half a length of 2 m, and the border) the way is one pixel wide.
    assert (layer[98:108] > 0).sum(1).tolist() == [1] * 10


@pytest.mark.parametrize(("flag", "value"), [(512, 22), (32, 44), (16, 77), (8, 111)])
def test_vehicle_lights(state, renderer, flag, value) -> None:
    state.vehicles = body(state, ahead=20.0, right=0.0, lights=flag)
    layer = renderer.render(state, nowhere(), 0)[birdseye.VEHICLES]
    assert set(np.unique(layer)) == {0, value, 127 + int(128 * 2.67 / 36)}
    rows, columns = np.nonzero(layer == value)
    assert np.ptp(rows) + 1 in (2, 3)
    if value == 111:
        assert rows.mean() > 115.5
    if value in (44, 77):
        assert (columns.mean() < 127.5) == (value == 44)


def test_pedestrians_and_props_have_a_least_size(state, renderer) -> None:
    state.walkers = body(state, ahead=10.0, right=-6.0, extent=(0.2, 0.2, 0.9))
    state.statics = body(state, ahead=10.0, right=6.0, extent=(0.1, 0.1, 0.4))
    frame = renderer.render(state, nowhere(), 0)
    for channel, value in ((birdseye.PEDESTRIANS, 136), (birdseye.STATICS, 255)):
        layer = frame[channel]
        assert set(np.unique(layer)) == {0, value}
        rows, columns = np.nonzero(layer)
        assert np.ptp(rows) + 1 in (3, 4, 5)
        assert np.ptp(columns) + 1 in (3, 4, 5)


def test_bodies_far_off_or_on_another_level_are_left_out(state, renderer) -> None:
    state.vehicles = body(state, ahead=20.0, right=0.0)
    state.vehicles.center[0, 2] += 8.0
    assert not renderer.render(state, nowhere(), 0)[birdseye.VEHICLES].any()
    state.vehicles.center[0, 2] -= 0.1
    assert renderer.render(state, nowhere(), 0)[birdseye.VEHICLES].any()


def test_the_route_shows_in_junctions_only_as_discs(state, city, renderer) -> None:
    forward = np.array([*state.ego.forward, 0.0])
    points = state.ego.location + np.arange(0, 61.0)[:, None] * forward
    inside = (np.arange(61) == 30) | (np.arange(61) == 10)
    route = Route.from_samples(points, np.full(61, 3.5), inside)
    layer = renderer.render(state, route, 20)[birdseye.ROUTE]
    rows, columns = np.nonzero(layer)
    # The point at 10 m is passed; the one at 30 m is a disc of radius 3 px.
    assert np.ptp(rows) == np.ptp(columns) == 6
    assert rows.mean() == pytest.approx(155.5 - 60, abs=0.6)
    assert len(rows) == pytest.approx(np.pi * 3.3**2, abs=6)
    whole = BirdseyeRenderer(city, BirdseyeConfig(route_outside_junctions=True))
    assert (whole.render(state, route, 20)[birdseye.ROUTE] > 0).sum() > 400


def test_stop_lines_show_their_light(city, renderer, state) -> None:
    lines = light_stop_lines(city)
    yaw = lines.yaw[0]
    state.ego.yaw = float(yaw)
    state.ego.location = lines.center[0] - 20.2 * np.array([np.cos(yaw), np.sin(yaw), 0])
    for light, value in ((RED, 255), (YELLOW, 170), (GREEN, 80)):
        state.light_state[:] = OFF
        state.light_state[0] = light
        layer = renderer.render(state, nowhere(), 0)[birdseye.LINES]
        assert set(np.unique(layer)) == {0, value}
        rows, columns = np.nonzero(layer)
        assert rows.mean() == pytest.approx(155.5 - 40.4, abs=0.6)
        assert columns.mean() == pytest.approx(127.5, abs=0.6)
        # OpenCV paints an axis-aligned line of thickness 3 five pixels wide.
        assert (layer[:, 127] > 0).sum() == 5


def test_only_active_stop_signs_are_drawn() -> None:
    city = carla.Map("Junctions", town("Junctions"))
    lines = stop_sign_lines(city)
    yaw = float(lines.yaw[0])
    location = lines.center[0] - 20 * np.array([np.cos(yaw), np.sin(yaw), 0])
    ego = Ego(location, yaw, np.zeros(3), np.zeros(3), np.array([2.4, 1.0, 0.8]))
    state = DrivingState(0.0, 0.1, ego)
    drawn = BirdseyeRenderer(city)
    active = np.zeros(len(lines), bool)
    assert not drawn.render(state, nowhere(), 0, active)[birdseye.SIGNS].any()
    active[0] = True
    rows, columns = np.nonzero(drawn.render(state, nowhere(), 0, active)[birdseye.SIGNS])
    assert rows.mean() == pytest.approx(155.5 - 2 * 16, abs=0.6)
    assert columns.mean() == pytest.approx(127.5, abs=0.6)


def test_speed_signs_are_coded_with_their_limit(city, renderer, state) -> None:
    values = set()
    for landmark in city.get_all_landmarks_of_type("274"):
        point = landmark.transform.location
        state.ego.location = np.array([point.x, point.y, point.z])
        layer = renderer.render(state, nowhere(), 0)[birdseye.LIMITS]
        expected = 127 + int(128 * (landmark.value / 3.6 + 2.67) / 36)
        assert layer[155, 127] == expected
        values |= set(np.unique(layer)) - {0}
    if not values:
        pytest.skip("this town has no speed signs")


def test_64_pixels_show_the_same_field(state, city, renderer) -> None:
    state.vehicles = body(state, ahead=20.0, right=10.0, extent=(6.0, 6.0, 2.0))
    small = BirdseyeRenderer(city, BirdseyeConfig(size=64, pixels_per_meter=0.5))
    frame, large = small.render(state, nowhere(), 0), renderer.render(state, nowhere(), 0)
    assert frame.shape == (10, 64, 64)
    for one, scale in ((frame, 4), (large, 1)):
        rows, columns = np.nonzero(one[birdseye.VEHICLES])
        assert (rows.mean() + 0.5) * scale == pytest.approx(116, abs=2.5)
        assert (columns.mean() + 0.5) * scale == pytest.approx(148, abs=2.5)
    blocks = large[birdseye.ROAD].reshape(64, 4, 64, 4).mean((1, 3))
    sure = (blocks == 0) | (blocks == 255)
    assert ((frame[birdseye.ROAD] == blocks) | ~sure).mean() == 1.0


def test_drawing_into_an_array_is_the_same_and_leaves_nothing_behind(state, renderer) -> None:
    out = np.full((10, 256, 256), 99, np.uint8)
    state.vehicles = body(state, ahead=20.0, right=0.0)
    assert renderer.render(state, nowhere(), 0, out=out) is out
    np.testing.assert_array_equal(out, renderer.render(state, nowhere(), 0))


def test_turning_the_ego_turns_the_picture(state, renderer) -> None:
    straight = renderer.render(state, nowhere(), 0)[birdseye.ROAD]
    state.ego.yaw += np.pi / 2
    turned = renderer.render(state, nowhere(), 0)[birdseye.ROAD]
    # Right of the ego before is ahead of it now: columns to the right become rows upwards.
    np.testing.assert_array_equal(
        straight[155, 128 : 128 + 90] > 0, turned[155 - np.arange(0, 90), 127] > 0
    )


@pytest.mark.parametrize("name", TOWNS)
def test_all_driving_lanes_are_on_the_road_layer(name) -> None:
    city = carla.Map(name, town(name))
    raster = town_raster(city, 2.0)
    assert town_raster(carla.Map(name, town(name)), 2.0) is raster
    points = [w.transform.location for w in city.generate_waypoints(3.0)]
    pixels = ((np.array([(p.x, p.y) for p in points]) - raster.origin) * 2).astype(int)
    assert (raster.image[pixels[:, 1], pixels[:, 0], 0] == 255).mean() > 0.999
    assert raster.image[..., 0].mean() < 0.6 * 255


def test_the_picture_shows_lights_in_their_colours(state, renderer, city) -> None:
    lines = light_stop_lines(city)
    state.ego.location = lines.center[0].copy()
    state.light_state[:] = RED
    frame = renderer.render(state, nowhere(), 0)
    picture = birdseye_to_rgb(frame)
    assert picture.shape == (256, 256, 3)
    assert picture.dtype == np.uint8
    assert (picture[155, 127] > 200).all()  # the ego
    red = (picture[..., 0] > 200) & (picture[..., 1] < 100)
    assert red[frame[birdseye.LINES] == 255].mean() > 0.5
