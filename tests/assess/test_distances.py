"""Distances see neither scale nor our shaping, and do see the naive difference."""

from __future__ import annotations

import math

import pytest
import torch

from robo.assess.distances import epic, starc
from robo.rewards.shaping import policy_invariant

GAMMA = 0.95
STATES, ACTIONS = 7, 3


@pytest.fixture(params=range(5))
def process(request):
    """A random process; the last state is terminal: absorbing, pays nothing, potential 0."""
    generator = torch.Generator().manual_seed(request.param)
    shape = (STATES, ACTIONS, STATES)
    transition = torch.rand(shape, generator=generator, dtype=torch.float64) ** 3
    transition[-1] = 0
    transition[-1, :, -1] = 1
    transition /= transition.sum(dim=-1, keepdim=True)
    reward = torch.randn(shape, generator=generator, dtype=torch.float64)
    reward[-1] = 0
    shown = torch.rand(STATES, generator=generator, dtype=torch.float64)
    return transition, reward, shown


def both(first, second, transition):
    """The two distances."""
    return float(epic(first, second, GAMMA)), float(starc(first, second, transition, GAMMA))


def test_our_shaping_has_distance_zero_and_the_naive_difference_has_not(process):
    transition, reward, shown = process
    potential = shown.clone()
    potential[-1] = 0
    terminated = torch.zeros(STATES, dtype=torch.bool)
    terminated[-1] = True
    shaped = policy_invariant(
        reward, potential[:, None, None], shown[None, None], terminated[None, None], GAMMA
    )
    assert max(both(reward, shaped, transition)) < 1e-6
    assert max(both(reward, 3 * shaped, transition)) < 1e-6
    naive = reward + 3 * (shown[None, None] - shown[:, None, None])
    assert min(both(reward, naive, transition)) > 1e-3


def test_progress_as_a_reward_is_far_from_the_gold_reward(process):
    transition, reward, shown = process
    assert min(both(reward, shown[None, None].expand_as(reward), transition)) > 0.1


def test_bounds_symmetry_and_opposites(process):
    transition, reward, _ = process
    other = reward.flip(1) + 0.5 * reward
    for distance in both(reward, other, transition):
        assert 0 <= distance <= 1
    assert both(reward, other, transition) == pytest.approx(both(other, reward, transition))
    assert both(reward, -reward, transition) == pytest.approx((1, 1))


def test_epic_is_the_pearson_distance_of_canonical_rewards(process):
    _, first, _ = process
    second = first.flip(1)

    def canonical(reward):
        mean = reward.mean(dim=(1, 2))
        return (reward + GAMMA * mean[None, None] - mean[:, None, None]).flatten()

    correlation = torch.corrcoef(torch.stack((canonical(first), canonical(second))))[0, 1]
    expected = math.sqrt((1 - float(correlation)) / 2)
    assert float(epic(first, second, GAMMA)) == pytest.approx(expected)


def test_starc_ignores_where_reward_is_paid_among_next_states(process):
    transition, reward, _ = process
    expected = (transition * reward).sum(dim=-1, keepdim=True).expand_as(reward)
    assert float(starc(reward, expected, transition, GAMMA)) < 1e-6


def test_pure_shaping_counts_as_the_zero_reward(process):
    transition, reward, shown = process
    shaping = GAMMA * shown[None, None] - shown[:, None, None] + 0 * reward
    zero = torch.zeros_like(reward)
    assert both(shaping, zero, transition) == (0, 0)
    assert both(reward, zero, transition) == pytest.approx((0.5, 0.5))


def test_bad_input_is_named():
    reward, transition = torch.zeros(2, 1, 2), torch.full((2, 1, 2), 0.5)
    with pytest.raises(ValueError, match="expected"):
        epic(reward, torch.zeros(2, 1, 3), 0.9)
    with pytest.raises(ValueError, match="gamma"):
        epic(reward, reward, 1.1)
    with pytest.raises(ValueError, match="gamma"):
        starc(reward, reward, transition, 1.0)
    with pytest.raises(ValueError, match="distribution"):
        starc(reward, reward, 2 * transition, 0.9)
    with pytest.raises(ValueError, match="finite"):
        epic(reward, reward / 0, 0.9)
