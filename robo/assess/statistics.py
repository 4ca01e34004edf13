"""Intervals and tests for success rates, after scipy.

For a number of trials fixed beforehand. While trials come in, look at
:mod:`robo.assess.sequential`; before the first one, at :mod:`robo.assess.trial_count`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import barnard_exact, binomtest, bootstrap


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a success rate.

    Args:
        successes: number of successes, 0 ... trials.
        trials: number of trials, at least 1.
        confidence: coverage, in (0, 1).

    Returns:
        (low, high), in [0, 1]. 9 of 10 gives (0.596, 0.982).

    Raises:
        ValueError: a number is out of range.
    """
    _check(successes, trials, confidence)
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson ("exact") interval of a success rate: covers at least as often as it says.

    Arguments, result and errors as in :func:`wilson`.
    """
    _check(successes, trials, confidence)
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def newcombe(
    successes_a: int,
    trials_a: int,
    successes_b: int,
    trials_b: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Newcombe's hybrid Wilson score interval of the difference p_a - p_b of two success rates.

    Source: Newcombe 1998, Statistics in Medicine 17, method 10 (no continuity correction).

    Args:
        successes_a: successes of A.
        trials_a: trials of A, at least 1.
        successes_b: successes of B.
        trials_b: trials of B, at least 1.
        confidence: coverage, in (0, 1).

    Returns:
        (low, high), in [-1, 1].

    Raises:
        ValueError: a number is out of range.
    """
    low_a, high_a = wilson(successes_a, trials_a, confidence)
    low_b, high_b = wilson(successes_b, trials_b, confidence)
    rate_a, rate_b = successes_a / trials_a, successes_b / trials_b
    difference = rate_a - rate_b
    low = difference - math.hypot(rate_a - low_a, high_b - rate_b)
    high = difference + math.hypot(high_a - rate_a, rate_b - low_b)
    return max(low, -1.0), min(high, 1.0)


def barnard(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Two-sided p-value of Barnard's exact test that two success rates are equal.

    Uses the pooled Wald statistic, as scipy does. For a number of trials fixed beforehand:
    looking at it while trials come in inflates errors.

    Args:
        successes_a: successes of A.
        trials_a: trials of A, at least 1.
        successes_b: successes of B.
        trials_b: trials of B, at least 1.

    Returns:
        p-value in [0, 1]; 1 where all trials of both ended alike.

    Raises:
        ValueError: a number is out of range.
    """
    _check(successes_a, trials_a)
    _check(successes_b, trials_b)
    successes = successes_a + successes_b
    if successes in (0, trials_a + trials_b):
        return 1.0
    table = [[successes_a, successes_b], [trials_a - successes_a, trials_b - successes_b]]
    return float(min(barnard_exact(table, alternative="two-sided", pooled=True).pvalue, 1.0))


def mcnemar(wins_a: int, wins_b: int) -> float:
    """Two-sided exact p-value of McNemar's test for paired trials.

    Only pairs whose two trials ended differently tell the policies apart. Where the policies are
    equally good, each of those goes to either with probability 1/2, however much harder one
    initial state is than another. Source: McNemar 1947, Psychometrika 12; exact binomial form.

    Args:
        wins_a: pairs in which only A succeeded.
        wins_b: pairs in which only B succeeded.

    Returns:
        p-value in [0, 1]; 1 where no pair ended differently.

    Raises:
        ValueError: a number is negative.
    """
    if min(wins_a, wins_b) < 0:
        raise ValueError(f"wins are {wins_a} and {wins_b}, expected at least 0 each")
    if wins_a + wins_b == 0:
        return 1.0
    return float(binomtest(wins_a, wins_a + wins_b, 0.5).pvalue)


def bootstrap_interval(
    samples: Sequence[float] | np.ndarray,
    statistic: Callable[..., np.ndarray | np.floating] = np.mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent samples.

    Args:
        samples: ``[n]``, at least one; one number per episode or seed, not per step.
        statistic: function of an array and ``axis``, such as ``numpy.mean``.
        confidence: coverage, in (0, 1).
        resamples: number of resamples, at least 1.
        seed: of the generator, so that a report repeats.

    Returns:
        (low, high). A single or constant sample gives an interval of width 0.

    Raises:
        ValueError: there is no sample, one is not finite, or a number is out of range.
    """
    values = np.asarray(samples, dtype=np.float64).ravel()
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"bootstrap needs finite samples, got {len(values)} of which some may not be"
        )
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"confidence is {confidence} and resamples {resamples}, expected (0, 1) and at least 1"
        )
    if (values == values[0]).all():
        point = float(statistic(values, axis=-1))
        return point, point
    result = bootstrap(
        (values,),
        statistic,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _check(successes: int, trials: int, confidence: float = 0.95) -> None:
    """Refuse impossible counts."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes of {trials} trials: expected at least one trial and "
            "0 <= successes <= trials"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number in (0, 1)")
