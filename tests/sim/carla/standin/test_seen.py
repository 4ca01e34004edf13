"""What a camera sees, against a slow reference, and that one compilation serves every picture."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("carla")
pytest.importorskip("numba")

from robo.sim.carla.standin.sensors import bodies, shapes
from robo.sim.carla.standin.sensors.ahead import compile_once, is_compiled
from robo.sim.carla.standin.sensors.camera import NEAR, Camera
from robo.sim.carla.standin.sensors.faces import Faces, Fixed, Moving, Shells, find
from robo.sim.carla.standin.sensors.painting import fill
from robo.sim.carla.standin.sensors.seen import REACH, SMALLEST, visible

SIZE = 128


def cubes(places: np.ndarray, half: float = 1.0) -> tuple[bodies.Bodies, np.ndarray]:
    """Cubes around places [N, 3]."""
    part = (shapes.block(), (half,) * 3, (0.0, 0.0, 0.0), (9, 9, 9), 1)
    return bodies.join([part] * len(places)), places


def fixed_of(places: np.ndarray) -> Fixed:
    """The cubes as bodies that never move, none of them a house."""
    return Fixed.of(*cubes(places), np.full((len(places), 6), np.nan))


def nobody() -> Moving:
    """No actors."""
    nothing = np.zeros((0, 3))
    return Moving.at(Shells.of(bodies.join([]), nothing, nothing), np.zeros((0, 6)))


def seen_slowly(camera: Camera, fixed: Fixed) -> list[int]:
    """Quadrilaterals that face the camera and fall on its picture, one by one."""
    found = []
    for row, quad in enumerate(fixed.quads.astype(float)):
        body = int(np.searchsorted(fixed.starts, row, side="right")) - 1
        distance = np.linalg.norm(fixed.bodies[body, :3] - camera.position)
        radius = fixed.bodies[body, 3]
        scale = camera.focal / distance
        if scale * radius <= SMALLEST or scale <= quad[16] or distance >= REACH + radius:
            continue
        if (camera.position - quad[:12].reshape(4, 3).mean(0)) @ quad[12:15] <= 0.0:
            continue
        points = (quad[:12].reshape(4, 3) - camera.position) @ camera.axes
        depth = np.maximum(points[:, 2], NEAR)
        u = points[:, 0] * camera.focal / depth + SIZE / 2 - 0.5
        v = points[:, 1] * camera.focal / depth + SIZE / 2 - 0.5
        inside = u.max() >= -1 and u.min() <= SIZE and v.max() >= -1 and v.min() <= SIZE
        if inside and points[:, 2].max() > NEAR:
            found.append(row)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_same_quadrilaterals_as_one_by_one_from_far_to_near(seed: int) -> None:
    generator = np.random.default_rng(seed)
    fixed = fixed_of(generator.uniform(-60.0, 60.0, (80, 3)))
    pose = (*generator.uniform(-5.0, 5.0, 3), *generator.uniform(-40.0, 40.0, 3))
    camera = Camera.at(pose, SIZE, SIZE, 90.0)
    seen = find(camera, fixed, nobody())
    assert sorted(seen.rows.tolist()) == seen_slowly(camera, fixed)
    owner = np.searchsorted(fixed.starts, seen.rows, side="right") - 1
    distance = np.linalg.norm(fixed.bodies[owner, :3] - camera.position, axis=1)
    assert (np.diff(distance) <= 1e-9).all()
    for polygon, count, corners in zip(seen.polygons, seen.counts, seen.corners, strict=True):
        if corners[:, 2].min() >= NEAR:
            assert count == 4
            spots = corners[:, :2] / corners[:, 2:] * camera.focal + camera.center[0]
            assert np.abs(polygon[:4] - spots).max() < 1e-3


def test_what_reaches_behind_the_camera_is_cut_off() -> None:
    # A wall beside the camera, from behind it to far before it.
    fixed = fixed_of(np.array([[2.0, 2.0, 0.0]]))
    camera = Camera.at((1.5, 0.5, 0.0, 0.0, 0.0, 0.0), SIZE, SIZE, 90.0)
    seen = find(camera, fixed, nobody())
    cut = seen.corners[:, :, 2].min(1) < NEAR
    assert cut.any()
    for polygon, count in zip(seen.polygons[cut], seen.counts[cut], strict=True):
        assert 3 <= count <= 5
        assert np.isfinite(polygon[:count]).all()
        # At the camera's side all of it is right of the middle.
        assert (polygon[:count, 0] > camera.center[0]).all()
    behind = Camera.at((9.0, 2.0, 0.0, 0.0, 0.0, 0.0), SIZE, SIZE, 90.0)
    assert not len(find(behind, fixed, nobody()).rows)


def turned(yaw: float) -> tuple[Faces, Faces]:
    """A cube as a fixed body and as an actor, both turned likewise."""
    place = np.array([[12.0, 1.0, 0.5]])
    body = bodies.rotations(np.array([[0.0, yaw, 0.0]]))[0]
    shape = shapes.block()
    still = shapes.Shape(
        (shape.vertices @ body.T).astype(np.float32),
        shape.colors,
        shape.tags,
        shape.fine,
        shape.glow,
    )
    part = (still, (1, 1, 1), (0, 0, 0), (9, 9, 9), 1)
    fixed = Fixed.of(bodies.join([part]), place, np.full((1, 6), np.nan))
    state = np.array([[*place[0], 0.0, yaw, 0.0]])
    own, _ = cubes(place)
    moving = Moving.at(Shells.of(own, np.ones((1, 3)), np.zeros((1, 3))), state)
    camera = Camera.at((0.0, 0.0, 1.0, 0.0, 0.0, 0.0), SIZE, SIZE, 90.0)
    return find(camera, fixed, nobody()), find(camera, fixed_of(np.zeros((0, 3))), moving)


def test_an_actor_is_seen_like_a_fixed_body_of_its_shape() -> None:
    still, moving = turned(30.0)
    assert len(still.rows) >= 2
    assert (-1 - moving.rows).tolist() == still.rows.tolist()
    assert np.abs(moving.corners - still.corners).max() < 1e-4


def test_a_camera_within_an_actor_does_not_see_it() -> None:
    own, place = cubes(np.zeros((1, 3)))
    moving = Moving.at(Shells.of(own, np.ones((1, 3)), np.zeros((1, 3))), np.zeros((1, 6)))
    inside = Camera.at((0.5, 0.0, 0.0, 0.0, 0.0, 0.0), SIZE, SIZE, 90.0)
    outside = Camera.at((-3.0, 0.0, 0.0, 0.0, 0.0, 0.0), SIZE, SIZE, 90.0)
    nothing = fixed_of(np.zeros((0, 3)))
    assert not len(find(inside, nothing, moving).rows)
    assert len(find(outside, nothing, moving).rows)
    assert len(place) == 1


def test_one_compilation_serves_all() -> None:
    compile_once()
    assert is_compiled()
    turned(0.0)
    find(
        Camera.at((0.0,) * 6, 32, 16, 60.0),
        fixed_of(np.ones((3, 3))).within(np.zeros(2), 9),
        nobody(),
    )
    assert len(visible.signatures) == len(fill.signatures) == 1
