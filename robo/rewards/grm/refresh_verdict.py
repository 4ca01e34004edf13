"""Whether a refreshed GRM may replace the one that scores: what held-out episodes say of both.

A refresh teaches a model that frames which it took for progress are none, and pays for it with a
little of what it knew of demonstrations. A rule that forbids every such loss keeps the exploited
model just when it is worst: in one run a copy that halved the over-rating of failures (0.48 to
0.23) was refused again and again for 0.03 of the order in time. So what a copy loses on
demonstrations is weighed against what it gains on failures; and however many copies follow one
another, none may fall far behind the model that training began with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """What the held-out episodes say of a model."""

    demonstration_error: float
    """Mean absolute error of progress on held-out demonstrations."""
    failure_end: float
    """Over-rating: mean progress at the end of held-out failures; NaN without any."""
    order: float
    """Mean of :func:`order_in_time` over held-out demonstrations and the policy's successes."""

    def allows(self, candidate: Verdict, given: Verdict, tolerance: float) -> bool:
        """Whether ``candidate`` may replace the model of this verdict.

        Args:
            candidate: of the refreshed copy.
            given: of the model that training began with.
            tolerance: how far the copy may be behind that one on demonstrations, in the error of
                progress and in order.

        Returns:
            True if it rates failures no higher, its :attr:`error` is no larger, and it is within
            the tolerance.
        """
        sober = math.isnan(self.failure_end) or candidate.failure_end <= self.failure_end + 1e-6
        better = candidate.error <= self.error + 1e-6
        return sober and better and candidate.behind(given) <= tolerance + 1e-9

    @property
    def error(self) -> float:
        """Of progress: that of demonstrations and, where there are failures, their over-rating."""
        over_rating = 0.0 if math.isnan(self.failure_end) else self.failure_end
        return self.demonstration_error + over_rating

    def behind(self, other: Verdict) -> float:
        """How much worse this one is on demonstrations, by error or by order: the larger."""
        return max(self.demonstration_error - other.demonstration_error, other.order - self.order)


def order_in_time(progress: np.ndarray) -> float:
    """Share of pairs of frames whose progress rises with time, less that of those that fall.

    Kendall's tau-a: in [-1, 1], 0 for a constant and for fewer than two frames.
    """
    later = np.triu_indices(len(progress), 1)
    rise = np.sign(progress[None, :] - progress[:, None])[later]
    return float(rise.mean()) if len(rise) else 0.0
