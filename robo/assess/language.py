"""Does a reward listen to the instruction: a confusion matrix of instructions and videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.rewards.progress import to_tensor


@dataclass(frozen=True)
class LanguageConfusion:
    """What a reward says of the videos of each task under the instruction of each."""

    matrix: np.ndarray
    """float64 ``[I, I]``: row l, column v is the mean score of v's videos told that l is meant."""
    row_correct: np.ndarray
    """float64 ``[I]``: 1 where the row's own videos score highest, 1/k in a tie of k, else 0."""
    row_margin: np.ndarray
    """float64 ``[I]``: the row's own score less the best of the others."""

    @property
    def accuracy(self) -> float:
        """Mean of ``row_correct``; 1/I is chance, and what a reward deaf to language gets."""
        return float(self.row_correct.mean())

    @property
    def margin(self) -> float:
        """Mean of ``row_margin``, in the unit of the scores."""
        return float(self.row_margin.mean())


def language_confusion(matrix: Any) -> LanguageConfusion:
    """Read a matrix of mean scores.

    Args:
        matrix: ``[I, I]``, rows are instructions and columns the videos of the same tasks.

    Returns:
        Per-row accuracy and margin. Comparing within a row keeps instructions that score high
        with every video apart from those that are understood.

    Raises:
        ValueError: not square, fewer than two instructions, or a score that is not finite.
    """
    scores = to_tensor(matrix).detach().double().cpu().numpy()
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(
            f"the confusion matrix has shape {scores.shape}, expected [I, I] of two or more"
        )
    if not np.isfinite(scores).all():
        raise ValueError("the confusion matrix holds a number that is not finite")
    own = np.diag(scores)
    best = scores.max(axis=1)
    tied = (scores == best[:, None]).sum(axis=1)
    others = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores).max(axis=1)
    return LanguageConfusion(scores, np.where(own == best, 1 / tied, 0.0), own - others)


def confusion_intervals(
    scores: Sequence[Sequence[np.ndarray]], resamples: int, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any] | None:
    """Percentile bootstrap intervals; the videos of each task are resampled, the tasks are not.

    Args:
        scores: row l, column v: ``[E_v]``, the scores of v's videos told that l is meant. A column
            holds the same videos in every row, so that a resample draws the same of them.
        resamples: how many; 0 makes no intervals.
        confidence: coverage, in (0, 1).
        seed: of the resampling.

    Returns:
        ``accuracy`` and ``margin`` (low, high), and per row ``row_correct`` and ``row_margin``;
        None without resamples.
    """
    if not resamples:
        return None
    generator = np.random.default_rng(seed)
    columns = [np.stack(column) for column in zip(*scores, strict=True)]  # [I, E_v] each
    drawn = []
    for _ in range(resamples):
        chosen = [generator.integers(column.shape[1], size=column.shape[1]) for column in columns]
        means = [part[:, rows].mean(axis=1) for part, rows in zip(columns, chosen, strict=True)]
        drawn.append(language_confusion(np.stack(means, axis=1)))
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]

    def interval(name: str) -> list[Any]:
        """Low and high, of a number or of each row."""
        return np.percentile([getattr(found, name) for found in drawn], ends, axis=0).T.tolist()

    return {name: interval(name) for name in ("accuracy", "margin", "row_correct", "row_margin")}
