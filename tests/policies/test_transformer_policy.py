"""Chunked transformer policies: continuous and binned actions, cloning, groups, files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.testing import assert_close

import robo
from robo.errors import RoboError
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.policies.binned import Binned
from robo.policies.export import export_policy
from robo.policies.group_collector import GroupCollector
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import load_policy, make_policy
from robo.policies.ppo import PPO
from robo.policies.recorder import PolicyActor
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import make_trainer
from robo.rewards.config import RewardConfig
from robo.rollout import Episode, EpisodeInfo, RewardTerms

SMALL = NetworkConfig(kind="transformer", size=32, depth=1, chunk=3, patch=8)
BINNED = dataclasses.replace(SMALL, bins=16, temperature=1.6)
SPACE = spaces.Dict(
    {
        "state": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        "views/front": spaces.Box(0, 255, (16, 16, 3), np.uint8),
        "views/wrist": spaces.Box(0, 255, (16, 24, 3), np.uint8),
    }
)
ACTION = spaces.Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32))


def observations(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "state": rng.normal(size=(count, 5)).astype(np.float32),
        "views/front": rng.integers(0, 256, (count, 16, 16, 3), np.uint8),
        "views/wrist": rng.integers(0, 256, (count, 16, 24, 3), np.uint8),
    }


def test_binned_acts_and_learns_by_the_same_distribution():
    choice = Binned(ACTION.low, ACTION.high, 4, temperature=2.0)
    rng = np.random.default_rng(0)
    output = rng.normal(size=(500, choice.size)).astype(np.float32)
    action, log_prob = choice.sample(output, None, rng)
    assert set(np.unique(action[:, 1]).tolist()) == {-1.5, -0.5, 0.5, 1.5}
    tensors = torch.from_numpy(output), torch.from_numpy(action)
    assert_close(choice.log_prob(tensors[0], None, tensors[1]), torch.from_numpy(log_prob))
    by_hand = torch.log_softmax(tensors[0].reshape(-1, 2, 4) / 2, -1)
    assert_close(choice.entropy(tensors[0], None), -(by_hand.exp() * by_hand).sum((1, 2)))
    other = tensors[0].flip(1)
    assert (choice.kl(tensors[0], None, other, None) >= 0).all()
    assert choice.kl(other, None, other, None).abs().max() < 1e-6
    mode, _ = choice.mode(output, None)
    assert (np.abs(mode - choice.centre(output.reshape(-1, 2, 4).argmax(-1))) == 0).all()
    # What lies outside counts as the outermost bin.
    outside = choice.index(torch.tensor([[-5.0, 5.0], [1.0, -2.0]]))
    assert outside.tolist() == [[0, 3], [3, 0]]
    with pytest.raises(RoboError, match="temperature 0"):
        Binned(ACTION.low, ACTION.high, 4, 0)


@pytest.mark.parametrize("config", [SMALL, BINNED])
def test_views_state_and_chunk(config, tmp_path: Path):
    policy = make_policy(SPACE, ACTION, config, seed=1)
    seen = observations(4)
    action, log_prob = policy.act(seen, np.random.default_rng(0))
    assert action.shape == (4, 6) and policy.environment_action(action).shape == (4, 6)
    tensors = {key: torch.from_numpy(values) for key, values in seen.items()}
    found, entropy, _ = policy.evaluate(tensors, torch.from_numpy(action))
    assert_close(found.detach(), torch.from_numpy(log_prob), atol=1e-4, rtol=1e-4)
    assert bool(entropy.isfinite().all())
    for key in SPACE.spaces:  # every input reaches the actions
        changed = {**seen, key: observations(4, seed=9)[key]}
        assert not np.array_equal(policy.actor_output(changed), policy.actor_output(seen))
    policy.save(tmp_path)
    again = load_policy(tmp_path)
    assert_close(again.actor_output(seen), policy.actor_output(seen))


def test_a_chunk_is_acted_out_before_the_next_look():
    policy = make_policy(SPACE, ACTION, SMALL, seed=1)
    actor = PolicyActor(policy)
    seen = [observations(2, seed) for seed in range(5)]
    first, _ = policy.act(seen[0], np.random.default_rng(0), deterministic=True)
    plan = policy.environment_action(first).reshape(2, 3, 2)
    started = np.array([True, True])
    for step in range(3):
        np.testing.assert_allclose(actor(seen[step], started), plan[:, step], atol=1e-6)
        started = np.array([False, False])
    fourth = actor(seen[3], started)
    later, _ = policy.act(seen[3], np.random.default_rng(0), deterministic=True)
    np.testing.assert_allclose(fourth, policy.environment_action(later)[:, :2], atol=1e-6)
    # An episode that begins in between is looked at at once; the other goes on with its plan.
    fifth = actor(seen[4], np.array([True, False]))
    fresh, _ = policy.act(seen[4], np.random.default_rng(0), deterministic=True)
    np.testing.assert_allclose(fifth[0], policy.environment_action(fresh)[0, :2], atol=1e-6)
    np.testing.assert_allclose(fifth[1], policy.environment_action(later)[1, 2:4], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, BINNED])
def test_cloning_learns_what_follows(config):
    rng = np.random.default_rng(0)
    episodes = []
    for seed in range(4):
        seen = {key: np.zeros_like(values) for key, values in observations(13).items()}
        phase = 0.4 * np.arange(13) + seed
        seen["state"][:, 0], seen["state"][:, 1] = np.sin(phase), np.cos(phase)
        action = 0.8 * seen["state"][:12, :2]
        info = EpisodeInfo("mine", seed=seed)
        reward = np.zeros(12, np.float32)
        episodes.append(Episode(info, seen, action, reward, bool(seed < 3), True))
    policy = make_policy(SPACE, ACTION, config, seed=1)
    settings = BehaviourCloningConfig(
        epochs=120, batch_size=12, learning_rate=2e-3, validation_fraction=0.0, patience=120
    )
    found = clone(episodes, policy, settings)
    assert found["episodes"] == 3 and found["steps"] == 36
    first, _ = policy.act(episodes[0].observation, rng, deterministic=True)
    planned = first[:10].reshape(10, 3, 2)
    for ahead in range(3):
        error = np.abs(planned[:, ahead] - episodes[0].action[ahead : 10 + ahead]).mean()
        assert error < 0.2
    assert found["validation_loss"] < 1.5


def test_chunks_in_groups_are_learned_by_ppo():
    env = robo.make_vec("mujoco/Reach", 4)
    config = dataclasses.replace(BINNED, chunk=4)
    policy = make_policy(env.single_observation_space, env.single_action_space, config, seed=0)
    rollout = GroupCollector(env, policy, 4, seed=0).collect().check()
    env.close()
    assert rollout.shape[0] <= 13 and rollout.action.shape[2] == 16
    assert rollout.valid is not None
    total = torch.zeros(rollout.shape)
    total[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    settings = PPOConfig(
        advantage="group",
        clip_range_high=0.28,
        learning_rate=3e-4,
        epochs=3,
        minibatch_size=16,
        normalise_observation=False,
        reference_kl=0.01,
    )
    metrics = PPO(settings, policy, seed=0).update(rollout, RewardTerms(total, {}))
    assert metrics["groups_used"] == 1 and np.isfinite(list(metrics.values())).all()
    with torch.no_grad():
        log_prob, _, _ = policy.evaluate(rollout.observation, rollout.action)
    moved = ((log_prob - rollout.log_prob) * rollout.valid).sum(0) / rollout.valid.sum(0)
    assert moved[0] > moved[1:].max()


def test_steps_of_chunks_are_counted_as_environment_steps(tmp_path: Path):
    config = TrainConfig(
        task="mujoco/Reach",
        num_envs=4,
        group_size=4,
        total_steps=1,
        ppo=PPOConfig(advantage="group", normalise_observation=False, epochs=1),
        network=dataclasses.replace(SMALL, chunk=10),
        reward=RewardConfig(kind="success"),
        evaluate_every_steps=0,
    )
    trainer = make_trainer(config, tmp_path, show=False)
    try:
        result = trainer.run()
    finally:
        trainer.close()
    # A random policy hardly ever reaches the goal: four episodes of up to 50 steps, five chunks.
    assert result["steps"] == sum(length for _, _, length, _ in trainer.recent)
    assert result["iterations"] == 1 and 40 < result["steps"] <= 200


def test_export_says_that_it_cannot(tmp_path: Path):
    with pytest.raises(RoboError, match="cannot be exported yet"):
        export_policy(make_policy(SPACE, ACTION, SMALL), tmp_path / "policy.pt", "torchscript")


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(RoboError, match="one action at a time"):
        NetworkConfig(chunk=2)
    with pytest.raises(RoboError, match="multiple of 32"):
        NetworkConfig(kind="transformer", size=20)
    with pytest.raises(RoboError, match="--group-size"):
        TrainConfig(network=SMALL)
    with pytest.raises(RoboError, match=r"--network\.patch"):
        make_policy(SPACE, ACTION, dataclasses.replace(SMALL, patch=7))
