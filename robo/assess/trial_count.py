"""How many trials a comparison needs, before the first one: exact power of Barnard's test."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import binom

GRID = np.linspace(0.001, 0.5, 200)
"""Common success rates whose largest type-1 error counts; those above 1/2 mirror them."""


@lru_cache(maxsize=64)
def rejection_region(trials: int, level: float = 0.05) -> np.ndarray:
    """Outcomes at which Barnard's two-sided exact test finds a difference.

    Tables are ordered by the pooled Wald statistic; a table's p-value is the probability, at the
    worst common rate, of tables at least as extreme (Barnard 1947; Suissa and Shuster 1985).

    Args:
        trials: of each policy, at least 1.
        level: type-1 error, in (0, 1).

    Returns:
        bool ``[trials + 1, trials + 1]`` by successes of A and of B.

    Raises:
        ValueError: a number is out of range.
    """
    if trials < 1 or not 0 < level < 1:
        raise ValueError(f"trials are {trials} and the level {level}, expected >= 1 and in (0, 1)")
    counts = np.arange(trials + 1)
    pooled = (counts[:, None] + counts) / (2 * trials)
    difference = np.abs(counts[:, None] - counts) / trials
    spread = np.sqrt(np.maximum(pooled * (1 - pooled) * 2 / trials, 0))
    statistic = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    statistic = np.round(statistic, 10).ravel()  # tables that tie enter together
    order = np.argsort(-statistic, kind="stable")
    last_of_tie = np.append(np.diff(statistic[order]) != 0, True)
    p_value = np.zeros(statistic.size)
    for chance in binom.pmf(counts, trials, GRID[:, None]):
        np.maximum(p_value, np.cumsum(np.outer(chance, chance).ravel()[order]), out=p_value)
    allowed = np.flatnonzero(last_of_tie & (p_value <= level))
    region = np.zeros(statistic.size, bool)
    if len(allowed):
        region[order[: allowed[-1] + 1]] = True
    region = region.reshape(trials + 1, trials + 1)
    region.setflags(write=False)
    return region


def exact_power(rate_a: float, rate_b: float, trials: int, level: float = 0.05) -> float:
    """Probability that Barnard's test finds a difference after ``trials`` of each policy.

    Raises:
        ValueError: a number is out of range.
    """
    _check_rates(rate_a, rate_b)
    counts = np.arange(trials + 1)
    a, b = binom.pmf(counts, trials, rate_a), binom.pmf(counts, trials, rate_b)
    return float(a @ rejection_region(trials, level) @ b)


def required_trials(
    rate_a: float, rate_b: float, power: float = 0.8, level: float = 0.05, most: int = 400
) -> int | None:
    """Trials of each policy after which a difference would be found.

    Args:
        rate_a: success rate of A, in [0, 1].
        rate_b: success rate of B, in [0, 1], another one.
        power: wanted probability of finding it, in (0, 1).
        level: type-1 error, in (0, 1).
        most: where to give up.

    Returns:
        A number at which ``power`` is reached and below which, by bisection, it is not; power is
        a saw-tooth of the number, so single smaller ones may reach it too. None where ``most``
        are not enough.

    Raises:
        ValueError: a number is out of range, or both rates are equal.
    """
    _check_rates(rate_a, rate_b)
    if rate_a == rate_b or not 0 < power < 1:
        raise ValueError(
            f"rates are {rate_a} and {rate_b} and power {power}, expected two rates that differ "
            "and a power in (0, 1)"
        )
    low, high = 1, 2
    while exact_power(rate_a, rate_b, high, level) < power:
        low, high = high, 2 * high
        if low >= most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if exact_power(rate_a, rate_b, middle, level) < power:
            low = middle
        else:
            high = middle
    return high if high <= most else None


def _check_rates(*rates: float) -> None:
    if not all(0 <= rate <= 1 for rate in rates):
        raise ValueError(f"success rates are {list(rates)}, expected numbers in [0, 1]")
