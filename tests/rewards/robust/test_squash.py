"""Squashed rewards in several processes: the reference is that of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from robo.policies.rollout_join import join_rollouts
from robo.rewards.base import Reward
from robo.rewards.robust.squash import SquashedReward
from robo.rewards.spec import reward_from_spec
from robo.rollout import RewardTerms, Rollout

Gather = Callable[[Any], list[Any]]


class Ranks:
    """Threads in place of processes: what each tells is heard by all, in their order."""

    def __init__(self, count: int) -> None:
        self.told: list[Any] = [None] * count
        self.barrier = threading.Barrier(count, timeout=20)
        self.calls = 0

    def gather(self, rank: int) -> Gather:
        def ask(value: Any) -> list[Any]:
            self.told[rank] = value
            self.barrier.wait()
            heard = list(self.told)
            self.calls += rank == 0
            self.barrier.wait()
            return heard

        return ask

    def call(self, rewards: Sequence[Reward], rollouts: Sequence[Rollout]) -> list[RewardTerms]:
        """Each rank's reward of its own rollout, all at once."""
        found: list[Any] = [None] * len(rewards)

        def run(rank: int) -> None:
            try:
                found[rank] = rewards[rank](rollouts[rank])
            except BaseException as error:
                self.barrier.abort()
                found[rank] = error

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(rewards))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return found


@pytest.fixture
def sides(rollout) -> list[list[Rollout]]:
    """Two rollouts of two environments; the second goes on with what is open in the first."""
    first = [
        rollout([0, 0, 2, 2], [0, 1, 0, 0], dense=[1.0, 2.0, 9.0, 1.0]),
        rollout([1, 3, 3, 5], [1, 0, 1, 1], dense=[5.0, 7.0, 1.0, 4.0]),
    ]
    second = [
        rollout([2, 4, 4], [1, 0, 1], dense=[2.0, -3.0, 1.0]),
        rollout([7, 9, 9], [1, 0, 0], dense=[6.0, 8.0, 8.0]),
    ]
    return [first, second]


@pytest.mark.parametrize("episodes", [1, 3, 5, 50])
def test_two_ranks_pay_what_one_process_pays(given, sides, episodes):
    alone, ranks = SquashedReward(given(), reference_episodes=episodes), Ranks(2)
    rewards = [
        SquashedReward(given(), reference_episodes=episodes, gather=ranks.gather(rank))
        for rank in range(2)
    ]
    for parts in sides:
        whole = alone(join_rollouts(parts, [0, 1])).total
        paid = ranks.call(rewards, parts)
        assert torch.equal(torch.cat([terms.total for terms in paid], 1), whole)
        assert {reward.centre() for reward in rewards} == {alone.centre()}
    assert ranks.calls == (1 if episodes < 5 else 2)  # a known reference needs no question


def test_ranks_resume_and_agree_on_one_reference(given, sides):
    alone, ranks = SquashedReward(given(), reference_episodes=3), Ranks(2)
    alone(join_rollouts(sides[0], [0, 1]))
    rewards = [
        SquashedReward(given(), reference_episodes=3, gather=ranks.gather(r)) for r in range(2)
    ]
    ranks.call(rewards, sides[0])
    states = [reward.state_dict() for reward in rewards]
    assert states[0]["seen"] == states[1]["seen"] and states[0]["sum"] == states[1]["sum"]
    # As a checkpoint of an earlier version: one rank knows its reference, the other does not yet.
    states[1] |= {"seen": 2, "sum": 100.0}
    again = [
        SquashedReward(given(), reference_episodes=3, gather=ranks.gather(r)) for r in range(2)
    ]
    for reward, state in zip(again, states, strict=True):
        reward.load_state_dict(state)
    paid = ranks.call(again, sides[1])
    whole = alone(join_rollouts(sides[1], [0, 1])).total
    assert torch.equal(torch.cat([terms.total for terms in paid], 1), whole)


@pytest.mark.parametrize(
    "text",
    [
        "squashed[reference_episodes=3](raw:dense)",
        "delta(squashed[reference_episodes=3](raw:dense))",
        "ensemble(squashed(raw:dense); gated(squashed[scale=3](raw:dense)))",
    ],
)
def test_composed_rewards_of_ranks_are_those_of_one(sides, text):
    alone, ranks = reward_from_spec(text), Ranks(2)
    rewards = [reward_from_spec(text, gather=ranks.gather(r), rank=r) for r in range(2)]
    for parts in sides:
        paid = ranks.call(rewards, parts)
        whole = alone(join_rollouts(parts, [0, 1])).total
        assert torch.equal(torch.cat([terms.total for terms in paid], 1), whole)
