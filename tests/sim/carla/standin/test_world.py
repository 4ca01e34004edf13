"""The world: actors, attachments, commands, seeds and reset."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("carla")

from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.layouts import AckermannControl, EpisodeSettings, VehicleControl
from robo.sim.carla.standin.towns import town
from robo.sim.carla.standin.world import World

TOWN01 = Path(__file__).parents[5] / "shared" / "maps" / "Town01.xodr"
CAR = "vehicle.lincoln.mkz_2020"


@pytest.fixture
def world() -> World:
    return World(town("Grid"), "Grid", seed=1)


def run(world: World, ticks: int) -> bytes:
    """Everything that a client sees over some ticks."""
    frames = []
    for _ in range(ticks):
        world.tick()
        frames.append(world.snapshot().tobytes())
    return b"".join(frames)


def test_a_fresh_world_holds_spectator_lights_and_signs(world: World) -> None:
    kinds = [actor.kind for actor in world.actors.values()]
    assert kinds[0] == "spectator"
    assert set(kinds) == {"spectator", "traffic_light", "traffic_sign"}
    assert list(world.snapshot()["id"]) == list(world.actors)
    assert len(world.spawn_points) > 50
    for x, y, _, _, yaw, _ in world.spawn_points[::10]:
        node = world.lanes.nearest(np.array([x]), np.array([y]), np.radians([yaw]))[0]
        assert world.lanes.distance(int(node), x, y) < 1.0
        assert not world.lanes.inside[node]


def test_spawn_refuses_a_taken_place_and_an_unknown_type(world: World) -> None:
    world.spawn(CAR, {}, world.spawn_points[0])
    with pytest.raises(StandinError, match="Spawn failed because of collision at spawn position"):
        world.spawn(CAR, {}, world.spawn_points[0])
    with pytest.raises(StandinError, match="no blueprint"):
        world.spawn("vehicle.none", {}, world.spawn_points[1])
    with pytest.raises(StandinError, match="does not exist"):
        world.set_vehicle_control(999_999, VehicleControl())


def test_rows_follow_when_actors_are_destroyed(world: World) -> None:
    cars = [world.spawn(CAR, {}, pose) for pose in world.spawn_points[:4]]
    sensor = world.spawn("sensor.other.gnss", {}, (0, 0, 2, 0, 0, 0), parent=cars[0].id)
    for car in cars[1:]:
        world.set_vehicle_control(car.id, VehicleControl(throttle=0.5))
    world.tick()
    assert world.destroy(cars[0].id)
    assert sensor.id not in world.actors
    assert not world.destroy(cars[0].id)
    for _ in range(20):
        world.tick()
    seen = {int(row["id"]): row for row in world.snapshot()}
    assert set(seen) == set(world.actors)
    for car in cars[1:]:
        assert np.hypot(*seen[car.id]["velocity"][:2]) > 1.0
        assert seen[car.id]["vehicle"]["throttle"] == 0.5


def test_sensors_move_with_their_parent(world: World) -> None:
    car = world.spawn(CAR, {}, world.spawn_points[0])
    camera = world.spawn("sensor.camera.rgb", {}, (1.5, 0.5, 2.4, -15, 90, 0), parent=car.id)
    world.set_vehicle_control(car.id, VehicleControl(throttle=0.6, steer=0.3))
    for _ in range(30):
        world.tick()
    x, y, z, _, yaw, _ = world.pose(car.id)
    seen = world.pose(camera.id)
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    assert seen[:3] == pytest.approx(
        (x + 1.5 * cos - 0.5 * sin, y + 1.5 * sin + 0.5 * cos, z + 2.4), abs=1e-9
    )
    assert seen[3] == pytest.approx(-15.0)
    assert (seen[4] - yaw - 90.0) % 360.0 == pytest.approx(0.0, abs=1e-6)


def test_attached_poses_agree_with_the_client(world: World) -> None:
    import carla

    from robo.sim.carla.standin.poses import attached

    random = np.random.default_rng(0)
    for _ in range(20):
        parent, relative = (tuple(random.uniform(-80, 80, 6).tolist()) for _ in range(2))
        outer, inner = (
            carla.Transform(carla.Location(*p[:3]), carla.Rotation(*p[3:]))
            for p in (parent, relative)
        )
        matrix = np.array(outer.get_matrix()) @ np.array(inner.get_matrix())
        pose = attached(parent, relative)
        again = carla.Transform(carla.Location(*pose[:3]), carla.Rotation(*pose[3:])).get_matrix()
        np.testing.assert_allclose(np.array(again), matrix, atol=1e-3)


def test_teleport_velocity_and_physics(world: World) -> None:
    car = world.spawn(CAR, {}, world.spawn_points[0])
    world.tick()
    world.set_transform(car.id, world.spawn_points[9])
    world.set_target_velocity(car.id, (0.0, 0.0, 0.0))
    world.tick()
    assert world.pose(car.id)[:2] == pytest.approx(world.spawn_points[9][:2], abs=1e-6)
    yaw = math.radians(world.spawn_points[9][4])
    world.set_target_velocity(car.id, (5 * math.cos(yaw), 5 * math.sin(yaw), 0.0))
    world.tick()
    velocity = world.snapshot()[car.row]["velocity"]
    assert np.hypot(*velocity[:2]) == pytest.approx(5.0, abs=0.1)
    world.set_simulate_physics(car.id, False)
    before = world.pose(car.id)
    world.tick()
    assert world.pose(car.id) == before
    with pytest.raises(StandinError, match="six finite numbers"):
        world.set_transform(car.id, (0, 0, float("nan"), 0, 0, 0))


def test_walkers_obey_their_control(world: World) -> None:
    x, y, *_ = world.spawn_points[0]
    walker = world.spawn("walker.pedestrian.0001", {}, (x, y, 1.0, 0, 0, 0))
    world.set_walker_control(walker.id, (0.0, 1.0, 0.0), 1.5)
    for _ in range(20):
        world.tick()
    row = world.snapshot()[walker.row]
    assert row["location"][1] == pytest.approx(y + 1.5, abs=1e-4)
    assert row["rotation"][1] == pytest.approx(90.0)
    assert row["location"][2] == pytest.approx(0.93, abs=0.02)
    assert row["walker"]["speed"] == 1.5


def test_ackermann_and_constant_velocity_hold(world: World) -> None:
    cars = [world.spawn(CAR, {}, pose) for pose in world.spawn_points[:2]]
    world.set_ackermann(cars[0].id, AckermannControl(speed=6.0))
    world.set_constant_velocity(cars[1].id, (4.0, 0.0, 0.0))
    for _ in range(100):
        world.tick()
    speeds = np.hypot(*world.snapshot()["velocity"][[c.row for c in cars]][:, :2].T)
    assert speeds == pytest.approx([6.0, 4.0], abs=0.3)


@pytest.mark.parametrize("name", ["Grid", "Junctions"])
def test_same_seed_same_bits_and_reset_equals_a_fresh_world(name: str) -> None:
    def episode(world: World) -> bytes:
        world.populate(12, 6, seed=4)
        hero = world.spawn(CAR, {}, world.spawn_points[-1])
        world.set_vehicle_control(hero.id, VehicleControl(throttle=0.4, steer=0.05))
        return run(world, 150)

    first = World(town(name), name, seed=2)
    a = episode(first)
    first.reset(5)
    other = episode(first)
    first.reset(2)
    assert a == episode(World(town(name), name, seed=2)) == episode(first)
    assert a != other


def test_settings_and_frames(world: World) -> None:
    world.settings = EpisodeSettings(True, False, 0.1)
    assert world.tick() == 1
    assert world.elapsed == pytest.approx(0.1)
    world.reset(frame=7)
    assert (world.tick(), world.seed) == (8, 1)


def test_a_map_without_roads_is_named() -> None:
    with pytest.raises(StandinError, match="Map 'Nowhere'"):
        World("<OpenDRIVE><header revMajor='1' revMinor='4'/></OpenDRIVE>", "Nowhere")


@pytest.mark.skipif(not TOWN01.exists(), reason="Town01.xodr is not beside the repository")
def test_town01_is_read() -> None:
    world = World(TOWN01.read_text(), "Town01")
    lights = [a for a in world.actors.values() if a.kind == "traffic_light"]
    assert len(lights) == 36
    assert len(world.spawn_points) > 200
    assert set(np.unique(world.lanes.limit)) == {30.0, 60.0, 90.0}


HILL = """<?xml version="1.0"?><OpenDRIVE>
<header revMajor="1" revMinor="4" name="Hill" north="0" south="0" east="0" west="0"/>
<road name="r" length="200" id="1" junction="-1"><link/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="200"><line/></geometry></planView>
<elevationProfile><elevation s="0" a="0" b="0.1" c="0" d="0"/></elevationProfile>
<lateralProfile/><lanes><laneSection s="0">
<center><lane id="0" type="none" level="false"/></center>
<right><lane id="-1" type="driving" level="false">
<width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes></road></OpenDRIVE>"""


def test_vehicles_and_walkers_follow_the_slope() -> None:
    world = World(HILL, "Hill")
    pose = world.spawn_points[0]
    car = world.spawn(CAR, {}, pose)
    walker = world.spawn("walker.pedestrian.0001", {}, (*pose[:1], pose[1] + 3, 3.0, 0, 0, 0))
    world.set_vehicle_control(car.id, VehicleControl(throttle=0.5))
    for _ in range(80):
        world.tick()
    x, _, z, pitch, _, _ = world.pose(car.id)
    assert x > 15.0
    assert z == pytest.approx(0.1 * x, abs=0.02)
    assert pitch == pytest.approx(math.degrees(math.atan(0.1)), abs=0.1)
    climbing = world.snapshot()[car.row]["velocity"]
    assert climbing[2] / climbing[0] == pytest.approx(0.1, abs=0.02)
    assert world.pose(walker.id)[2] == pytest.approx(0.1 * pose[0] + 0.93, abs=0.1)
    assert world.populate(2, 2, seed=0)
    world.tick()
