"""Cameras, lidar, GNSS and IMU of the stand-in server, by geometry that can be done by hand."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

carla = pytest.importorskip("carla")
pytest.importorskip("cv2")
pytest.importorskip("scenariogeneration")

from robo.sim.carla.standin.blueprints import BLUEPRINTS  # noqa: E402
from robo.sim.carla.standin.poses import attached  # noqa: E402
from robo.sim.carla.standin.sensors import tags  # noqa: E402
from robo.sim.carla.standin.sensors.ground import _beside  # noqa: E402
from robo.sim.carla.standin.sensors.motion import GRAVITY, gnss, imu  # noqa: E402
from robo.sim.carla.standin.sensors.scene import Scene  # noqa: E402
from robo.sim.carla.standin.towns import town  # noqa: E402
from robo.sim.carla.standin.world import World  # noqa: E402

TOWN01 = Path(__file__).parents[5] / "shared" / "maps" / "Town01.xodr"
CAR = "vehicle.tesla.model3"
HALF_LENGTH, HALF_WIDTH = BLUEPRINTS[CAR].extent[:2]


@cache
def straight() -> tuple[float, ...]:
    """A pose with 30 m of straight road ahead in Junctions."""
    world = World(town("Junctions"), "Junctions")
    for pose in world.spawn_points:
        waypoint = world.map.get_waypoint(carla.Location(*pose[:3]))
        ahead = waypoint.next(40.0)[0]
        turn = ahead.transform.rotation.yaw - waypoint.transform.rotation.yaw
        if not ahead.is_junction and abs(turn) < 0.1 and ahead.road_id == waypoint.road_id:
            return (*pose[:2], 0.0, 0.0, pose[4], 0.0)
    raise AssertionError("no straight road")


def place(forward: float, right: float = 0.0, up: float = 0.0, yaw: float = 0.0) -> Any:
    """A pose relative to the straight road's."""
    return attached(straight(), (forward, right, up, 0.0, yaw, 0.0))


def make(*cars: Any) -> tuple[World, Scene]:
    """A world with cars at poses, and its scene."""
    world = World(town("Junctions"), "Junctions")
    for pose in cars:
        world.spawn(CAR, {}, pose)
    return world, Scene(world)


def decode(picture: np.ndarray) -> np.ndarray:
    """Metres, as CARLA's documentation decodes depth pictures."""
    blue, green, red = (picture[..., channel].astype(np.float64) for channel in range(3))
    return 1000.0 * (red + 256.0 * green + 65536.0 * blue) / (256.0**3 - 1.0)


EYE = (0.0, 0.0, 1.5)


def test_depth_of_ground_and_car() -> None:
    world, scene = make(place(12.0))
    metres = decode(scene.render_depth(world, place(*EYE), 200, 200, 90.0))
    # A row v pixels below the middle sees the ground at height * focal / v.
    for row in (140, 170, 199):
        assert metres[row, 3] == pytest.approx(1.5 * 100.0 / (row - 99.5), rel=1e-3)
    focal, rear = 100.0, 12.0 - HALF_LENGTH
    assert metres[99 + int(focal * 1.0 / rear), 100] == pytest.approx(rear, abs=0.2)
    assert metres[0, 0] == pytest.approx(1000.0, abs=1.0) or metres[0, 0] > 20.0
    assert (metres > 0.0).all() and (metres <= 1000.0).all()


def test_car_is_as_wide_as_its_box() -> None:
    world, scene = make(place(12.0))
    labels = scene.render_semantic(world, place(*EYE), 401, 401, 60.0)
    columns = np.flatnonzero((labels[..., 2] == tags.CAR).any(0))
    focal = 401 / (2.0 * math.tan(math.radians(30.0)))
    width = 2.0 * HALF_WIDTH * focal / (12.0 - HALF_LENGTH)
    assert len(columns) == pytest.approx(width, rel=0.05)
    assert columns.mean() == pytest.approx(200.0, abs=1.0)
    assert set(np.unique(labels[..., :2])) == {0}


