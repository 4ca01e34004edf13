"""How well a learned reward ranks trajectories or policies, with ties counted for what they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.rewards.progress import to_tensor


def ranking_accuracy(learned: Any, gold: Any) -> float:
    """Share of pairs that the learned reward orders as gold does; a tie of its own counts half.

    Pairs that are tied in gold have no right order and are left out. A tie of the learned reward
    is neither right nor wrong: half, whichever way round the pair is written.

    Args:
        learned: ``[P]``, for example the return of each trajectory, or its mean per policy.
        gold: ``[P]``, for example true progress, or the success rate.

    Returns:
        Accuracy in [0, 1]; 0.5 is chance, and what a constant scores.

    Raises:
        ValueError: lengths differ, a value is NaN, or gold orders no pair.
    """
    first, second = _pairs(learned, gold)
    counts = second != 0
    if not counts.any():
        raise ValueError("gold orders no pair: it needs two different values")
    agreement = np.sign(first[counts]) * np.sign(second[counts])
    return float(((agreement + 1) / 2).mean())


def mean_maximum_rank_violation(learned: Any, gold: Any) -> float:
    """MMRV: how much gold performance a wrong order of policies can cost, at worst and on average.

    ``(1/N) sum_i max_j |gold_i - gold_j| [learned orders (i, j) otherwise than gold]``. A pair
    that the learned reward ties and gold does not is a violation. Source: SIMPLER (Li et al.
    2024, arXiv 2405.05941).

    Args:
        learned: ``[P]``, one value per policy.
        gold: ``[P]``, the policy's true performance, for example its success rate.

    Returns:
        At least 0, in the unit of ``gold``; 0 where the orders agree, and for one policy.

    Raises:
        ValueError: lengths differ, a value is NaN, or there is no policy.
    """
    left, right = _values(learned, gold)
    if len(left) == 0:
        raise ValueError("the rank violation needs at least one policy, got none")
    order = np.sign(left[:, None] - left[None]), np.sign(right[:, None] - right[None])
    cost = np.abs(right[:, None] - right[None]) * (order[0] != order[1])
    return float(cost.max(axis=1).mean())


def _pairs(learned: Any, gold: Any) -> tuple[np.ndarray, np.ndarray]:
    """Differences over all pairs i < j, ``[P (P - 1) / 2]`` each."""
    left, right = _values(learned, gold)
    i, j = np.triu_indices(len(left), k=1)
    return left[i] - left[j], right[i] - right[j]


def _values(learned: Any, gold: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 ``[P]``, checked."""
    left, right = (
        to_tensor(part).detach().double().cpu().numpy().ravel() for part in (learned, gold)
    )
    if left.shape != right.shape:
        raise ValueError(f"lengths differ: {len(left)} and {len(right)}")
    if np.isnan(left).any() or np.isnan(right).any():
        raise ValueError("a value to rank is NaN; leave out what was not measured")
    return left, right
