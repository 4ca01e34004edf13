"""The compiled controller against its formulas, and initial states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def control(scene: Any) -> Any:
    from robo.sim.robosuite_batch import control

    return control


def test_rotations(control: Any) -> None:
    from scipy.spatial.transform import Rotation

    for vector in np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3)):
        out = np.empty(9)
        control.rotation_matrix(*vector, out)
        expected = Rotation.from_rotvec(vector).as_matrix().ravel()
        np.testing.assert_allclose(out, expected, atol=3e-7)  # single precision inside


def test_torques_are_khatibs(control: Any) -> None:
    """Against the textbook's formula with inverses, for random well-conditioned arms."""
    draw = np.random.default_rng(1)
    rows, gains = 6, np.array([150.0, 24.5, 10.0, 6.3])
    root = draw.normal(size=(rows, 7, 7))
    inertia = root @ root.transpose(0, 2, 1) + 3 * np.eye(7)
    low = np.tril_indices(7)
    mass, mass_rows = inertia[:, low[0], low[1]], np.arange(7) * np.arange(1, 8) // 2
    axis, anchor, point = (draw.normal(size=shape) for shape in ((rows, 7, 3),) * 2 + ((rows, 3),))
    joints, velocity, initial, bias = draw.normal(size=(4, rows, 7))
    frames = np.linalg.qr(draw.normal(size=(2, rows, 3, 3)))[0]
    goal, ctrl = draw.normal(size=(rows, 3)), np.zeros((rows, 9))
    now, wanted = (frame.reshape(rows, 9) for frame in frames)
    arrays = (mass, mass_rows, bias, axis, anchor, point, now, joints, velocity, initial)
    control.command_arm(gains, np.full(7, 1e9), *arrays, goal, wanted, ctrl)
    for row in range(rows):
        linear = np.cross(axis[row], point[row] - anchor[row]).T
        jacobian = np.concatenate([linear, axis[row].T])
        turn = 0.5 * np.cross(frames[0, row].T, frames[1, row].T).sum(axis=0)
        error = np.concatenate([goal[row] - point[row], turn])
        wish = gains[0] * error - gains[1] * jacobian @ velocity[row]
        inverse = np.linalg.inv(inertia[row])
        mobility = jacobian @ inverse @ jacobian.T
        force = np.linalg.inv(mobility[:3, :3]) @ wish[:3]
        torque = np.linalg.inv(mobility[3:, 3:]) @ wish[3:]
        pull = gains[2] * (initial[row] - joints[row]) - gains[3] * velocity[row]
        null = np.eye(7) - inverse @ jacobian.T @ np.linalg.inv(mobility) @ jacobian
        expected = jacobian.T @ np.concatenate([force, torque]) + bias[row]
        expected += null.T @ inertia[row] @ pull
        np.testing.assert_allclose(ctrl[row, :7], expected, rtol=1e-6, atol=1e-6)


def test_torques_are_limited(scene: Any, make_vec: Any) -> None:
    environment = make_vec(2, threads=1)
    environment.reset(seed=0)
    environment.step(np.ones((2, 7), np.float32))
    ctrl = environment.simulations._blocks[0].batch.bind("ctrl")
    assert (np.abs(ctrl[:, :7]) <= scene.controller.limits).all()
    np.testing.assert_allclose(ctrl[:, 7:], [[0.015, -0.015]] * 2)  # a quarter of the way closed


def test_episodes_begin_like_robosuites(lift: Any, make_vec: Any) -> None:
    """The very same states; over many seeds, robosuite's ranges."""
    environment = make_vec(64)
    states = environment.reset(seed=100)[0]["state"]
    for row in (0, 63):
        np.testing.assert_array_equal(states[row, :42], lift.reset(seed=100 + row)[0]["state"])
    cubes = states[:, 32:35]
    assert (np.abs(cubes[:, :2]) <= 0.03).all() and (np.ptp(cubes[:, :2], axis=0) > 0.045).all()
    assert 0.01 < np.arctan2(states[:, 7:14], states[:, :7]).std(axis=0).mean() < 0.03
