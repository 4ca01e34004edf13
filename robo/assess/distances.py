"""Distances between reward functions, exact on tabular rewards, without training a policy.

All ignore positive scaling and potential-based shaping, so that two rewards at distance 0
order all policies alike. EPIC: Gleave et al. 2021 (arXiv 2006.13900). DARD: Wulfe et al. 2022
(arXiv 2201.10081). STARC: Skalse et al. 2024 (arXiv 2309.15257). On stored episodes:
:mod:`robo.assess.sampled_distances`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robo.rewards.progress import to_tensor

# A canonical reward this much smaller than its reward is a rounding error of the zero reward.
_ZERO = 1e-10


def epic(reward_a: Any, reward_b: Any, gamma: float) -> Tensor:
    """EPIC distance under uniform state, action and coverage distributions.

    Args:
        reward_a: ``[S, A, S]``, reward of state, action, next state.
        reward_b: ``[S, A, S]``.
        gamma: discount, in [0, 1].

    Returns:
        float64 scalar in [0, 1]: half the L2 distance of the centred, normalised canonical
        rewards, equal to sqrt((1 - correlation) / 2). A reward whose canonical form is
        constant counts as the zero vector.

    Raises:
        ValueError: shapes are not ``[S, A, S]`` and equal, an entry is not finite, or gamma is
            out of range.
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}, expected a discount in [0, 1]")
    rewards = _rewards(reward_a, reward_b)
    first, second = (_normalised(_epic_canonical(reward, gamma), reward) for reward in rewards)
    return (first - second).norm() / 2


def starc(reward_a: Any, reward_b: Any, transition: Any, gamma: float) -> Tensor:
    """STARC distance with value canonicalisation under the uniform policy and the L2 norm.

    Args:
        reward_a: ``[S, A, S]``, reward of state, action, next state.
        reward_b: ``[S, A, S]``.
        transition: ``[S, A, S]``, probability of the next state; rows sum to 1.
        gamma: discount, in [0, 1).

    Returns:
        float64 scalar in [0, 1]: half the L2 distance of the normalised canonical rewards; a
        reward whose canonical form is 0 (pure shaping) counts as the zero vector.

    Raises:
        ValueError: shapes are not ``[S, A, S]`` and equal, an entry is not finite, a row of
            ``transition`` is not a distribution, or gamma is out of range.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma is {gamma}, expected a discount in [0, 1)")
    rewards = _rewards(reward_a, reward_b)
    probability = _transition(transition, rewards[0])
    first, second = (
        _unit(_value_canonical(reward, probability, gamma), reward) for reward in rewards
    )
    return (first - second).norm() / 2


def dard(reward_a: Any, reward_b: Any, transition: Any, gamma: float) -> Tensor:
    """DARD distance: like EPIC, but canonicalised over transitions that the process can make.

    Uniform actions; the coverage distribution is that of uniform states and actions with their
    true next states.

    Args:
        reward_a: ``[S, A, S]``, reward of state, action, next state.
        reward_b: ``[S, A, S]``.
        transition: ``[S, A, S]``, probability of the next state; rows sum to 1.
        gamma: discount, in [0, 1].

    Returns:
        float64 scalar in [0, 1]: half the L2 distance of the centred, normalised canonical
        rewards under the coverage distribution.

    Raises:
        ValueError: as for :func:`starc`.
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}, expected a discount in [0, 1]")
    rewards = _rewards(reward_a, reward_b)
    probability = _transition(transition, rewards[0])
    weight = (probability / probability.sum()).sqrt()
    units = []
    for reward in rewards:
        canonical = _dard_canonical(reward, probability, gamma)
        centred = canonical - (weight**2 * canonical).sum()
        units.append(_unit(weight * centred, weight * reward))
    return (units[0] - units[1]).norm() / 2


def _dard_canonical(reward: Tensor, transition: Tensor, gamma: float) -> Tensor:
    """R + E[gamma R(s', A, S'') - R(s, A, S') - gamma R(S', A, S'')].

    S' follows (s, A) and S'' follows (s', A'), independent of each other given s and s', so that
    the last term may ask for transitions between their neighbourhoods.
    """
    expected = (transition * reward).sum(dim=-1).mean(dim=1)  # E R(x, A, X'), [S]
    chain = transition.mean(dim=1)  # of the uniform policy, [S, S]
    between = chain @ reward.mean(dim=1) @ chain.T  # E R(S', A, S'') for (s, s')
    canonical = reward + (gamma * expected[None] - expected[:, None] - gamma * between)[:, None]
    return canonical


def _epic_canonical(reward: Tensor, gamma: float) -> Tensor:
    """R + E[gamma R(s', A, S') - R(s, A, S') - gamma R(S, A, S')], all uniform."""
    mean = reward.mean(dim=(1, 2))
    return reward + gamma * mean[None, None, :] - mean[:, None, None] - gamma * mean.mean()


def _value_canonical(reward: Tensor, transition: Tensor, gamma: float) -> Tensor:
    """E_{S'}[R - V(s) + gamma V(S')], ``[S, A]``, with V of the uniform policy."""
    expected = (transition * reward).sum(dim=-1)
    chain = transition.mean(dim=1)
    identity = torch.eye(len(chain), dtype=torch.float64)
    value = torch.linalg.solve(identity - gamma * chain, expected.mean(dim=1))
    return expected - value[:, None] + gamma * transition @ value


def _normalised(canonical: Tensor, reward: Tensor) -> Tensor:
    """Centre, then :func:`_unit`."""
    return _unit(canonical - canonical.mean(), reward)


def _unit(canonical: Tensor, reward: Tensor) -> Tensor:
    """Divide by the L2 norm; the zero vector where only rounding errors are left."""
    norm = canonical.norm()
    if norm <= _ZERO * reward.norm():
        return torch.zeros_like(canonical)
    return canonical / norm


def _transition(transition: Any, reward: Tensor) -> Tensor:
    """Transition probabilities float64 ``[S, A, S]``, checked."""
    probability = to_tensor(transition).double().cpu()
    if probability.shape != reward.shape:
        raise ValueError(
            f"transition has shape {tuple(probability.shape)}, expected that of the rewards, "
            f"{tuple(reward.shape)}"
        )
    if not bool((probability >= 0).all()) or not torch.allclose(
        probability.sum(dim=-1), torch.ones(probability.shape[:2], dtype=torch.float64), atol=1e-6
    ):
        raise ValueError("transition[s, a] must be a distribution for every state and action")
    return probability


def _rewards(reward_a: Any, reward_b: Any) -> tuple[Tensor, Tensor]:
    """Both rewards as float64 ``[S, A, S]``, checked."""
    first, second = (to_tensor(reward).double().cpu() for reward in (reward_a, reward_b))
    if first.ndim != 3 or first.shape[0] != first.shape[2] or first.shape != second.shape:
        raise ValueError(
            f"rewards have shapes {tuple(first.shape)} and {tuple(second.shape)}, expected "
            "[S, A, S] twice"
        )
    if not bool(first.isfinite().all() & second.isfinite().all()):
        raise ValueError("a reward holds a number that is not finite")
    return first, second
