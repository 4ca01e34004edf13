"""The simulator's own rewards, and the threshold that stands in for its success bit."""

from __future__ import annotations

import pytest
import torch

from robo.rewards.base import Reward
from robo.rewards.potential import SignalPotential
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rewards.threshold import GRMThresholdReward, ThresholdError
from robo.rollout import FinalObservation, Rollout


def make_rollout(progress, ended, episode):
    """One environment whose episodes end by success."""
    ended = torch.tensor(ended)[:, None]
    step, env = torch.nonzero(ended, as_tuple=True)
    zeros = torch.zeros(ended.shape)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, step, env),
        action=zeros[..., None],
        log_prob=zeros,
        env_reward=torch.arange(len(ended)).float()[:, None],
        terminated=ended,
        truncated=torch.zeros_like(ended),
        success=ended.clone(),
        episode=torch.tensor(episode)[:, None],
        episodes={},
        signals={"progress": torch.tensor(progress)[:, None]},
    ).check()


@pytest.fixture
def rollout():
    """Two episodes: the first passes the threshold twice, the second stays open."""
    return make_rollout(
        [0.5, 0.96, 0.2, 0.99, 0.1, 0.97],
        [False, False, False, True, False, False],
        [1, 1, 1, 1, 2, 2],
    )


def test_success_is_paid_once(rollout):
    reward = SuccessReward()
    assert isinstance(reward, Reward)
    terms = reward(rollout)
    assert terms.total[:, 0].tolist() == [0, 0, 0, 1, 0, 0]
    assert terms.total.dtype == torch.float32
    rollout.valid = torch.zeros_like(rollout.done)
    assert not reward(rollout).total.any()


def test_environment_reward_is_passed_on(rollout):
    assert isinstance(EnvironmentReward(), Reward)
    assert torch.equal(EnvironmentReward()(rollout).total, rollout.env_reward)
    rollout.valid = torch.zeros_like(rollout.done)
    rollout.env_reward = torch.full_like(rollout.env_reward, torch.nan)
    assert not EnvironmentReward()(rollout).total.any()


def test_threshold_is_paid_once_per_episode(rollout):
    reward = GRMThresholdReward(SignalPotential(), delta=0.05)
    assert isinstance(reward, Reward)
    terms = reward(rollout)
    assert terms.total[:, 0].tolist() == [0, 1, 0, 0, 0, 1]
    assert terms.critic_features is not None
    assert terms.final_critic_features is not None
    assert terms.critic_features[:, 0, 0].tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert terms.final_critic_features[:, 0].tolist() == [1]


@pytest.mark.parametrize("cut", range(1, 6))
def test_threshold_does_not_depend_on_cuts(rollout, cut):
    progress = rollout.signals["progress"][:, 0].tolist()
    ended, episode = rollout.done[:, 0].tolist(), rollout.episode[:, 0].tolist()
    first, second = (GRMThresholdReward(SignalPotential()) for _ in range(2))
    left = first(make_rollout(progress[:cut], ended[:cut], episode[:cut]))
    second.load_state_dict(first.state_dict())
    right = second(make_rollout(progress[cut:], ended[cut:], episode[cut:]))
    total = torch.cat((left.total, right.total))[:, 0]
    assert total.tolist() == [0, 1, 0, 0, 0, 1]


def test_threshold_refuses_a_delta_out_of_range():
    with pytest.raises(ThresholdError, match="delta"):
        GRMThresholdReward(SignalPotential(), delta=1.0)
