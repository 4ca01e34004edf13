"""Boxes that meet: detection against a slow reference, momentum, and nothing passes through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("carla")

from robo.sim.carla.standin.collisions import overlap
from robo.sim.carla.standin.layouts import VehicleControl
from robo.sim.carla.standin.towns import town
from robo.sim.carla.standin.world import World

CAR = "vehicle.tesla.model3"
place = st.tuples(
    st.floats(-6, 6), st.floats(-6, 6), st.floats(-4, 4), st.floats(0.2, 3), st.floats(0.2, 2)
)


def box(values: tuple[float, ...]) -> np.ndarray:
    x, y, yaw, long, wide = values
    return np.array([[x], [y], [math.cos(yaw)], [math.sin(yaw)], [long], [wide]])


def points(values: np.ndarray) -> np.ndarray:
    """A dense grid over a box, [K, 2]."""
    u, v = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    x, y, cos, sin, long, wide = values[:, 0]
    u, v = u.ravel() * long, v.ravel() * wide
    return np.stack((x + u * cos - v * sin, y + u * sin + v * cos), 1)


@given(first=place, second=place)
def test_overlap_agrees_with_points_inside(
    first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    a, b = box(first), box(second)
    depth, nx, ny = overlap(a, b)
    assert math.hypot(nx[0], ny[0]) == pytest.approx(1.0)
    x, y, cos, sin, long, wide = b[:, 0]
    off = points(a) - (x, y)
    inside = (np.abs(off @ (cos, sin)) <= long) & (np.abs(off @ (-sin, cos)) <= wide)
    if inside.any():
        assert depth[0] > -1e-9
    moved = b + np.array([[nx[0] * (depth[0] + 1e-6)], [ny[0] * (depth[0] + 1e-6)], *[[0.0]] * 4])
    if depth[0] > 0.0:
        assert overlap(a, moved)[0][0] < 1e-5


@pytest.fixture
def world() -> World:
    return World(town("Grid"), "Grid")


def along(world: World, metres: float, side: float = 0.0, turn: float = 0.0) -> tuple:
    """A pose relative to the first spawn point."""
    x, y, z, _, yaw, _ = world.spawn_points[0]
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return x + metres * cos - side * sin, y + metres * sin + side * cos, z, 0.0, yaw + turn, 0.0


@pytest.mark.parametrize(("side", "turn"), [(0.0, 0.0), (0.0, 180.0), (0.8, 90.0), (1.0, 30.0)])
def test_cars_do_not_pass_through_each_other(world: World, side: float, turn: float) -> None:
    moving = world.spawn(CAR, {}, along(world, 0.0))
    standing = world.spawn(CAR, {}, along(world, 12.0, side, turn))
    world.set_vehicle_control(moving.id, VehicleControl(throttle=1.0))
    seen = set()
    for _ in range(120):
        world.tick()
        for hit in world.collisions():
            seen.add((hit.actor, hit.other))
        rows = [moving.row, standing.row]
        from robo.sim.carla.standin.collisions import boxes

        shapes = boxes(world.table.state[rows], world.table.drive[rows])
        assert overlap(shapes[:, :1], shapes[:, 1:])[0][0] < 0.6
    assert seen == {(moving.id, standing.id), (standing.id, moving.id)}


def test_momentum_is_exchanged_and_reported_to_both(world: World) -> None:
    moving = world.spawn(CAR, {}, along(world, 0.0))
    standing = world.spawn(CAR, {}, along(world, 6.0))
    yaw = math.radians(world.spawn_points[0][4])
    world.set_target_velocity(moving.id, (8 * math.cos(yaw), 8 * math.sin(yaw), 0.0))
    for _ in range(20):
        before = world.table.state[[moving.row, standing.row], 6:8].sum(0)
        world.tick()
        if world.collisions():
            break
    a, b = world.collisions()
    assert a.impulse == tuple(-component for component in b.impulse)
    assert np.hypot(*a.impulse[:2]) > 1845.0
    after = world.table.state[[moving.row, standing.row], 6:8].sum(0)
    assert after == pytest.approx(before, abs=0.1)
    speeds = world.table.state[[moving.row, standing.row], 6:8] @ (math.cos(yaw), math.sin(yaw))
    assert speeds[0] < speeds[1]


@pytest.mark.parametrize("kind", ["walker.pedestrian.0001", "static.prop.streetbarrier"])
def test_walkers_and_props_are_hit(world: World, kind: str) -> None:
    car = world.spawn(CAR, {}, along(world, 0.0))
    other = world.spawn(kind, {}, along(world, 10.0))
    world.set_vehicle_control(car.id, VehicleControl(throttle=1.0))
    hits = set()
    for _ in range(80):
        world.tick()
        hits |= {hit.other for hit in world.collisions() if hit.actor == car.id}
    assert hits == {other.id}
    if kind.startswith("static"):
        assert world.pose(other.id)[:2] == pytest.approx(along(world, 10.0)[:2], abs=1e-6)
        gone = np.subtract(world.pose(car.id)[:2], along(world, 0.0)[:2])
        assert np.hypot(*gone) < 9.0


def test_ghosts_pass_and_touching_at_rest_is_silent(world: World) -> None:
    moving = world.spawn(CAR, {}, along(world, 0.0))
    world.spawn(CAR, {}, along(world, 12.0))
    world.set_collisions(moving.id, False)
    world.set_vehicle_control(moving.id, VehicleControl(throttle=1.0))
    for _ in range(100):
        world.tick()
        assert not world.collisions()
    assert np.hypot(*np.subtract(world.pose(moving.id)[:2], along(world, 0.0)[:2])) > 20.0


def test_leaving_the_road_hits_nothing(world: World) -> None:
    car = world.spawn(CAR, {}, along(world, 0.0, 0.0, 90.0))
    world.set_vehicle_control(car.id, VehicleControl(throttle=1.0))
    for _ in range(60):
        world.tick()
        assert not world.collisions()