@pytest.mark.parametrize("angles", [(0.0, 0.0), (-20.0, 10.0), (-90.0, 0.0), (5.0, -30.0)])
def test_three_pictures_agree_pixel_for_pixel(angles: tuple[float, float]) -> None:
    pose = (*place(-1.0, 1.0, 12.0 if angles[0] < -15 else 2.0)[:3], angles[0])
    pose = (*pose, straight()[4], angles[1])
    car = place(2.0 if angles[0] == -90.0 else 9.0)
    empty, full = make(), make(car, place(17.0, 1.0, yaw=30.0))
    size = (160, 120, 95.0)

    def changed(kind: str) -> np.ndarray:
        with_car = getattr(full[1], kind)(full[0], pose, *size)
        without = getattr(empty[1], kind)(empty[0], pose, *size)
        return (with_car != without).any(-1)

    labels, depth, color = (changed(f"render_{kind}") for kind in ("semantic", "depth", "rgb"))
    assert labels.sum() > 30
    # A wheel may touch the ground, where depth is the same by accident.
    assert not (depth & ~labels).any() and (labels & ~depth).sum() <= 0.01 * labels.sum()
    assert not (color & ~labels).any() and (labels & ~color).sum() <= 0.02 * labels.sum()


def test_near_things_hide_far_ones() -> None:
    world, scene = make(place(25.0), place(10.0))
    metres = decode(scene.render_depth(world, place(*EYE), 200, 200, 60.0))
    only, alone = make(place(10.0))
    near = decode(alone.render_depth(only, place(*EYE), 200, 200, 60.0))
    labels = alone.render_semantic(only, place(*EYE), 200, 200, 60.0)[..., 2] == tags.CAR
    assert np.array_equal(metres[labels], near[labels])


def test_houses_hide_cars_behind_them() -> None:
    world, scene = make()
    house = next(thing for thing in scene.things if thing.tag == tags.BUILDING)
    x, y, z, yaw = house.pose
    behind = attached((x, y, z, 0.0, yaw, 0.0), (-house.half[0] - 3.0, 0.0, 0.0, 0.0, 90.0, 0.0))
    eye = attached((x, y, z, 0.0, yaw, 0.0), (house.half[0] + 6.0, 0.0, 1.0, 0.0, 180.0, 0.0))
    world.spawn(CAR, {}, behind)
    labels = scene.render_semantic(world, eye, 64, 64, 60.0)[..., 2]
    assert tags.CAR not in labels and tags.BUILDING in labels
    back = attached((x, y, z, 0.0, yaw, 0.0), (-house.half[0] - 12.0, 0.0, 1.0, 0.0, 0.0, 0.0))
    assert tags.CAR in scene.render_semantic(world, back, 64, 64, 60.0)[..., 2]


def test_bird_view_shows_the_lanes_where_the_map_has_them() -> None:
    world, scene = make()
    x, y, *_ = place(15.0)
    labels = scene.render_semantic(world, (x, y, 40.0, -90.0, 0.0, 0.0), 200, 200, 90.0)[..., 2]
    checked = 0
    for row in range(10, 200, 20):
        for column in range(10, 200, 20):
            # Looking down with yaw 0: up is +x, right is +y; 0.4 m a pixel.
            spot = carla.Location(x + (99.5 - row) * 0.4, y + (column - 99.5) * 0.4, 0.0)
            waypoint = world.map.get_waypoint(spot, False, carla.LaneType.Driving)
            if labels[row, column] in (tags.ROAD, tags.TERRAIN):
                assert (waypoint is not None) == (labels[row, column] == tags.ROAD)
                checked += 1
    assert checked > 40


def test_upside_down_is_the_picture_turned() -> None:
    world, scene = make(place(10.0))
    pose = place(*EYE)
    upright = scene.render_semantic(world, pose, 100, 80, 80.0)
    turned = scene.render_semantic(world, (*pose[:5], 180.0), 100, 80, 80.0)[::-1, ::-1]
    assert (upright != turned).mean() < 0.02


def test_driver_does_not_see_the_own_car() -> None:
    world, scene = make(place(0.0))
    inside = scene.render_semantic(world, place(0.2, 0.0, 1.2), 64, 64, 90.0)[..., 2]
    above = scene.render_semantic(world, place(-0.5, 0.0, 1.6), 64, 64, 90.0)[..., 2]
    assert tags.CAR not in inside and tags.CAR in above


