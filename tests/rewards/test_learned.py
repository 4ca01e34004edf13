"""What a reward learned goes to another of the same settings; open episodes stay where they are."""

from __future__ import annotations

import pytest
import torch

from robo.errors import RoboError
from robo.rewards.learned import Learns, counts_of, hand_over, parts_of
from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
from robo.rewards.robust.clip_delta import DeltaReward
from robo.rewards.robust.squash import SquashedReward
from robo.rewards.success import SuccessReward
from tests.rewards.robust.conftest import Given, make
from tests.rewards.test_srpo_reward import reward as srpo
from tests.rewards.test_srpo_reward import rollout


def test_the_parts_of_a_reward_are_found_once_each():
    gold, potential = SuccessReward(), SignalPotential("progress")
    shaped = ProgressDifferenceReward(gold, potential)
    whole = DeltaReward(shaped, outcome=gold)
    assert parts_of(whole) == [whole, shaped, gold, potential]


def test_references_are_handed_over_and_stay_apart():
    trained, other = srpo(), srpo()
    assert isinstance(trained, Learns)
    trained(rollout([7, 5, 3], [True, False, False], first_id=20))
    failures = rollout([6, 3], [False, False])
    assert (other(failures).total == 0).all()
    hand_over(trained, other)
    paid = other(failures).total[-1]
    assert paid[0] > paid[1] > 0
    other(rollout([6], [True], first_id=30))
    assert [len(r.bank.kept["mujoco/Reach"]) for r in (trained, other)] == [1, 2]


def test_a_centre_is_handed_over_inside_a_wrapper_but_no_open_episode():
    def wrapped():
        return DeltaReward(SquashedReward(Given()))

    trained, other = wrapped(), wrapped()
    trained(make([0, 0, 1], [False, True, False], dense=[1.0, 2.0, 9.0]))
    hand_over(trained, other)
    squashed = other.inner["dense"]
    assert squashed.centre() == trained.inner["dense"].centre() == 3.0
    # Episode 1 is open in the run, with 9 so far; here another episode of that id begins.
    paid = other(make([1], [True], dense=[3.0])).terms["inner.dense.squashed"]
    assert torch.equal(paid, torch.zeros(1, 1))


def test_rewards_of_other_settings_are_refused():
    with pytest.raises(RoboError, match="SuccessReward, the other SquashedReward of Given"):
        hand_over(SuccessReward(), SquashedReward(Given()))


def test_counts_of_what_a_reward_is_made_of_are_told_once():
    judge = srpo()
    assert counts_of(SuccessReward()) == {}
    shaped = ProgressDifferenceReward(judge, SignalPotential("progress"))
    judge(rollout([6, 3], [False, False]))
    assert counts_of(shaped) == counts_of(judge) == dict(judge.counts)
    assert counts_of(DeltaReward(shaped, outcome=judge))["judged"] == 1
