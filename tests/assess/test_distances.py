"""Distances see neither scale nor our shaping, and do see the naive difference."""

from __future__ import annotations

import math

import pytest
import torch

from robo.assess.distances import dard, epic, starc
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


def all_three(first, second, transition):
    """The distances."""
    return (
        float(epic(first, second, GAMMA)),
        float(dard(first, second, transition, GAMMA)),
        float(starc(first, second, transition, GAMMA)),
    )


def test_our_shaping_has_distance_zero_and_the_naive_difference_has_not(process):
    transition, reward, shown = process
    potential = shown.clone()
    potential[-1] = 0
    terminated = torch.zeros(STATES, dtype=torch.bool)
    terminated[-1] = True
    shaped = policy_invariant(
        reward, potential[:, None, None], shown[None, None], terminated[None, None], GAMMA
    )
    assert max(all_three(reward, shaped, transition)) < 1e-9
    assert max(all_three(reward, 3 * shaped, transition)) < 1e-9
    # The plain difference forgets the discount: near, and yet seen.
    plain = reward + 3 * (shown[None, None] - shown[:, None, None])
    assert min(all_three(reward, plain, transition)) > 1e-3


def test_success_plus_raw_progress_is_far_from_success(process):
    """What ``naive`` pays: 1 for the goal, and in every step the progress of where it leads.

    The gold reward is the sparse success, as in training: the random one of the other tests is as
    large in every transition as progress is at most, and hides it (0.08 at the least).
    """
    transition, _, shown = process
    success = torch.zeros(STATES, ACTIONS, STATES, dtype=torch.float64)
    success[:-1, :, -1] = 1
    naive = success + shown[None, None]
    naive[-1] = 0  # over
    assert min(all_three(success, naive, transition)) > 0.1
    potential, terminated = shown.clone(), torch.arange(STATES) == STATES - 1
    potential[-1] = 0
    shaped = policy_invariant(
        success, potential[:, None, None], shown[None, None], terminated[None, None], GAMMA
    )
    assert max(all_three(success, shaped, transition)) < 1e-9


def test_progress_as_a_reward_is_far_from_the_gold_reward(process):
    transition, reward, shown = process
    assert min(all_three(reward, shown[None, None].expand_as(reward), transition)) > 0.1


def test_bounds_symmetry_and_opposites(process):
    transition, reward, _ = process
    other = reward.flip(1) + 0.5 * reward
    for distance in all_three(reward, other, transition):
        assert 0 <= distance <= 1
    assert all_three(reward, other, transition) == pytest.approx(
        all_three(other, reward, transition)
    )
    assert all_three(reward, -reward, transition) == pytest.approx((1, 1, 1))


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
    assert all_three(shaping, zero, transition) == (0, 0, 0)
    assert all_three(reward, zero, transition) == pytest.approx((0.5, 0.5, 0.5))


def test_two_states_by_hand():
    """One action; s0 goes to s1, s1 stays. gamma = 0.5.

    R pays 1 for s0 -> s1 and nothing else, Q pays 1 for s1 -> s1 and nothing else.

    STARC: V_R = (1, 0) and V_Q = (1, 2), so that c(R) = R - V + gamma V' = (0, 0): with one
    action no reward makes a difference, and both count as the zero vector.

    EPIC: mean over (A, S') of R is (1/2, 0), of Q (0, 1/2), over all 1/4. Canonical
    R + gamma m(s') - m(s) - gamma/4, rows s, columns s':
    R: ((0 + 1/4 - 1/2, 1 + 0 - 1/2), (0 + 1/4 - 0, 0 + 0 - 0)) - 1/8
     = ((-3/8, 3/8), (1/8, -1/8)), mean 0, squared norm 20/64.
    Q: ((0 + 0 - 0, 0 + 1/4 - 0), (0 + 0 - 1/2, 1 + 1/4 - 1/2)) - 1/8
     = ((-1/8, 1/8), (-5/8, 5/8)), mean 0, squared norm 52/64.
    Product 2 * (3 - 5) / 64 = -4/64; correlation -4 / sqrt(20 * 52).

    DARD over the two transitions there are, (0, 1) and (1, 1): E R(x, A, X') = (1, 0), of Q
    (0, 1). C_R(0, 1) = 1 + 0 - 1 - gamma R(1, 1) = 0 and C_R(1, 1) = 0; Q likewise: all 0.
    """
    transition = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
    first = torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]])
    second = torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]])
    assert float(starc(first, second, transition, 0.5)) == 0
    expected = math.sqrt((1 + 4 / math.sqrt(20 * 52)) / 2)
    assert float(epic(first, second, 0.5)) == pytest.approx(expected, abs=1e-12)
    assert float(dard(first, second, transition, 0.5)) == pytest.approx(0, abs=1e-12)