def test_lamps_show_the_state_of_the_light() -> None:
    world = World(town("Grid"), "Grid")
    scene = Scene(world)
    light = next(actor for actor in world.actors.values() if actor.kind == "traffic_light")
    pose = world.pose(light.id)
    eye = attached(pose, (-6.0, 0.0, 3.2, 0.0, 0.0, 0.0))
    for state, color in enumerate(tags.LAMPS):
        world.table.records["light"]["state"][light.row] = state
        picture = scene.render_rgb(world, eye, 200, 200, 30.0)
        lit = (picture[..., :3] == np.array(color)).all(-1)
        assert lit.sum() > 30
        labels = scene.render_semantic(world, eye, 200, 200, 30.0)[..., 2]
        assert (labels[lit] == tags.TRAFFIC_LIGHT).all()
        for other in set(tags.LAMPS) - {color}:
            assert not (picture[..., :3] == np.array(other)).all(-1).any()


def test_pictures_are_equal_bit_for_bit_and_of_any_size() -> None:
    (first, one), (second, two) = make(place(9.0)), make(place(9.0))
    for width, height, fov in ((1, 1, 90.0), (33, 17, 10.0), (64, 128, 150.0)):
        pictures = [
            scene.render_rgb(world, place(*EYE), width, height, fov)
            for world, scene in ((first, one), (second, two))
        ]
        assert pictures[0].shape == (height, width, 4)
        assert np.array_equal(pictures[0], pictures[1])
        assert (pictures[0][..., 3] == 255).all()


def test_night_is_darker() -> None:
    world, scene = make()
    day = scene.render_rgb(world, place(*EYE), 64, 64, 90.0)
    world.weather[5] = -30.0
    night = scene.render_rgb(world, place(*EYE), 64, 64, 90.0)
    assert night[..., :3].mean() < 0.4 * day[..., :3].mean()
    assert (night[..., 3] == 255).all()


@pytest.mark.skipif(not TOWN01.exists(), reason="Town01.xodr is not here")
def test_town01() -> None:
    world = World(TOWN01.read_text(), "Town01")
    pose = world.spawn_points[0]
    eye = (*pose[:2], 1.6, 0.0, pose[4], 0.0)
    labels = Scene(world).render_semantic(world, eye, 64, 64, 90.0)[..., 2]
    assert {tags.ROAD, tags.SKY, tags.SIDEWALK} <= set(np.unique(labels).tolist())


def lidar_attributes(**changes: str) -> dict[str, str]:
    return {**BLUEPRINTS["sensor.lidar.ray_cast"].defaults(), **changes}


def test_lidar_measures_ground_and_car() -> None:
    world, scene = make(place(10.0))
    attributes = lidar_attributes(range="50", dropoff_general_rate="0", dropoff_zero_intensity="0")
    eye = place(0.0, 0.0, 2.0)
    angle, counts, points = scene.lidar(world, eye, attributes, 0.1)
    assert 0.0 <= angle < 2.0 * math.pi
    assert len(counts) == 32 and counts.sum() == len(points) > 1000
    distance = np.linalg.norm(points[:, :3], axis=1)
    assert distance.max() <= 50.0 + 1e-3
    assert np.allclose(points[:, 3], np.exp(-0.004 * distance), atol=1e-5)
    _, _, semantic = scene.semantic_lidar(world, eye, attributes, 0.1)
    car = semantic[semantic["tag"] == tags.CAR]
    assert len(car) > 20 and set(car["actor"]) == {list(world.actors)[-1]}
    assert car["x"].min() == pytest.approx(10.0 - HALF_LENGTH, abs=0.01)
    assert np.abs(car["y"]).max() <= HALF_WIDTH + 0.01
    road = semantic[semantic["tag"] == tags.ROAD]
    assert np.allclose(road["z"], -2.0, atol=1e-4)
    span = np.linalg.norm([road["x"], road["y"], road["z"]], axis=0)
    assert np.allclose(road["cosine"], 2.0 / span, atol=1e-4)


