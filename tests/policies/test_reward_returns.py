"""Sums of the learned reward over episodes that end in, and go beyond, a rollout."""

from __future__ import annotations

import pytest
import torch

from robo.policies.resharding import own_slice
from robo.policies.reward_returns import RewardReturns
from robo.rollout import FinalObservation, RewardTerms, Rollout


def rollout(episode, done, valid=None) -> Rollout:
    """Rows ``[T][N]`` of episode ids and of ends."""
    ended = torch.tensor(done, dtype=torch.bool)
    zero = torch.zeros(ended.shape)
    none = torch.zeros(0, dtype=torch.int64)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, none, none),
        action=zero,
        log_prob=zero,
        env_reward=zero,
        terminated=ended,
        truncated=torch.zeros_like(ended),
        success=torch.zeros_like(ended),
        episode=torch.tensor(episode),
        episodes={},
        signals={},
        valid=None if valid is None else torch.tensor(valid, dtype=torch.bool),
    )


def paid(rows) -> RewardTerms:
    return RewardTerms(torch.tensor(rows, dtype=torch.float32), {})


FIRST = rollout([[0, 1], [0, 1], [2, 1]], [[0, 0], [1, 0], [0, 0]])
SECOND = rollout([[2, 1], [4, 3], [5, 3]], [[1, 1], [1, 0], [0, 0]])
ONE, TWO = paid([[1, 10], [2, 20], [4, 30]]), paid([[8, 40], [16, 50], [32, 60]])


def test_sums_run_over_rollouts_and_stop_at_the_end_of_an_episode():
    returns = RewardReturns(2)
    assert returns.add(FIRST, ONE) == {0: 3}
    assert returns.add(SECOND, TWO) == {2: 4 + 8, 1: 60 + 40, 4: 16}
    assert returns.add(rollout([[5, 3]], [[1, 1]]), paid([[1, 1]])) == {5: 33, 3: 111}


def test_steps_that_do_not_count_pay_nothing():
    returns = RewardReturns(1)
    found = returns.add(rollout([[0], [0], [0]], [[0], [1], [0]], [[1], [1], [0]]), paid([[1]] * 3))
    assert found == {0: 2}


def test_an_episode_that_was_dropped_is_not_taken_for_the_next():
    returns = RewardReturns(2)
    returns.add(FIRST, ONE)
    assert returns.add(rollout([[6, 7]], [[1, 1]]), paid([[1, 2]])) == {6: 1, 7: 2}


@pytest.mark.parametrize("ranks", [1, 2])
def test_open_sums_are_restored_by_as_many_or_other_ranks(ranks):
    returns = RewardReturns(2)
    returns.add(FIRST, ONE)
    saved = {"first": 0, "stop": 2, "collector": {}, "reward": {}}
    saved["reward_returns"] = returns.state_dict()
    if ranks == 1:
        again = RewardReturns(2)
        again.load_state_dict(own_slice([saved], 0, 2)["reward_returns"])
        assert again.add(SECOND, TWO) == {2: 12, 1: 100, 4: 16}
        return
    alone = RewardReturns(1)
    saved["collector"] = {"first": 0, "episode": [2, 1]}
    alone.load_state_dict(own_slice([saved], 1, 2)["reward_returns"])
    assert alone.add(rollout([[1]], [[1]]), paid([[40]])) == {1: 100}
