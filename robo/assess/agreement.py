"""Do two judges of the same trials agree: a person and a reward model, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robo.assess.statistics import wilson


@dataclass(frozen=True)
class Agreement:
    """How two judges' yes and no agree over n trials."""

    trials: int
    """Trials that both judged."""
    agreed: float
    """Share of them judged alike."""
    interval: tuple[float, float]
    """Wilson's interval of that share."""
    kappa: float
    """Cohen's kappa: 1 for full agreement, 0 for that of chance; 0 where chance explains all."""
    both: int
    """Success for both."""
    first_only: int
    """Success for the first alone."""
    second_only: int
    """Success for the second alone."""
    neither: int
    """Failure for both."""


def agreement(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> Agreement:
    """Agreement of two judges (Cohen 1960, Educational and Psychological Measurement 20).

    Args:
        first: one judge's verdict per trial, at least one trial.
        second: the other's, in the same order.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: no trial, lists of different lengths, or a confidence out of range.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"judges gave {a.shape} and {b.shape} verdicts, expected one list each")
    same = int((a == b).sum())
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    kappa = 0.0 if chance == 1 else (same / len(a) - chance) / (1 - chance)
    return Agreement(
        trials=len(a),
        agreed=same / len(a),
        interval=wilson(same, len(a), confidence),
        kappa=float(kappa),
        both=int((a & b).sum()),
        first_only=int((a & ~b).sum()),
        second_only=int((~a & b).sum()),
        neither=int((~a & ~b).sum()),
    )
