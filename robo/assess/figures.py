"""Every figure of a reward on a set of episodes, each with a bootstrap interval over episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.assess.calibration import brier_score, expected_calibration_error
from robo.assess.discrimination import (
    false_positive_rate,
    kendall_tau_b,
    operating_threshold,
    success_auc,
)
from robo.assess.distributions import (
    jensen_shannon,
    maximum_mean_discrepancy,
    standardised_difference,
)
from robo.assess.order import monotonicity, progress_error, value_order_correlation
from robo.assess.ranking import mean_maximum_rank_violation, ranking_accuracy

if TYPE_CHECKING:
    from robo.rewards.replay import Scored
    from robo.rollout import Episode

Statistic = Callable[[np.ndarray], float]
"""From episode indices ``[n]`` (with repetitions) to a number; ValueError where undefined."""


@dataclass(frozen=True)
class Figure:
    """A number with its interval."""

    value: float | None
    """None where it is undefined; ``note`` says why."""
    low: float | None = None
    """Lower end of the bootstrap interval; None where it is undefined or infinite in most
    resamples. Where it is in fewer, these are left out of the interval."""
    high: float | None = None
    """Upper end."""
    episodes: int = 0
    """Episodes that it rests on."""
    note: str = ""
    """Why there is no value."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    resamples: int = 500
    """Resamples of whole episodes; 0 makes no intervals."""
    confidence: float = 0.95
    """Coverage of the percentile interval."""
    seed: int = 0
    """Of the resampling."""


def figure(
    statistic: Statistic, episodes: np.ndarray, resampling: Resampling, groups: Any = None
) -> Figure:
    """A statistic and its interval.

    Args:
        statistic: see :data:`Statistic`.
        episodes: int64 ``[n]``, the episodes that it is of.
        resampling: how the interval is made.
        groups: ``[n]``, resampled within each (successes and failures, say), so that no
            resample lacks a class; None for all together.
    """
    count = len(episodes)
    try:
        value = float(statistic(episodes))
    except ValueError as error:
        return Figure(None, episodes=count, note=str(error))
    if not resampling.resamples or not math.isfinite(value):
        note = "" if math.isfinite(value) else f"the value is {value}"
        return Figure(value if math.isfinite(value) else None, episodes=count, note=note)
    generator = np.random.default_rng(resampling.seed)
    labels = np.zeros(count) if groups is None else np.asarray(groups)
    parts = [episodes[labels == label] for label in np.unique(labels)]
    found = []
    for _ in range(resampling.resamples):
        drawn = np.concatenate([generator.choice(part, len(part)) for part in parts])
        try:
            found.append(float(statistic(drawn)))
        except ValueError:  # undefined in this resample
            continue
    known = np.array(found)[np.isfinite(found)] if found else np.zeros(0)
    if len(known) < resampling.resamples / 2:
        return Figure(value, episodes=count)
    tail = 50 * (1 - resampling.confidence)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Figure(value, float(low), float(high), count)


@dataclass
class Evidence:
    """What figures are computed from."""

    episodes: Sequence[Episode]
    """Of E episodes."""
    scored: Sequence[Scored]
    """What the reward said of them."""
    backwards: Sequence[Scored]
    """What it said of them played backwards, in their order."""
    truth: str | None = None
    """Signal of true progress in [0, 1], to compare with."""
    recall: float = 0.95
    """Share of the successes that passes the operating threshold."""
    resampling: Resampling = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        """Take scores and outcomes apart; episodes whose score is not finite count nowhere."""
        self.score = np.array([part.score for part in self.scored])
        self.success = np.array([e.success for e in self.episodes], bool)
        self.usable = np.flatnonzero(np.isfinite(self.score))
        self.actors = [str(e.metadata.get("actor", "policy")) for e in self.episodes]


def all_figures(evidence: Evidence) -> dict[str, Figure]:
    """Every figure that the episodes allow; those that they do not have a note in place of a value.

    * ``voc_plus``, ``voc_minus``, ``voc_failures``, ``voc_minus_failures``, ``monotonicity``:
      order in time, see :mod:`robo.assess.order`. ``voc_minus`` is of successes played backwards,
      with the sign turned: 1 is ideal, and a reward that always rises gets -1. The two of failures
      are the same of failures, which should be low.
    * ``progress_mae``, ``kendall_tau_b``, ``ranking_accuracy``: against true progress (in the last
      state, for the two that rank), or against success where there is no such signal.
    * ``auc``, ``false_positive_rate``, ``smd``, ``mmd``, ``js``: of scores of successes against
      failures, at the operating threshold where there is one.
    * ``mmrv``: of actors, their mean score against their success rate.
    * ``brier``, ``ece``: the score as a probability of success, where it lies in [0, 1].
    """
    return {**_order(evidence), **_truth(evidence), **_separation(evidence), **_between(evidence)}


