"""How far two samples of scores lie apart: kernel discrepancy, divergence, mean difference.

Three of the five measures by which SRPO (arXiv 2511.15605, section on the progress benchmark)
judges a progress reward: terminal progress of successes against that of failures. The paper says
neither kernel nor bins; ours are stated here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.errors import RoboError

BINS = 20
"""Equal bins over the range of both samples together."""


def _samples(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    both = tuple(np.asarray(part, np.float64).reshape(-1) for part in (first, second))
    for part in both:
        if len(part) == 0 or not np.isfinite(part).all():
            raise RoboError(
                f"a sample of {len(part)} scores is empty or not finite; score at least one "
                "success and one failure"
            )
    return both  # type: ignore[return-value]


def maximum_mean_discrepancy(first: Any, second: Any) -> float:
    """Squared distance of the samples' means in the space of a Gaussian kernel, at least 0.

    exp(-(x - y)^2 / (2 h^2)) with h the median distance between different points of both samples
    together (Gretton et al., 2012); the biased estimate, 0 for equal samples.

    Raises:
        RoboError: an empty sample, or scores that are not finite.
    """
    a, b = _samples(first, second)
    joined = np.concatenate([a, b])
    apart = np.abs(joined[:, None] - joined[None])
    positive = apart[apart > 0]
    if not len(positive):
        return 0.0
    kernel = np.exp(-0.5 * (apart / np.median(positive)) ** 2)
    n = len(a)
    within = kernel[:n, :n].mean() + kernel[n:, n:].mean()
    return max(0.0, float(within - 2.0 * kernel[:n, n:].mean()))


def jensen_shannon(first: Any, second: Any, bins: int = BINS) -> float:
    """Jensen-Shannon divergence of histograms, in nats: 0 ... ln 2.

    Raises:
        RoboError: an empty sample, or scores that are not finite.
    """
    a, b = _samples(first, second)
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    if high <= low:
        return 0.0
    p, q = (np.histogram(part, bins, (low, high))[0] / len(part) for part in (a, b))
    middle = 0.5 * (p + q)

    def divergence(part: np.ndarray) -> float:
        seen = part > 0
        return float((part[seen] * np.log(part[seen] / middle[seen])).sum())

    return 0.5 * divergence(p) + 0.5 * divergence(q)


def standardised_difference(first: Any, second: Any) -> float:
    """(mean of the first - mean of the second) over the pooled standard deviation (Cohen's d).

    Infinite where neither sample varies and their means differ; 0 where they are equal.

    Raises:
        RoboError: an empty sample, or scores that are not finite.
    """
    a, b = _samples(first, second)
    difference = float(a.mean() - b.mean())
    freedom = max(len(a) + len(b) - 2, 1)
    pooled = float(np.sqrt((len(a) * a.var() + len(b) * b.var()) / freedom))
    if pooled == 0.0:
        return 0.0 if difference == 0.0 else float(np.copysign(np.inf, difference))
    return difference / pooled
