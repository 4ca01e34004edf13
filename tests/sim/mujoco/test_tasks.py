"""Success rules, true progress, time limits and start distributions."""

from __future__ import annotations

import numpy as np
import pytest

from robo.errors import RoboError
from robo.sim.mujoco.tasks import TASKS, Lift, Push, Reach, Scene, Task
from robo.sim.mujoco.vector import MujocoVectorEnvironment


def scene(tool, cube=(0, 0, 0), goal=(0, 0, 0), opening=0.02) -> Scene:
    rows = [np.array([row], float) for row in (tool, cube, goal)]
    return Scene(rows[0], np.array([opening]), rows[1], rows[2])


def test_lift_needs_the_cube_in_the_hand_and_high():
    lift = Lift()
    held_high = scene((0.5, 0, 0.085), (0.5, 0, 0.085))
    held_low = scene((0.5, 0, 0.075), (0.5, 0, 0.075))
    thrown = scene((0.5, 0, 0.085), (0.5, 0.06, 0.2), opening=0.04)
    assert lift.success(held_high)[0]
    assert not lift.success(held_low)[0]
    assert not lift.success(thrown)[0]
    assert lift.progress(held_high)[0] == 1
    assert 2 / 3 < lift.progress(held_low)[0] < 1


@pytest.mark.parametrize("opening", [0.0, 0.04])
def test_a_cube_tilted_by_a_finger_is_not_held(opening):
    """Its centre rises by a centimetre, but the fingers are not around it."""
    tilted = scene((0.5, 0.0, 0.05), (0.5, 0.02, 0.031), opening=opening)
    assert Lift().progress(tilted)[0] < 1 / 3
    gripped = scene((0.5, 0.0, 0.033), (0.5, 0.0, 0.031), opening=0.021)
    assert Lift().progress(gripped)[0] > 2 / 3


def test_reach_and_push_success():
    assert Reach().success(scene((0.5, 0, 0.2), goal=(0.51, 0, 0.21)))[0]
    assert not Reach().success(scene((0.5, 0, 0.2), goal=(0.52, 0, 0.22)))[0]
    push = Push()
    assert push.success(scene((0, 0, 0), (0.6, 0.03, 0.02), (0.6, 0, 0)))[0]
    assert not push.success(scene((0, 0, 0), (0.6, 0.04, 0.02), (0.6, 0, 0)))[0]
    assert not push.success(scene((0, 0, 0), (0.6, 0.0, 0.05), (0.6, 0, 0)))[0]  # carried


@pytest.mark.parametrize("height", [0.0301, 0.04, 0.06, 0.2])
def test_push_progress_of_a_carried_cube_is_below_one(height):
    carried = scene((0.6, 0, height), (0.6, 0, height), (0.6, 0, 0.0005))
    assert not Push().success(carried)[0]
    assert Push().progress(carried)[0] < 0.97
    assert Push().progress(scene((0.6, 0, 0.03), (0.6, 0, 0.02), (0.6, 0, 0.0005)))[0] == 1


def test_a_cube_lifted_by_the_simulated_hand_counts_and_a_thrown_one_does_not():
    env = MujocoVectorEnvironment("Lift", 2)
    env.reset(seed=0)
    height = env.simulations._qpos
    height[0, 9:12] = env.simulations.tool[0]  # in the hand
    height[1, 9:12] = env.simulations.tool[1] + np.array([0.0, 0.15, 0.2])  # in the air
    _, reward, terminated, truncated, infos = env.step(np.zeros((2, 4), np.float32))
    assert infos["success"].tolist() == terminated.tolist() == [True, False]
    assert reward.tolist() == [1.0, 0.0] and not truncated.any()
    assert infos["signals"]["cube_height"][1] > 0.2


@pytest.mark.parametrize("name", TASKS)
def test_time_limit_and_its_fraction_in_the_state(name):
    env = MujocoVectorEnvironment(name, 2)
    horizon = env.max_episode_steps
    env.reset(seed=0)
    up = np.tile(np.array([-0.2, 0, 1, 0], np.float32), (2, 1))
    for step in range(1, horizon + 1):
        observation, _, terminated, truncated, infos = env.step(up)
        assert not (terminated & truncated).any()
        if step < horizon:
            np.testing.assert_allclose(observation["state"][:, 14], step / horizon, rtol=1e-6)
    assert truncated.all() and not infos["success"].any()
    assert [final["state"][14] for final in infos["final_obs"]] == [1.0, 1.0]
    np.testing.assert_array_equal(observation["state"][:, 14], 0.0)


@pytest.mark.parametrize("name", TASKS)
def test_starts_are_unsolved_and_vary(name):
    env = MujocoVectorEnvironment(name, 128)
    state = env.reset(seed=0)[0]["state"]
    rules, now = env.rules, env.simulations.scene()
    assert not rules.success(now).any()
    progress = rules.progress(now)
    assert (progress >= 0).all() and (progress < 1).all()
    assert len(np.unique(state[:, 15:], axis=0)) == 128


@pytest.mark.parametrize("name", TASKS)
def test_progress_is_a_fraction_and_one_where_solved(name):
    """Over random scenes, some of them solved."""
    generator = np.random.default_rng(0)
    size = 4000
    goal = generator.uniform((0.4, -0.2, 0.0), (0.7, 0.2, 0.3), (size, 3))
    cube = goal + generator.normal(0, 0.04, (size, 3))
    tool = np.where(generator.random((size, 1)) < 0.5, cube, goal)
    tool = tool + generator.normal(0, 0.02, (size, 3))
    state = Scene(tool, generator.uniform(0, 0.04, size), cube, goal)
    task = TASKS[name]()
    success, progress = task.success(state), task.progress(state)
    assert 20 < success.sum() < size - 20
    assert (progress[success] == 1).all()
    assert ((progress >= 0) & (progress <= 1)).all()


def test_a_task_without_rules_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Task()


def test_bad_options_are_one_sentence():
    with pytest.raises(RoboError, match="num_envs=0"):
        MujocoVectorEnvironment("Lift", 0)
    with pytest.raises(RoboError, match="profile 'pretty'"):
        MujocoVectorEnvironment("Lift", 1, profile="pretty")
