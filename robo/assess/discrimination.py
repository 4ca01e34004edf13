"""How well a score tells successes from failures, and ranks policies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

from robo.rewards.progress import to_tensor


def success_auc(score: Any, success: Any) -> float:
    """Probability that a success scores above a failure, ties counting half.

    The Mann-Whitney statistic U / (successes * failures), equal to the area under the ROC curve.

    Args:
        score: ``[E]``, for example the final predicted progress of each episode.
        success: bool ``[E]``.

    Returns:
        AUC in [0, 1]; 0.5 is chance.

    Raises:
        ValueError: shapes differ, a score is NaN, or one of the two classes is empty.
    """
    scores, outcomes = _scores(score, success)
    positives = int(outcomes.sum())
    negatives = len(outcomes) - positives
    if min(positives, negatives) == 0:
        raise ValueError(
            f"{positives} successes and {negatives} failures: the AUC needs at least one of each"
        )
    ranks = rankdata(scores)
    statistic = ranks[outcomes].sum() - positives * (positives + 1) / 2
    return float(statistic / (positives * negatives))


def false_positive_rate(score: Any, success: Any, threshold: float) -> float:
    """Share of failures that score at or above a threshold: what a learner will exploit.

    Args:
        score: ``[E]``.
        success: bool ``[E]``.
        threshold: the operating point, for example 0.95.

    Returns:
        Rate in [0, 1].

    Raises:
        ValueError: shapes differ, a score is NaN, or there is no failure.
    """
    scores, outcomes = _scores(score, success)
    if outcomes.all():
        raise ValueError("the false-positive rate needs at least one failure, got none")
    return float((scores[~outcomes] >= threshold).mean())


def operating_threshold(score: Any, success: Any, recall: float = 0.95) -> float:
    """The highest threshold at which a share ``recall`` of the successes still passes.

    Args:
        score: ``[E]``.
        success: bool ``[E]``.
        recall: in (0, 1].

    Returns:
        A score of one of the successes: ``score >= threshold`` holds for at least ``recall`` of
        them.

    Raises:
        ValueError: shapes differ, a score is NaN, recall is out of range, or no success.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall is {recall}, expected a share in (0, 1]")
    scores, outcomes = _scores(score, success)
    if not outcomes.any():
        raise ValueError("the operating threshold needs at least one success, got none")
    passed = np.sort(scores[outcomes])[::-1]
    # The small number keeps 0.95 * 20 = 19.000000000000004 from asking for 20.
    return float(passed[math.ceil(recall * len(passed) - 1e-9) - 1])


def kendall_tau_b(first: Any, second: Any) -> float:
    """Kendall's tau-b, which corrects for ties: (C - D) / sqrt((n0 - n1) (n0 - n2)).

    Args:
        first: ``[P]``, for example the mean learned reward of each policy.
        second: ``[P]``, for example its success rate.

    Returns:
        tau-b in [-1, 1]; 0 where either is constant or there are fewer than two.

    Raises:
        ValueError: shapes differ, or a value is NaN.
    """
    left, right = (to_tensor(part).double().cpu().numpy().ravel() for part in (first, second))
    if left.shape != right.shape:
        raise ValueError(f"lengths differ: {len(left)} and {len(right)}")
    if np.isnan(left).any() or np.isnan(right).any():
        raise ValueError("a value to rank is NaN; leave out what was not measured")
    if len(left) < 2:
        return 0.0
    value = float(np.asarray(kendalltau(left, right, variant="b"))[0])
    return 0.0 if math.isnan(value) else value


def _scores(score: Any, success: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores float64 ``[E]`` and outcomes bool ``[E]``, checked."""
    scores = to_tensor(score).detach().double().cpu().numpy().ravel()
    outcomes = to_tensor(success).cpu().numpy().ravel() > 0.5
    if scores.shape != outcomes.shape:
        raise ValueError(f"{len(scores)} scores but {len(outcomes)} outcomes")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    return scores, outcomes
