"""The Goodhart gap along a training run: when the reward still rises and success no longer does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robo.errors import RoboError


@dataclass(frozen=True)
class GoodhartGap:
    """A run's reward beside its gold success. Curves are those of the evaluations ``[K]``."""

    step: np.ndarray
    """Environment steps."""
    gap: np.ndarray
    """z-scored reward less z-scored gold; rises where the reward is hacked."""
    peak_gold: float
    """Best gold performance on the way."""
    peak_step: int
    """Where that was."""
    final_gold: float
    """Gold performance at the end."""
    drop: float
    """Peak less final."""
    divergence_step: int | None
    """From here on gold stays below its peak by more than the tolerance while the reward is above
    what it was at that peak; None where that never happens."""


def goodhart_gap(
    step: Sequence[float] | np.ndarray,
    reward: Sequence[float] | np.ndarray,
    gold: Sequence[float] | np.ndarray,
    tolerance: float = 0.05,
) -> GoodhartGap:
    """Compare what a policy learned from with what it was meant to do (Gao et al. 2022).

    Source of the picture: "Scaling Laws for Reward Model Overoptimization", arXiv 2210.10760.
    A constant curve has no z-scores and counts as 0 throughout.

    Args:
        step: ``[K]``, rising, K at least 2.
        reward: ``[K]``, mean return under the learned reward.
        gold: ``[K]``, for example the success rate.
        tolerance: how far gold may fall below its peak, in its own unit.

    Raises:
        ValueError: lengths differ, fewer than two points, steps that do not rise, or a number
            that is not finite.
    """
    at, learned, true = (np.asarray(part, np.float64) for part in (step, reward, gold))
    if not at.shape == learned.shape == true.shape or at.ndim != 1 or len(at) < 2:
        raise ValueError(
            f"curves have shapes {at.shape}, {learned.shape} and {true.shape}, expected [K] of "
            "two or more points each"
        )
    if not (np.isfinite(at).all() and np.isfinite(learned).all() and np.isfinite(true).all()):
        raise ValueError("a curve holds a number that is not finite")
    if not (np.diff(at) > 0).all():
        raise ValueError("steps must rise")
    peak = int(true.argmax())
    worse = (true < true[peak] - tolerance) & (learned > learned[peak])
    worse[: peak + 1] = False
    # The last run of diverged points, if it reaches the end.
    since = len(worse) if not worse[-1] else len(worse) - int(np.argmin([*worse[::-1], False]))
    return GoodhartGap(
        step=at,
        gap=_scores(learned) - _scores(true),
        peak_gold=float(true[peak]),
        peak_step=int(at[peak]),
        final_gold=float(true[-1]),
        drop=float(true[peak] - true[-1]),
        divergence_step=int(at[since]) if since < len(at) else None,
    )


def gap_of_run(
    metrics: Path,
    reward: str = "episode/reward_return",
    gold: str = "episode/success",
    tolerance: float = 0.05,
) -> GoodhartGap:
    """The gap of a run from its TensorBoard events, over the episodes it trained on.

    Args:
        metrics: folder of the events: ``metrics`` of a run folder.
        reward: scalar of the return under the reward that was learned from. ``episode/return``,
            also of every run, is that of the environment's own reward.
        gold: scalar of the gold outcome.
        tolerance: see :func:`goodhart_gap`.

    Raises:
        RoboError: no such folder, no such scalars in it, fewer than two common points, or a
            curve that is not finite.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not metrics.is_dir():
        raise RoboError(f"{metrics} is no folder: name the metrics folder of a training run")
    events = EventAccumulator(str(metrics), size_guidance={"scalars": 0})
    events.Reload()
    there = events.Tags()["scalars"]
    missing = [name for name in (reward, gold) if name not in there]
    if missing:
        raise RoboError(
            f"{metrics} holds no scalars {missing} (it has {sorted(there)}): name the metrics "
            "folder of a training run"
        )
    curves = [{event.step: event.value for event in events.Scalars(n)} for n in (reward, gold)]
    steps = sorted(set(curves[0]) & set(curves[1]))
    if len(steps) < 2:
        raise RoboError(f"{metrics} holds {len(steps)} common points of {reward} and {gold}")
    learned, true = ([curve[step] for step in steps] for curve in curves)
    try:
        return goodhart_gap(steps, learned, true, tolerance)
    except ValueError as error:
        raise RoboError(f"{reward} and {gold} of {metrics} have no gap: {error}") from error


def _scores(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return np.zeros_like(values) if spread == 0 else (values - values.mean()) / spread
