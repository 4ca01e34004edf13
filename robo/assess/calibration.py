"""Does a predicted probability of success mean what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.rewards.progress import to_tensor


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions that lie close together, and what became of them."""

    low: float
    """Lower edge of the bin."""
    high: float
    """Upper edge."""
    count: int
    """Predictions in it."""
    predicted: float
    """Their mean."""
    observed: float
    """Share of them that succeeded."""


def brier_score(probability: Any, success: Any) -> float:
    """Mean squared error of predicted success, ``mean (p - z)^2``.

    Args:
        probability: ``[E]`` in [0, 1].
        success: bool ``[E]``.

    Returns:
        Score in [0, 1]; 0 is perfect, 0.25 is that of always saying one half.

    Raises:
        ValueError: shapes differ, there is no episode, or a probability is NaN or outside [0, 1].
    """
    predicted, outcome = _checked(probability, success)
    return float(((predicted - outcome) ** 2).mean())


def reliability(probability: Any, success: Any, bins: int = 10) -> list[ReliabilityBin]:
    """Bins of equal width over [0, 1] that hold a prediction; 1 belongs to the last one.

    Raises:
        ValueError: as for :func:`brier_score`, or fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected at least 1")
    predicted, outcome = _checked(probability, success)
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            low=i / bins,
            high=(i + 1) / bins,
            count=int(inside.sum()),
            predicted=float(predicted[inside].mean()),
            observed=float(outcome[inside].mean()),
        )
        for i in range(bins)
        if (inside := place == i).any()
    ]


def expected_calibration_error(probability: Any, success: Any, bins: int = 10) -> float:
    """Mean distance of predicted and observed success over bins, weighted by their counts.

    Source: Naeini et al. 2015; Guo et al. 2017 (arXiv 1706.04599), with bins of equal width.

    Args:
        probability: ``[E]`` in [0, 1].
        success: bool ``[E]``.
        bins: number of bins.

    Returns:
        Error in [0, 1]; 0 is perfect.

    Raises:
        ValueError: as for :func:`reliability`.
    """
    found = reliability(probability, success, bins)
    total = sum(part.count for part in found)
    return sum(part.count * abs(part.predicted - part.observed) for part in found) / total


def _checked(probability: Any, success: Any) -> tuple[np.ndarray, np.ndarray]:
    predicted = to_tensor(probability).detach().double().cpu().numpy().ravel()
    outcome = (to_tensor(success).cpu().numpy().ravel() > 0.5).astype(np.float64)
    if predicted.shape != outcome.shape or len(predicted) == 0:
        raise ValueError(
            f"{len(predicted)} probabilities and {len(outcome)} outcomes, expected as many of "
            "each and at least one"
        )
    # NaN fails this comparison too.
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError("a predicted probability is NaN or outside [0, 1]")
    return predicted, outcome
