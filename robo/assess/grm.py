"""How far a GRM's progress can be trusted: order, discrimination, agreement with true progress.

Arithmetic on scores of episodes; ``robo score`` and ``benchmarks/grm_quality.py`` use it. Order
and discrimination are passed by models that no policy can learn from (a prototype's were), so
agreement with the simulator's true progress off the demonstrations counts most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from robo.assess.discrimination import success_auc
from robo.assess.order import pearson, pooled_spearman, value_order_correlation
from robo.assess.statistics import bootstrap_interval
from robo.rewards.grm.score import EpisodeScore


def voc(progress: Sequence[np.ndarray]) -> np.ndarray:
    """Value-order correlation ``[E]`` of each episode's progress ``[F_i]``."""
    return np.array([float(value_order_correlation(part)) for part in progress])


def outcomes(scores: Sequence[EpisodeScore]) -> np.ndarray:
    """Which episodes succeeded, bool ``[E]``."""
    return np.array([score.success for score in scores], bool)


def final_progress(
    scores: Sequence[EpisodeScore], match_lengths: bool = True, seed: int = 0
) -> np.ndarray:
    """Progress at each episode's end.

    Successes end early and failures at the time limit, so that a model may tell them apart by
    what happens after the attempt. With ``match_lengths`` each failure is cut at a length drawn
    from the successes', and its progress is the newest one known there; one that is shorter than
    its draw stays whole. Successes are never cut.

    Args:
        scores: of E episodes.
        match_lengths: cut failures.
        seed: of the drawn lengths.

    Returns:
        float64 ``[E]``.
    """
    final = np.array([score.final for score in scores], np.float64)
    success = outcomes(scores)
    if not match_lengths or not success.any():
        return final
    lengths = np.array([len(score.potential) - 1 for score in scores])
    drawn = np.random.default_rng(seed).choice(lengths[success], len(scores))
    for i in np.flatnonzero(~success & (lengths > drawn)).tolist():
        final[i] = scores[i].potential[drawn[i]]
    return final


def auc_by_kind(final: np.ndarray, success: np.ndarray, kinds: Sequence[str]) -> dict[str, float]:
    """AUC of all successes against the failures of each kind.

    Args:
        final: ``[E]``, progress at the end.
        success: bool ``[E]``.
        kinds: ``[E]``, what acted; those of successes are not read.
    """
    names = np.array(kinds)
    return {
        str(kind): success_auc(final[keep], success[keep])
        for kind in np.unique(names[~success])
        for keep in [success | (names == kind)]
    }


def at_frames(score: EpisodeScore, truth: np.ndarray) -> tuple[np.ndarray, ...]:
    """States with a frame, and both progresses there.

    Args:
        score: of an episode of L steps.
        truth: ``[L]``, a signal: entry t describes s_(t+1). That of s_0 is not known, so its
            frame is left out.

    Returns:
        State indices 1 ... L, predicted and true progress, ``[F]`` or ``[F-1]`` each.
    """
    kept = score.frame_step > 0
    step = score.frame_step[kept]
    return step, score.progress[kept], np.asarray(truth, np.float64)[step - 1]


def k_step_pairs(score: EpisodeScore, truth: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences over exactly k steps between frames, predicted and true, ``[P]`` each.

    Both ends of a difference show a frame, so that no held (old) progress is compared with fresh
    truth. The last frame, at any step, counts where another lies k steps before it.
    """
    step, predicted, true = at_frames(score, truth)
    row = {int(at): i for i, at in enumerate(step)}
    ends = np.array([(row[at - k], i) for at, i in row.items() if at - k in row], np.int64)
    before, after = ends.reshape(-1, 2).T
    return predicted[after] - predicted[before], true[after] - true[before]


def spearman_with_truth(scores: Sequence[EpisodeScore], truth: Sequence[np.ndarray]) -> float:
    """Spearman correlation with true progress over all frames of all episodes."""
    rows = [at_frames(score, part)[1:] for score, part in zip(scores, truth, strict=True)]
    return pooled_spearman([row[0] for row in rows], [row[1] for row in rows])


def difference_correlation_with_truth(
    scores: Sequence[EpisodeScore], truth: Sequence[np.ndarray], k: int
) -> float:
    """Pearson correlation of :func:`k_step_pairs`, pooled over episodes; 0 where there are none.

    Raises:
        ValueError: k is below 1, or there is no episode.
    """
    if k < 1 or not scores:
        raise ValueError(f"k is {k} and episodes {len(scores)}, expected at least 1 of each")
    pairs = [k_step_pairs(score, part, k) for score, part in zip(scores, truth, strict=True)]
    predicted, true = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return float(pearson(predicted, true)) if len(true) > 1 else 0.0


def final_excess(scores: Sequence[EpisodeScore], truth: Sequence[np.ndarray]) -> np.ndarray:
    """Predicted minus true progress in each episode's last state, ``[E]``."""
    return np.array(
        [score.final - float(part[-1]) for score, part in zip(scores, truth, strict=True)]
    )


def episode_interval(
    figure: Callable[[np.ndarray], float], episodes: int, resamples: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a figure, resampling whole episodes.

    Args:
        figure: of an int64 ``[E]`` array of episode indices with repetitions. A ValueError (a
            resample without failures, say) counts as the figure of all episodes.
        episodes: E.
        resamples: number of resamples.
        seed: of the resampling.
    """

    def statistic(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.apply_along_axis(_one, axis, index)

    def _one(index: np.ndarray) -> float:
        try:
            return figure(index.astype(np.int64))
        except ValueError:
            return whole

    whole = figure(np.arange(episodes))
    return bootstrap_interval(np.arange(episodes), statistic, resamples=resamples, seed=seed)
