"""Which policy is best, as a probability: independent Beta posteriors of success rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta


def probability_of_best(
    successes: Sequence[int], trials: Sequence[int], prior: float = 1.0
) -> np.ndarray:
    """Posterior probability of each policy that its success rate is the highest.

    Rates have independent Beta(prior, prior) priors, uniform by default. The integral of one
    density times the others' distribution functions is taken by Gauss-Legendre quadrature, with
    enough nodes to be exact for the uniform prior, where the integrand is a polynomial.

    Args:
        successes: of each of K policies.
        trials: of each of K policies, 0 or more.
        prior: parameter of the Beta prior, above 0 (1/2 is Jeffreys').

    Returns:
        float64 ``[K]``, summing to 1.

    Raises:
        ValueError: numbers are out of range, or the lists differ in length.
    """
    won, tried = np.asarray(successes, float), np.asarray(trials, float)
    if won.shape != tried.shape or won.ndim != 1 or not len(won):
        raise ValueError(f"successes {successes} and trials {trials} must be lists of one length")
    if (won < 0).any() or (won > tried).any() or not prior > 0:
        raise ValueError(
            f"successes are {successes} of {trials} and the prior {prior}, expected "
            "0 <= successes <= trials and a prior above 0"
        )
    degree = int(tried.sum()) + len(won)
    nodes, weights = np.polynomial.legendre.leggauss(max(32, degree // 2 + 1))
    rate, weights = (nodes + 1) / 2, weights / 2
    after: list[Any] = [beta(prior + k, prior + n - k) for k, n in zip(won, tried, strict=True)]
    below = np.array([each.cdf(rate) for each in after])
    best = [
        weights @ (each.pdf(rate) * np.delete(below, i, axis=0).prod(axis=0))
        for i, each in enumerate(after)
    ]
    return np.asarray(best) / np.sum(best)


def posterior_interval(
    successes: int, trials: int, confidence: float = 0.95, prior: float = 1.0
) -> tuple[float, float]:
    """Equal-tailed credible interval of a success rate, (low, high) in [0, 1].

    Raises:
        ValueError: a number is out of range.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1 or not prior > 0:
        raise ValueError(
            f"{successes} successes of {trials}, confidence {confidence}, prior {prior}: expected "
            "0 <= successes <= trials, a confidence in (0, 1) and a prior above 0"
        )
    low, high = beta(prior + successes, prior + trials - successes).interval(confidence)
    return float(low), float(high)
