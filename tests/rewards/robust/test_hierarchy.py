"""A hierarchy of terms decides, and a reward learned from it agrees."""

from __future__ import annotations

import pytest
import torch

from robo.rewards.robust.hierarchy import HierarchicalReward, fit_weights, prefer
from robo.rewards.robust.wrapper import WrapperError


def test_the_first_term_that_differs_enough_decides():
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 9.0], [0.9, 9.0], [1.0, 5.1], [2.0, 9.0]])
    assert prefer(first, second, (0.5, 1.0)).tolist() == [1, -1, 0, -1]
    assert prefer(second, first, (0.5, 1.0)).tolist() == [-1, 1, 0, 1]


def test_learned_weights_agree_with_the_hierarchy():
    generator = torch.Generator().manual_seed(0)
    sums = torch.rand((30, 3), generator=generator) * torch.tensor([1.0, 100.0, 0.0])
    weights = fit_weights(sums, (0.05, 5.0, 0.0))
    assert weights[2] == 0 and bool((weights[:2] > 0).all())
    i, j = torch.triu_indices(30, 30, 1)
    order = prefer(sums[i], sums[j], (0.05, 5.0, 0.0))
    learned = ((sums[i] - sums[j]).double() @ weights).sign()
    decided = order != 0
    assert (learned[decided] == order[decided]).double().mean() > 0.9
    # In units of its own spread, the first term weighs more.
    assert weights[0] * 1.0 > weights[1] * 100.0


def test_the_weighted_reward(given, rollout):
    made = rollout([0, 0], [0, 1], dense=[1.0, 2.0])
    reward = HierarchicalReward(given(), ["dense"], [0.5])
    assert reward(made).total[:, 0].tolist() == [0.5, 1]
    with pytest.raises(WrapperError, match="no terms"):
        HierarchicalReward(given(), ["speed"], [1])(made)
    with pytest.raises(WrapperError, match="2 weights for 1"):
        HierarchicalReward(given(), ["dense"], [1, 2])


def test_bad_input_is_named():
    with pytest.raises(WrapperError, match="margins"):
        prefer(torch.zeros(2), torch.zeros(2), (0.1,))
    with pytest.raises(WrapperError, match="lower them"):
        fit_weights(torch.rand(5, 2), (10, 10))
