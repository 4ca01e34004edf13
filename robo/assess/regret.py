"""How much following one reward can cost under another, exactly, on tabular processes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

from robo.assess.distances import _rewards, _transition


def worst_case_regret(
    gold: Any, learned: Any, transition: Any, gamma: float, initial: Any = None
) -> float:
    """The most that a policy which the learned reward does not mind can lose under the gold one.

    ``max J(a) - J(b)`` over all policies a, b of which the learned reward finds b at least as good
    as a, divided by the range of J over all policies, with J the gold return. This is the regret
    that STARC distances bound from both sides (Skalse et al. 2024, arXiv 2309.15257, definition
    1). A linear programme over the occupancy measures of both policies.

    Args:
        gold: ``[S, A, S]``.
        learned: ``[S, A, S]``.
        transition: ``[S, A, S]``, rows sum to 1.
        gamma: discount, in [0, 1).
        initial: distribution of the first state ``[S]``; None is uniform.

    Returns:
        In [0, 1]; 0 where no policy makes a difference to gold.

    Raises:
        ValueError: shapes do not fit, an entry is not finite, or gamma is out of range.
        RuntimeError: the solver failed.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma is {gamma}, expected a discount in [0, 1)")
    rewards = _rewards(gold, learned)
    probability = _transition(transition, rewards[0])
    first, second = ((probability * r).sum(dim=-1).numpy().ravel() for r in rewards)
    process = probability.numpy()
    states, actions, _ = process.shape
    start = np.full(states, 1 / states) if initial is None else np.asarray(initial, np.float64)
    # sum_a m(s, a) - gamma sum_{s', a'} m(s', a') T(s', a', s) = initial(s)
    flow = np.repeat(np.eye(states), actions, axis=1) - gamma * process.reshape(-1, states).T
    best = -_solved(-first, flow, start)
    worst = _solved(first, flow, start)
    if best - worst <= 1e-9 * max(abs(best), abs(worst), 1e-12):
        return 0.0
    both = np.kron(np.eye(2), flow)
    cost = np.concatenate([-first, first])
    allowed = np.concatenate([second, -second])[None]  # J2(a) - J2(b) <= 0
    lost = -_solved(cost, both, np.concatenate([start, start]), allowed)
    return float(np.clip(lost / (best - worst), 0.0, 1.0))


def _solved(
    cost: np.ndarray, flow: np.ndarray, start: np.ndarray, allowed: np.ndarray | None = None
) -> float:
    """The least cost over occupancy measures."""
    bound = None if allowed is None else np.zeros(len(allowed))
    found = linprog(cost, A_ub=allowed, b_ub=bound, A_eq=flow, b_eq=start, method="highs")
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    return float(found.fun)