def test_lidar_sees_what_the_camera_sees() -> None:
    """Depth along each ray agrees with the depth picture where both see the same surface."""
    world, scene = make(place(14.0, 2.0, yaw=25.0))
    eye = place(0.0, 0.0, 2.0)
    attributes = lidar_attributes(range="80")
    _, _, points = scene.semantic_lidar(world, eye, attributes, 0.1)
    flat = points[(points["tag"] == tags.ROAD) & (points["x"] > 4.0)]
    metres = decode(scene.render_depth(world, eye, 400, 400, 90.0))
    column = np.rint(199.5 + 200.0 * flat["y"] / flat["x"]).astype(int)
    row = np.rint(199.5 - 200.0 * flat["z"] / flat["x"]).astype(int)
    inside = (column >= 0) & (column < 400) & (row >= 0) & (row < 400)
    error = np.abs(metres[row[inside], column[inside]] - flat["x"][inside])
    assert inside.sum() > 50 and np.median(error / flat["x"][inside]) < 0.02


def test_lidar_loses_points_by_chance_but_repeatably() -> None:
    world, scene = make(place(8.0))
    eye = place(0.0, 0.0, 2.0)
    everything = lidar_attributes(range="60", dropoff_general_rate="0", dropoff_zero_intensity="0")
    half = lidar_attributes(range="60", dropoff_zero_intensity="0", dropoff_general_rate="0.5")
    full = scene.lidar(world, eye, everything, 0.1)[2]
    lossy = [scene.lidar(world, eye, half, 0.1)[2] for _ in range(2)]
    assert np.array_equal(lossy[0], lossy[1])
    assert len(lossy[0]) / len(full) == pytest.approx(0.5, abs=0.05)


def test_gnss_is_the_maps_geolocation() -> None:
    world, _ = make(place(0.0))
    car = list(world.actors)[-1]
    sensor = world.spawn("sensor.other.gnss", {}, (0.0, 0.0, 2.0, 0.0, 0.0, 0.0), car)
    x, y, z = world.pose(sensor.id)[:3]
    expected = world.map.transform_to_geolocation(carla.Location(x, y, z))
    assert gnss(world, sensor) == (expected.latitude, expected.longitude, expected.altitude)
    sensor.attributes["noise_lat_stddev"] = "0.001"
    noisy = gnss(world, sensor)
    assert noisy == gnss(world, sensor) and noisy[0] != expected.latitude
    assert noisy[1:] == (expected.longitude, expected.altitude)


@pytest.mark.parametrize(("yaw", "heading"), [(-90.0, 0.0), (0.0, 90.0), (90.0, 180.0)])
def test_imu(yaw: float, heading: float) -> None:
    world, _ = make()
    world.spawn(CAR, {}, (*straight()[:2], 0.0, 0.0, yaw, 0.0))
    car = list(world.actors.values())[-1]
    sensor = world.spawn("sensor.other.imu", {}, (0.0,) * 6, car.id)
    acceleration, gyroscope, compass = imu(world, sensor)
    assert acceleration == pytest.approx([0.0, 0.0, GRAVITY])
    assert gyroscope == pytest.approx([0.0, 0.0, 0.0])
    assert math.degrees(compass) == pytest.approx(heading)
    state = world.table.state[car.row]
    state[9:12] = 0.0, 0.0, 90.0
    turn = math.radians(yaw)
    state[12:15] = 2.0 * math.cos(turn), 2.0 * math.sin(turn), 0.0
    acceleration, gyroscope, _ = imu(world, sensor)
    assert acceleration == pytest.approx([2.0, 0.0, GRAVITY], abs=1e-9)
    assert gyroscope == pytest.approx([0.0, 0.0, math.pi / 2.0])


def test_the_lanes_beside_a_lane_end_at_the_centre_line() -> None:
    # Seen from a median, the lane to the left is the other median, and vice versa.
    carla_map = carla.Map("Multilane", town("Multilane"))
    kinds = (carla.LaneType.Median, carla.LaneType.Sidewalk)
    waypoints = [start for start, _ in carla_map.get_topology()]
    across = [
        [other for other in _beside(waypoint, kinds) if other.lane_type == carla.LaneType.Median]
        for waypoint in waypoints
    ]
    assert any(across)
    for waypoint, medians in zip(waypoints, across, strict=True):
        assert len(medians) <= 1
        assert all(median.lane_id * waypoint.lane_id > 0 for median in medians)
