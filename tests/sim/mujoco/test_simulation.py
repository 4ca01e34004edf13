"""Physics of the native batch: reproducible, inside the published limits, saved bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.mujoco.control import LOWER, UPPER
from robo.sim.mujoco.simulation import state_size
from robo.sim.mujoco.tasks import HOME, TASKS
from robo.sim.mujoco.vector import MujocoVectorEnvironment

NAMES = tuple(TASKS)


def random_actions(steps: int, num_envs: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(-1, 1, (steps, num_envs, 4)).astype(np.float32)


def trajectory(env: MujocoVectorEnvironment, actions: np.ndarray) -> list[tuple]:
    steps = [env.step(action) for action in actions]
    return [(s[0]["state"], s[1], s[2], s[3], s[4]["signals"]["progress"]) for s in steps]


def assert_same(first: list[tuple], second: list[tuple], rows: slice = slice(None)) -> None:
    for one, two in zip(first, second, strict=True):
        for left, right in zip(one, two, strict=True):
            np.testing.assert_array_equal(left[rows], right[rows])


@pytest.mark.parametrize("name", NAMES)
def test_seeds_decide_whatever_the_number_of_environments_and_threads(name):
    """Bit for bit, over the resets that autoreset makes."""
    actions = random_actions(90, 5)
    runs = []
    for num_envs, threads in ((5, 1), (5, 2), (2, 1)):
        env = MujocoVectorEnvironment(name, num_envs, threads)
        first = env.reset(seed=11)[0]["state"]
        runs.append([(first,) * 5, *trajectory(env, actions[:, :num_envs])])
        env.close()
    assert_same(runs[0], runs[1])
    small = [tuple(part[:2] for part in step) for step in runs[0]]
    assert_same(small, runs[2])


@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_seeds_and_the_episode_seed_reproduce_episodes(name):
    env = MujocoVectorEnvironment(name, 3)
    env.reset(seed=5)
    for action in random_actions(85, 3):
        env.step(action)
    seeds = [env.episode_info(i).seed for i in range(3)]
    assert len(set(seeds)) == 3 and seeds != [5, 6, 7]
    once = env.reset(seed=seeds)[0]["state"]
    np.testing.assert_array_equal(once, env.reset(seed=seeds)[0]["state"])
    np.testing.assert_array_equal(
        once[1], MujocoVectorEnvironment(name, 1).reset(seed=seeds[1])[0]["state"][0]
    )
    np.testing.assert_array_equal(
        env.reset(seed=np.int64(9))[0]["state"], env.reset(seed=9)[0]["state"]
    )
    with pytest.raises(RoboError, match="2 seeds for 3 environments"):
        env.reset(seed=[1, 2])


def test_a_reset_without_seed_goes_on_with_the_generators():
    first, second = MujocoVectorEnvironment("Lift", 2), MujocoVectorEnvironment("Lift", 2)
    for env in (first, second):
        env.reset(seed=3)
    one, two = first.reset()[0]["state"], second.reset()[0]["state"]
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, first.reset()[0]["state"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_joints_stay_inside_the_published_limits(name, scale):
    """Under random motion that also holds its direction, which drives the arm far."""
    env = MujocoVectorEnvironment(name, 16)
    env.reset(seed=1)
    generator = np.random.default_rng(2)
    drift = generator.choice([-1.0, 1.0], (16, 4)) * (1 - scale)
    for _ in range(160):
        noise = scale * generator.uniform(-1, 1, (16, 4))
        joints = env.step((drift + noise).astype(np.float32))[0]["state"][:, :7]
        assert (joints >= LOWER).all() and (joints <= UPPER).all()


def test_state_holds_what_the_documentation_says():
    for name in NAMES:
        env = MujocoVectorEnvironment(name, 4)
        observation, _ = env.reset(seed=0)
        state = observation["state"]
        assert state.dtype == np.float32
        assert state.shape == (4, state_size(env.rules)) == env.observation_space["state"].shape
        np.testing.assert_allclose(state[:, :7], np.tile(HOME, (4, 1)), atol=1e-6)
        np.testing.assert_allclose(state[:, 7:10], np.tile([0.45, 0, 0.20], (4, 1)), atol=2e-3)
        np.testing.assert_array_equal(state[:, 14], 0)
        if env.rules.has_cube:
            np.testing.assert_allclose(state[:, 18:21], state[:, 15:18] - state[:, 7:10], atol=1e-6)
        if env.rules.has_goal:
            here = state[:, 15:18] if env.rules.has_cube else state[:, 7:10]
            np.testing.assert_allclose(state[:, -7:-4], state[:, -10:-7] - here, atol=1e-6)
        target = state[:, 15:18]
        offset = target - state[:, 7:10]
        pressed = offset / (0.03 + np.linalg.norm(offset, axis=1, keepdims=True))
        np.testing.assert_allclose(state[:, -4:-1], pressed, atol=1e-5)
        np.testing.assert_array_equal(state[:, -1], 1.0 if env.rules.gripper else 0.0)
        before = env.current_observation()["state"]
        before[:] = 7
        np.testing.assert_array_equal(env.current_observation()["state"], state)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_continues_bit_for_bit_with_frames(name):
    """Into another environment, in mid-episode, over later resets."""
    schedule = CameraSchedule(("front", "wrist"), 24, 24, 4)
    one, two = MujocoVectorEnvironment(name, 3), MujocoVectorEnvironment(name, 3)
    for env, seed in ((one, 4), (two, 40)):
        env.set_camera_schedule(schedule)
        env.reset(seed=seed)
    actions = random_actions(100, 3, seed=6)
    for action in actions[:22]:
        one.step(action)
    for action in actions[:3]:
        two.step(action)
    saved = one.state_dict()
    two.load_state_dict(saved)
    kept = {key: np.copy(value) for key, value in saved.items() if isinstance(value, np.ndarray)}
    assert two.episode_info(1) == one.episode_info(1)
    np.testing.assert_array_equal(
        one.current_observation()["state"], two.current_observation()["state"]
    )
    ended = 0
    for action in actions[22:]:
        left, right = one.step(action), two.step(action)
        np.testing.assert_array_equal(left[0]["state"], right[0]["state"])
        for i in (1, 2, 3):
            np.testing.assert_array_equal(left[i], right[i])
        ended += int((left[2] | left[3]).sum())
        assert ("frames" in left[4]) == ("frames" in right[4])
        if "frames" in left[4]:
            rows, others = left[4]["frames"], right[4]["frames"]
            np.testing.assert_array_equal(rows.env, others.env)
            np.testing.assert_array_equal(rows.final, others.final)
            for view in schedule.views:
                np.testing.assert_array_equal(rows.views[view], others.views[view])
    assert ended >= 3
    for key, value in kept.items():  # what was saved does not move with the environment
        np.testing.assert_array_equal(value, saved[key])
    one.close()
    two.close()


def test_a_state_of_another_size_is_refused():
    state = MujocoVectorEnvironment("Lift", 2).state_dict()
    with pytest.raises(RoboError, match="same task and number of environments"):
        MujocoVectorEnvironment("Lift", 3).load_state_dict(state)
    with pytest.raises(RoboError, match="same task and number of environments"):
        MujocoVectorEnvironment("Reach", 2).load_state_dict(state)