def test_three_states_by_hand():
    """s0 chooses between s1 (action 0) and s2 (action 1), which are absorbing. gamma = 0.5.

    R pays 1 for entering s1, Q pays 1 for entering s2, B pays 1 for entering either.

    STARC, uniform policy: V_R(s0) = 1/2 and nothing elsewhere. c(R)(s0) = (1 - 1/2, 0 - 1/2),
    0 elsewhere; c(Q)(s0) = (-1/2, 1/2): opposite, distance 1. V_B(s0) = 1, c(B) = 0: which
    action it is makes no difference, B counts as the zero vector, distance 1/2.

    DARD: transitions s0 -> s1, s0 -> s2 and each absorbing state twice; six of weight 1/6.
    C_R(s0, s1) = 1 + 0 - 1/2 - gamma E R(S', A, S'') with S' in {s1, s2} and S'' = s1: 0,
    so 1/2; C_R(s0, s2) = -1/2; absorbing ones 0. Q is the opposite again.
    """
    transition = torch.zeros(3, 2, 3)
    transition[0, 0, 1] = transition[0, 1, 2] = 1
    transition[1, :, 1] = transition[2, :, 2] = 1
    first, second = torch.zeros(3, 2, 3), torch.zeros(3, 2, 3)
    first[0, :, 1] = 1
    second[0, :, 2] = 1
    assert float(starc(first, second, transition, 0.5)) == pytest.approx(1, abs=1e-12)
    assert float(starc(first, first + second, transition, 0.5)) == pytest.approx(0.5, abs=1e-12)
    assert float(dard(first, second, transition, 0.5)) == pytest.approx(1, abs=1e-12)
    assert float(dard(first, first + second, transition, 0.5)) == pytest.approx(0.5, abs=1e-12)


def test_dard_does_not_ask_for_impossible_transitions_between_far_states():
    """Two rooms without a door: what a reward says of jumping between them is EPIC's business.

    With gamma 0 DARD's last term vanishes, and no transition between the rooms is looked at.
    """
    room = torch.full((2, 1, 2), 0.5, dtype=torch.float64)
    transition = torch.zeros(4, 1, 4, dtype=torch.float64)
    transition[:2, :, :2], transition[2:, :, 2:] = room, room
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(4, 1, 4, generator=generator, dtype=torch.float64)
    jumps = reward.clone()
    jumps[:2, :, 2:] += 5
    jumps[2:, :, :2] -= 5
    assert float(dard(reward, jumps, transition, 0.0)) == pytest.approx(0, abs=1e-12)
    assert float(epic(reward, jumps, 0.0)) > 0.1


def test_bad_input_is_named():
    reward, transition = torch.zeros(2, 1, 2), torch.full((2, 1, 2), 0.5)
    with pytest.raises(ValueError, match="expected"):
        epic(reward, torch.zeros(2, 1, 3), 0.9)
    with pytest.raises(ValueError, match="gamma"):
        epic(reward, reward, 1.1)
    with pytest.raises(ValueError, match="gamma"):
        starc(reward, reward, transition, 1.0)
    with pytest.raises(ValueError, match="gamma"):
        dard(reward, reward, transition, -0.1)
    with pytest.raises(ValueError, match="transition has shape"):
        dard(reward, reward, torch.ones(1, 1, 1), 0.9)
    with pytest.raises(ValueError, match="distribution"):
        starc(reward, reward, 2 * transition, 0.9)
    with pytest.raises(ValueError, match="finite"):
        epic(reward, reward / 0, 0.9)
