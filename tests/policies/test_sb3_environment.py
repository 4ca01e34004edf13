"""Environments of ours as Stable-Baselines3 sees them."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest

import robo
from robo.errors import RoboError

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from robo.policies.sb3 import sb3_vec_env
from tests.policies.sb3_helper import counters, ppo


def test_environment_is_that_of_monitored_gymnasium_environments() -> None:
    """Same seeds and actions: observations, ends, terminal observations and statistics agree."""
    options = {"max_episode_steps": 14}
    ours = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 3, "in_process", **options), "state")
    theirs = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1", **options))] * 3)
    draw = np.random.default_rng(0)
    ours.seed(4)
    theirs.seed(4)
    np.testing.assert_allclose(ours.reset(), theirs.reset())
    ended = {"time-out": 0, "end": 0}
    for _ in range(120):
        action = draw.integers(0, 2, 3)
        mine, other = ours.step(action), theirs.step(action)
        for index in range(3):
            np.testing.assert_allclose(mine[index], other[index])
        for row, (a, b) in enumerate(zip(mine[3], other[3], strict=True)):
            assert a["TimeLimit.truncated"] == b["TimeLimit.truncated"]
            assert ("episode" in a) == ("episode" in b) == bool(mine[2][row])
            if mine[2][row]:
                np.testing.assert_allclose(a["terminal_observation"], b["terminal_observation"])
                assert (a["episode"]["r"], a["episode"]["l"]) == (
                    b["episode"]["r"],
                    b["episode"]["l"],
                )
                ended["time-out" if a["TimeLimit.truncated"] else "end"] += 1
    assert min(ended.values()) > 0
    ours.close()


def test_success_and_signals_are_given_and_logged() -> None:
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 4))
    model = ppo(env)
    model.learn(64)
    info = env.step(np.zeros((4, *env.action_space.shape), np.float32))[3][0]
    assert set(info["signals"]) == set(env.env.signal_names) and info["is_success"] is False
    assert len(evaluate_policy(model, env, 2, return_episode_rewards=True)[0]) == 2
    env.close()


def test_evaluation_needs_no_monitor() -> None:
    env = sb3_vec_env(counters(), "state")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _ = evaluate_policy(ppo(env), env, 3)
    assert mean == pytest.approx((4 + 5 + 6) / 3)


def test_rewards_given_to_sb3_are_its_own() -> None:
    """SB3 adds bootstrapped values to them in place."""
    env = sb3_vec_env(counters())
    env.reset()
    reward = env.step(np.zeros((3, 1), np.float32))[1]
    reward += 5.0
    assert env.last_step is not None and (env.last_step.reward == 1.0).all()


def test_unknown_observation_is_refused() -> None:
    with pytest.raises(RoboError, match=r"no observation 'image'; choose 'dict' or one of"):
        sb3_vec_env(counters(), "image")