def _order(given: Evidence) -> dict[str, Figure]:
    voc = np.array([float(value_order_correlation(part.progress)) for part in given.scored])
    rises = np.array(
        [float(monotonicity(p.progress)) if len(p.progress) > 1 else np.nan for p in given.scored]
    )
    undone = np.array([-float(value_order_correlation(part.progress)) for part in given.backwards])
    successes, failures = np.flatnonzero(given.success), np.flatnonzero(~given.success)
    return {
        "voc_plus": _mean(given, voc, successes, "there is no success"),
        "voc_minus": _mean(given, undone, successes, "there is no success"),
        "voc_failures": _mean(given, voc, failures, "there is no failure"),
        "voc_minus_failures": _mean(given, undone, failures, "there is no failure"),
        "monotonicity": _mean(given, rises, successes, "there is no success"),
    }


def _mean(given: Evidence, values: np.ndarray, rows: np.ndarray, why: str) -> Figure:
    if len(rows) == 0:
        return Figure(None, note=why)
    return figure(lambda i: float(values[i].mean()), rows, given.resampling)


def _truth(given: Evidence) -> dict[str, Figure]:
    score, rows = given.score, given.usable
    if given.truth is None:
        end, absent = given.success.astype(float), Figure(None, note="no true progress was named")
        error = absent
    else:
        known = [np.asarray(e.signals[given.truth], np.float64) for e in given.episodes]
        end = np.array([part[-1] for part in known])
        # Progress of s_0 is not among the signals: index t describes s_(t+1).
        errors = np.array(
            [
                float(progress_error(p.progress[1:], t))
                for p, t in zip(given.scored, known, strict=True)
            ]
        )
        error = Figure(None, note="the reward tells no progress in [0, 1]")
        if _in_unit(given):
            error = _mean(given, errors, rows, "there is no episode with a finite score")

    def tau(i: np.ndarray) -> float:
        return kendall_tau_b(score[i], end[i])

    def accuracy(i: np.ndarray) -> float:
        return ranking_accuracy(score[i], end[i])

    ranked = {
        name: figure(statistic, rows, given.resampling)
        for name, statistic in (("kendall_tau_b", tau), ("ranking_accuracy", accuracy))
    }
    return {"progress_mae": error, **ranked}


def _in_unit(given: Evidence) -> bool:
    """Whether scores can be read as progress or a probability."""
    told = all(part.source != "return" for part in given.scored)
    score = given.score[given.usable]
    return told and bool(((score >= 0) & (score <= 1)).all())


def _separation(given: Evidence) -> dict[str, Figure]:
    score, success, rows = given.score, given.success, given.usable

    def apart(measure: Callable[..., float]) -> Statistic:
        return lambda i: measure(score[i][success[i]], score[i][~success[i]])

    def rate(i: np.ndarray) -> float:
        threshold = operating_threshold(score[i], success[i], given.recall)
        return false_positive_rate(score[i], success[i], threshold)

    statistics: dict[str, Statistic] = {
        "auc": lambda i: success_auc(score[i], success[i]),
        "false_positive_rate": rate,
        "smd": apart(standardised_difference),
        "mmd": apart(maximum_mean_discrepancy),
        "js": apart(jensen_shannon),
    }
    if _in_unit(given):
        statistics["brier"] = lambda i: brier_score(score[i], success[i])
        statistics["ece"] = lambda i: expected_calibration_error(score[i], success[i])
    found = {
        name: figure(statistic, rows, given.resampling, success[rows])
        for name, statistic in statistics.items()
    }
    if not _in_unit(given):
        note = "the score is a return, no probability"
        found |= {name: Figure(None, note=note) for name in ("brier", "ece")}
    return found


def _between(given: Evidence) -> dict[str, Figure]:
    """MMRV over actors; episodes are resampled within each."""
    actors = np.array(given.actors)
    rows = given.usable
    if len(np.unique(actors[rows])) < 2:
        return {"mmrv": Figure(None, note="it compares actors, and there are fewer than two")}

    def violation(i: np.ndarray) -> float:
        names = np.unique(actors[i])
        learned = [given.score[i][actors[i] == name].mean() for name in names]
        gold = [given.success[i][actors[i] == name].mean() for name in names]
        return mean_maximum_rank_violation(learned, gold)

    return {"mmrv": figure(violation, rows, given.resampling, actors[rows])}
