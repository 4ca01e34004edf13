"""The native backend of ``gym/<id>`` against gymnasium itself: every number, bit for bit."""

from __future__ import annotations

import importlib.util
import os

import gymnasium
import numpy as np
import pytest

import robo
from robo.sim.native_gym.dynamics import row_norms, scalar_squares
from robo.sim.native_gym.make import NATIVE
from robo.sim.native_gym.physics import batch_available

HAS_MUJOCO_GYM = batch_available() and importlib.util.find_spec("imageio") is not None
CLASSIC = ["CartPole-v1", "Pendulum-v1"]
NAMES = sorted(NATIVE) if HAS_MUJOCO_GYM else CLASSIC
NUM_ENVS = 8 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 3
"""More than threads; gymnasium's own are stepped one by one."""


def assert_equal_to_gymnasium(name, num_envs, steps, threads=2, scale=1.0, **options):
    """Step both with equal actions; returns how many episodes ended."""
    native = robo.make_vec(f"gym/{name}", num_envs, threads=threads, **options)
    assert native.backend == "native"
    rewards = exact_rewards(native)
    references = [gymnasium.make(name, **options) for _ in range(num_envs)]
    first = [one.reset(seed=3 + row)[0] for row, one in enumerate(references)]
    assert_rows(native.reset(seed=3)[0]["state"], first)
    space = native.single_action_space
    space.seed(1)
    ended = 0
    for _ in range(steps):
        actions = np.stack([space.sample() for _ in range(num_envs)])
        if isinstance(space, gymnasium.spaces.Box):
            actions *= np.float32(scale)
        observation, reward, terminated, truncated, infos = native.step(actions)
        expected = []
        for row, one in enumerate(references):
            after, paid, dead, late, _ = one.step(actions[row])
            assert rewards[-1][row] == float(paid)
            assert reward[row] == np.float32(paid)
            assert (terminated[row], truncated[row]) == (bool(dead), bool(late and not dead))
            if dead or late:
                ended += 1
                assert_rows(infos["final_obs"][row]["state"], after)
                after, _ = one.reset()
            expected.append(after)
        assert_rows(observation["state"], expected)
        assert ("final_obs" in infos) == bool((terminated | truncated).any())
    native.close()
    for one in references:
        one.close()
    return ended


def exact_rewards(native):
    """A list that grows by the float64 rewards of each step."""
    rewards, advance = [], native.dynamics.advance

    def recorded(actions):
        reward, terminated = advance(actions)
        rewards.append(reward.copy())
        return reward, terminated

    native.dynamics.advance = recorded
    return rewards


def assert_rows(ours, theirs):
    np.testing.assert_array_equal(ours, np.asarray(theirs, dtype=np.float32), strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_short_rollouts_equal_gymnasium(name):
    assert assert_equal_to_gymnasium(name, 3, 60, max_episode_steps=25) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_long_rollouts_equal_gymnasium(name):
    """More than the longest time limit (1,000 steps), so that every environment autoresets."""
    assert assert_equal_to_gymnasium(name, NUM_ENVS, 1_050) >= NUM_ENVS


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_extreme_actions_equal_gymnasium(name):
    """Far outside the action bounds, where velocities are clipped and contacts are hard."""
    assert_equal_to_gymnasium(name, NUM_ENVS, 300, scale=20.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Hopper-v5", {"healthy_reward": 0.3, "healthy_z_range": (0.9, 2.0), "frame_skip": 4}),
        ("Hopper-v5", {"terminate_when_unhealthy": False, "healthy_state_range": (-4.0, 4.0)}),
        ("Walker2d-v5", {"forward_reward_weight": 2, "ctrl_cost_weight": 0.5}),
        ("HalfCheetah-v5", {"reset_noise_scale": 0.4}),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False}),
        ("InvertedDoublePendulum-v5", {"healthy_reward": 7.7, "reset_noise_scale": 0.02}),
        ("Reacher-v5", {"reward_dist_weight": 0.7, "reward_control_weight": 0.3}),
        ("Pusher-v5", {"reward_near_weight": 0.1, "reward_dist_weight": 3}),
        ("Pendulum-v1", {"g": 9.81}),
        ("CartPole-v1", {"sutton_barto_reward": True}),
    ],
)
def test_options_equal_gymnasium(name, options):
    if name not in NAMES:
        pytest.skip("mujoco.batch or imageio is not installed")
    assert_equal_to_gymnasium(name, 2, 40, max_episode_steps=30, **options)


@pytest.mark.skipif(not HAS_MUJOCO_GYM, reason="needs mujoco.batch and imageio")
def test_threads_change_nothing():
    rollouts = []
    for threads in (1, 2, 0):
        vector = robo.make_vec("gym/Walker2d-v5", 5, threads=threads)
        vector.reset(seed=0)
        actions = np.random.default_rng(0).uniform(-1, 1, (80, 5, 6))
        rollouts.append([vector.step(action)[:2] for action in actions])
        vector.close()
    for other in rollouts[1:]:
        for (left, paid), (right, earned) in zip(rollouts[0], other, strict=True):
            np.testing.assert_array_equal(left["state"], right["state"])
            np.testing.assert_array_equal(paid, earned)


def test_scalar_arithmetic():
    """What arrays would compute differently in the last bit, on some machines."""
    values = np.random.default_rng(0).normal(size=20_000)
    for dtype in (np.float64, np.float32):
        row = values.astype(dtype)
        np.testing.assert_array_equal(scalar_squares(row), [one**2 for one in row])
        assert scalar_squares(row).dtype == dtype
    vectors = values[:9_999].reshape(-1, 3)
    np.testing.assert_array_equal(row_norms(vectors), [np.linalg.norm(one) for one in vectors])
