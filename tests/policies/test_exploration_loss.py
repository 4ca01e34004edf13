"""Roach's exploration loss: which steps have a prior, and what it does to acting."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.policies.beta import Beta
from robo.policies.exploration_loss import Exploration, exploration_priors
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.ppo import PPO
from robo.rollout import Rollout
from tests.policies.sides_helper import NETWORK, make, terms_of, updated

ONES = np.ones(2, np.float32)


def rollout_of(collector, **ends: list[tuple[int, int]]) -> Rollout:
    """A rollout in which named signals end episodes at (step, environment)."""
    rollout = collector.collect()
    signals = {name: torch.zeros(rollout.shape) for name in ends}
    terminated = torch.zeros(rollout.shape, dtype=torch.bool)
    for name, places in ends.items():
        for place in places:
            signals[name][place] = 1.0
            terminated[place] = True
    return dataclasses.replace(rollout, signals=signals, terminated=terminated)


def test_the_last_steps_of_an_episode_have_the_prior_of_what_ended_it():
    _, collector = make(envs=3, steps=8)  # episodes of four steps
    rollout = rollout_of(collector, collision=[(3, 0)], blocked=[(7, 1)], off_road=[(3, 2)])
    priors = exploration_priors(rollout, 2, steps=3)
    assert priors.shape == (8, 3, 2, 2)
    expected = torch.zeros(8, 3, 2, 2)
    expected[1:4, 0, 1] = torch.tensor([1.0, 2.5])
    expected[5:8, 1, 1] = torch.tensor([2.5, 1.0])
    expected[1:4, 2, 0] = torch.tensor([1.0, 1.0])
    assert torch.equal(priors, expected)


def test_priors_stay_within_the_episode_and_the_rollout():
    _, collector = make(envs=2, steps=8)
    rollout = rollout_of(collector, red_light=[(7, 0), (1, 1)])
    drawn = exploration_priors(rollout, 2, 100)[:, :, 1, 0] > 0
    assert drawn[:, 0].tolist() == [False] * 4 + [True] * 4
    assert drawn[:, 1].tolist() == [True] * 2 + [False] * 6


def test_infractions_that_end_nothing_have_no_prior():
    _, collector = make(envs=2, steps=8)
    rollout = rollout_of(collector, collision=[(3, 0)])
    rollout.terminated[:] = False
    assert not exploration_priors(rollout, 2, 100).any()


def test_the_divergence_is_that_of_torch_where_there_is_a_prior():
    draw = torch.Generator().manual_seed(0)
    output = torch.randn(5, 4, generator=draw, dtype=torch.float64)
    priors = torch.zeros(5, 2, 2, dtype=torch.float64)
    priors[1, 1] = torch.tensor([1.0, 2.5])
    priors[2, 0] = torch.tensor([1.0, 1.0])
    priors[3] = torch.tensor([[1.0, 1.0], [2.5, 1.0]])
    alpha, beta = Beta.concentrations(output)
    policy = torch.distributions.Beta(alpha, beta)
    there = torch.where(priors > 0, priors, 1.0)
    prior = torch.distributions.Beta(there[..., 0], there[..., 1])
    theirs = torch.distributions.kl_divergence(policy, prior) * (priors[..., 0] > 0)
    for row in range(5):
        ours = Exploration(priors[row, None], 0.5).loss(Beta(-ONES, ONES), output[row, None])
        torch.testing.assert_close(ours, 0.5 * theirs[row].sum())


@pytest.mark.parametrize(("signal", "sign"), [("collision", -1), ("blocked", 1)])
def test_it_teaches_to_brake_or_to_drive_on(signal, sign):
    policy, collector = make(envs=4, steps=8)
    rollout = rollout_of(collector, **{signal: [(3, env) for env in range(4)]})
    rollout.env_reward[:] = 0.0
    observation = {key: rows[0].numpy() for key, rows in rollout.observation.items()}
    before, _ = policy.act(observation, np.random.default_rng(0), deterministic=True)
    config = PPOConfig(
        learning_rate=1e-3, minibatch_size=16, epochs=10, exploration_coefficient=1.0
    )
    PPO(config, policy).update(rollout, terms_of(rollout))
    after, _ = policy.act(observation, np.random.default_rng(0), deterministic=True)
    assert (sign * (after - before)[:, 1] > 0.05).all()


def test_its_weight_falls_with_the_progress_that_remains():
    policy, collector = make(envs=4, steps=8)
    rollout = rollout_of(collector, collision=[(3, 0)])
    plain, _ = updated(policy, rollout)
    config = PPOConfig(epochs=2, minibatch_size=64, exploration_coefficient=0.5)
    for remaining, same in ((1.0, False), (0.0, True)):
        learned = copy.deepcopy(policy)
        PPO(config, learned, seed=1).update(rollout, terms_of(rollout), remaining)
        assert torch.equal(learned.flat, plain) == same


def test_a_rollout_without_infractions_learns_as_without_the_loss():
    policy, collector = make(envs=4)
    rollout = rollout_of(collector, collision=[])
    plain, _ = updated(policy, rollout)
    with_loss, _ = updated(policy, rollout, exploration_coefficient=0.05)
    assert torch.equal(plain, with_loss)


def test_what_it_cannot_do_is_one_sentence():
    policy, collector = make(envs=2)
    with pytest.raises(RoboError, match=r"reads one of the signals collision, .* has none"):
        updated(policy, collector.collect(), exploration_coefficient=0.05)
    gaussian = NetworkConfig(kind=NETWORK.kind, distribution="gaussian")
    with pytest.raises(RoboError, match="knows Beta distributions of image policies only"):
        PPO(PPOConfig(exploration_coefficient=0.05), make(gaussian)[0])
    with pytest.raises(RoboError, match="exploration_coefficient is -1"):
        PPOConfig(exploration_coefficient=-1.0)
