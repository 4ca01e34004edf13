"""How far apart the scores of successes and failures lie, as distributions.

SRPO (arXiv 2511.15605) reports all three of them on terminal progress. It leaves the kernel and
the bins open; here they are stated and the same everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, jensenshannon

from robo.rewards.progress import to_tensor


def standardised_mean_difference(first: Any, second: Any) -> float:
    """``(mean_1 - mean_2) / s`` with the pooled unbiased standard deviation s (Cohen's d).

    Args:
        first: ``[n]``, scores of successes, n at least 1.
        second: ``[m]``, scores of failures, m at least 1.

    Returns:
        Signed difference; 0 for equal constants, and infinite where two different constants
        (up to the rounding of float32) leave no spread.

    Raises:
        ValueError: a sample is empty or holds a number that is not finite.
    """
    left, right = _samples(first, second)
    freedom = len(left) + len(right) - 2
    squares = ((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum()
    difference = float(left.mean() - right.mean())
    spread = math.sqrt(squares / freedom) if freedom > 0 else 0.0
    pooled = np.concatenate([left, right])
    scale = float(np.abs(pooled).max())
    if _constant(left, scale) and _constant(right, scale):
        same = _constant(pooled, scale)
        return 0.0 if same else math.copysign(math.inf, difference)
    return difference / spread


def maximum_mean_discrepancy(first: Any, second: Any, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy with a Gaussian kernel (biased V-statistic).

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`` with ``k = exp(-(x - y)^2 / (2 b^2))``.
    Source: Gretton et al. 2012, JMLR 13.

    Args:
        first: ``[n]``, n at least 1.
        second: ``[m]``, m at least 1.
        bandwidth: b, above 0; None takes the median distance of distinct pooled values.

    Returns:
        In [0, 2); 0 for equal samples, and where all values are equal.

    Raises:
        ValueError: a sample is empty or not finite, or the bandwidth is not positive.
    """
    left, right = _samples(first, second)
    pooled = np.concatenate([left, right])[:, None]
    distance = cdist(pooled, pooled)
    if bandwidth is None:
        apart = distance[distance > 0]
        if len(apart) == 0:
            return 0.0
        bandwidth = float(np.median(apart))
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}, expected a positive number")
    kernel = np.exp(-(distance**2) / (2 * bandwidth**2))
    n = len(left)
    value = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    return max(float(value), 0.0)


def jensen_shannon(
    first: Any, second: Any, bins: int = 20, limits: tuple[float, float] | None = None
) -> float:
    """Jensen-Shannon divergence of two histograms over the same bins, in nats.

    Args:
        first: ``[n]``, n at least 1.
        second: ``[m]``, m at least 1.
        bins: bins of equal width.
        limits: (low, high) of the bins; values outside count in the outer ones. None takes the
            range of both samples.

    Returns:
        In [0, ln 2]; 0 for equal histograms, ln 2 where they share no bin.

    Raises:
        ValueError: a sample is empty or not finite, or the bins are not sound.
    """
    left, right = _samples(first, second)
    low, high = limits or (min(left.min(), right.min()), max(left.max(), right.max()))
    if bins < 1 or high < low:
        raise ValueError(f"bins {bins} over ({low}, {high}): expected at least one, low to high")
    if low == high:
        return 0.0
    edges = np.linspace(low, high, bins + 1)
    p, q = (np.histogram(np.clip(part, low, high), edges)[0] / len(part) for part in (left, right))
    return float(np.nan_to_num(jensenshannon(p, q)) ** 2)


def _constant(values: np.ndarray, scale: float) -> bool:
    """Whether the values differ by no more than the rounding of float32, in which rewards are."""
    return bool(np.ptp(values) <= 1e-6 * scale)


def _samples(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    left, right = (
        to_tensor(part).detach().double().cpu().numpy().ravel() for part in (first, second)
    )
    if min(len(left), len(right)) == 0:
        raise ValueError(f"samples of {len(left)} and {len(right)}: each needs at least one value")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("a sample holds a number that is not finite")
    return left, right
