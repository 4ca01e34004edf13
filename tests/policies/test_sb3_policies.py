"""Policies go to Stable-Baselines3 and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import robo
from robo.errors import CheckpointError, RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.learner_config import NetworkConfig

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import VecNormalize  # noqa: E402

from robo.policies.sb3 import from_sb3, policy_keywords, sb3_vec_env, to_sb3  # noqa: E402
from tests.policies.sb3_helper import counters, ppo, sac  # noqa: E402


def our_policy(discrete: bool, activation: Any = "tanh", seen: bool = False) -> ActorCritic:
    space = gymnasium.spaces.Dict(state=gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float32))
    box = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(4) if discrete else box
    policy = ActorCritic(space, action_space, NetworkConfig((16, 12), activation, 0.4), seed=2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    if seen:
        policy.normaliser.update(np.random.default_rng(0).normal(3, 4, (200, 5)))
    return policy


def assert_equal_policies(ours: ActorCritic, theirs: Any, wrap: bool = False) -> None:
    draw = np.random.default_rng(1)
    state = draw.normal(3, 20, (50, 5)).astype(np.float32)
    given: Any = {"state": torch.from_numpy(state)} if wrap else torch.from_numpy(state)
    action, log_prob = ours.act({"state": state}, draw, deterministic=True)
    with torch.no_grad():
        value, their_log_prob, entropy = theirs.evaluate_actions(given, torch.from_numpy(action))
        own = ours.evaluate({"state": torch.from_numpy(state)}, torch.from_numpy(action))
    predicted, _ = theirs.predict({"state": state} if wrap else state, deterministic=True)
    np.testing.assert_allclose(predicted, ours.environment_action(action), atol=1e-6)
    np.testing.assert_allclose(value[:, 0], own[2], atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(their_log_prob, log_prob, atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(entropy, own[1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("observation", ["state", "dict"])
def test_policies_go_there_and_back(discrete: bool, seen: bool, observation: str) -> None:
    ours = our_policy(discrete, "elu" if seen else "tanh", seen)
    theirs = to_sb3(ours, observation)
    assert_equal_policies(ours, theirs, observation == "dict")
    back = from_sb3(theirs)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name
    assert back.config.hidden == (16, 12) and back.config.activation == ours.config.activation


def test_exported_weights_train_on_in_a_model(tmp_path: Path) -> None:
    env = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 2, "in_process"), "state")
    ours = ActorCritic(
        gymnasium.spaces.Dict(state=env.observation_space), env.action_space, NetworkConfig((16,))
    )
    ours.normaliser.update(np.random.default_rng(0).normal(0, 0.1, (100, 4)))
    model = ppo(env, policy_kwargs=policy_keywords(ours))
    model.policy.load_state_dict(to_sb3(ours).state_dict())
    model.learn(32)
    model.save(tmp_path / "model.zip")
    back = from_sb3(tmp_path / "model.zip")
    state = np.random.default_rng(1).normal(0, 0.1, (30, 4)).astype(np.float32)
    chosen, _ = back.act({"state": state}, np.random.default_rng(0), deterministic=True)
    np.testing.assert_array_equal(chosen, model.predict(state, deterministic=True)[0])
    env.close()


def test_import_takes_the_statistics_of_vec_normalize() -> None:
    env = VecNormalize(
        sb3_vec_env(robo.make_vec("gym/Pendulum-v1", 2, "in_process"), "state"), norm_reward=False
    )
    model = ppo(env)
    model.learn(64)
    ours = from_sb3(model)
    state = np.random.default_rng(0).normal(0, 2, (40, 3)).astype(np.float32)
    action, _ = ours.act({"state": state}, np.random.default_rng(0), deterministic=True)
    expected, _ = model.predict(env.normalize_obs(state), deterministic=True)
    np.testing.assert_allclose(ours.environment_action(action), expected, atol=1e-6)
    env.close()


def test_import_of_an_a2c_file(tmp_path: Path) -> None:
    env = sb3_vec_env(robo.make_vec("gym/Pendulum-v1", 2, "in_process"))
    model = sb3.A2C("MultiInputPolicy", env, device="cpu", policy_kwargs={"net_arch": [8]})
    model.learn(20)
    model.save(tmp_path / "a2c")
    ours = from_sb3(tmp_path / "a2c")
    state = np.random.default_rng(0).normal(0, 2, (40, 3)).astype(np.float32)
    action, _ = ours.act({"state": state}, np.random.default_rng(0), deterministic=True)
    expected, _ = model.predict({"state": state}, deterministic=True)
    np.testing.assert_allclose(ours.environment_action(action), expected, atol=1e-6)
    env.close()


def test_policies_without_a_counterpart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no SB3 model"):
        from_sb3(tmp_path / "none.zip")
    (tmp_path / "bad.zip").write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_sb3(tmp_path / "bad.zip")
    env = sb3_vec_env(counters(), "state")
    with pytest.raises(RoboError, match=r"actor \(8,\), critic \(9,\)"):
        from_sb3(ppo(env, policy_kwargs={"net_arch": {"pi": [8], "vf": [9]}}))
    with pytest.raises(RoboError, match="gSDE True"):
        from_sb3(ppo(env, use_sde=True))
    with pytest.raises(RoboError, match="not an actor-critic"):
        from_sb3(sac(env))
    features = ActorCritic(
        gymnasium.spaces.Dict(state=env.observation_space), env.action_space, critic_feature_dim=2
    )
    with pytest.raises(RoboError, match="reads 2 features from the reward"):
        to_sb3(features)
