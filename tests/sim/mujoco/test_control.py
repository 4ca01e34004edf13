"""The hand goes where it is told, keeps pointing down, and stays inside its workspace."""

from __future__ import annotations

import numpy as np
import pytest

from robo.sim.mujoco.control import LEAD, STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from robo.sim.mujoco.tasks import OPEN
from robo.sim.mujoco.vector import MujocoVectorEnvironment

# Along the axes at full speed; the joints are too slow for more than that on a diagonal.
DIRECTIONS = [
    *(sign * axis for axis in np.eye(3) for sign in (1, -1)),
    (0.5, 0.5, -0.5),
    (-0.5, 0.5, 0.2),
]


def test_a_commanded_displacement_is_reached():
    """Four full steps (10 cm) each way, then rest: within 3 mm."""
    env = MujocoVectorEnvironment("Reach", len(DIRECTIONS))
    env.rules.radius = 0.0  # nothing ends
    start = env.reset(seed=0)[0]["state"][:, 7:10]
    move = np.zeros((len(DIRECTIONS), 4), np.float32)
    move[:, :3] = DIRECTIONS
    for _ in range(4):
        env.step(move)
    for _ in range(10):
        state = env.step(0 * move)[0]["state"]
    wanted = start + 4 * STEP * move[:, :3]
    np.testing.assert_allclose(state[:, 7:10], wanted, atol=3e-3)
    np.testing.assert_allclose(state[:, 10:13], 0, atol=2e-2)


def test_the_hand_keeps_pointing_down():
    env = MujocoVectorEnvironment("Lift", 16)
    env.reset(seed=3)
    generator = np.random.default_rng(1)
    drift = generator.uniform(-0.7, 0.7, (16, 4))
    for _ in range(55):
        env.step((drift + generator.uniform(-0.3, 0.3, (16, 4))).astype(np.float32))
        down = -env.simulations.rotation[:, 2, 2]
        assert down.min() > np.cos(np.radians(8))
    tool = env.simulations.tool
    assert (tool > WORKSPACE_LOW - 0.02).all() and (tool < WORKSPACE_HIGH + 0.02).all()


def test_the_commanded_point_never_leaves_workspace_or_runs_ahead():
    env = MujocoVectorEnvironment("Push", 8)
    env.reset(seed=3)
    push = np.random.default_rng(0).choice([-1.0, 1.0], (8, 4)).astype(np.float32)
    control = env.simulations._control
    for _ in range(40):
        tool = env.simulations.tool.copy()
        env.step(push)
        assert (control.target >= WORKSPACE_LOW).all() and (control.target <= WORKSPACE_HIGH).all()
        inside = np.clip(tool, WORKSPACE_LOW, WORKSPACE_HIGH)
        assert (np.abs(control.target - inside) <= LEAD + 1e-9).all()


@pytest.mark.parametrize(("name", "moves"), [("Lift", True), ("Push", False), ("Reach", False)])
def test_fingers_open_and_close_only_in_lift(name, moves):
    env = MujocoVectorEnvironment(name, 1)
    opening = [env.reset(seed=0)[0]["state"][0, 13]]
    for command in (-1.0, 1.0):
        for _ in range(8):
            state = env.step(np.array([[0, 0, 0, command]], np.float32))[0]["state"]
        opening.append(state[0, 13])
    expected = [OPEN, 0.0, OPEN] if moves else [0.0, 0.0, 0.0]
    np.testing.assert_allclose(opening, expected, atol=2e-3)
