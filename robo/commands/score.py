"""``robo score``: what a GRM says of stored episodes, and how well that agrees with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from robo.errors import RoboError, StoreError

if TYPE_CHECKING:
    from robo.rewards.grm.potential import AnyGRM
    from robo.rewards.grm.score import EpisodeScore
    from robo.rollout import Episode


@dataclass(frozen=True)
class Score:
    """Score stored episodes with a GRM: order, discrimination, agreement with true progress."""

    grm: Path
    """Folder of a fitted GRM."""
    store: Path
    """Episode store, or the run folder of robo collect."""
    mode: Literal["backward", "forward", "incremental", "mean", "consistent"] = "backward"
    """Anchor of the GRM's hops: the goal, the start, the previous frame, or a fusion of all."""
    stride: int = 5
    """Score every this many steps, and the last."""
    truth: str | None = None
    """Signal that holds the true progress (mujoco tasks: progress), to compare with."""
    match_lengths: bool = True
    """Cut failures to lengths drawn from the successes before their final progress is compared."""
    difference: int = 5
    """Steps of the differences compared with the truth; a multiple of stride."""
    seed: int = 0
    """Of the drawn lengths."""
    device: str = "cpu"
    """Torch device."""
    out: Path | None = None
    """Run folder for result.json; None writes none."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.stride < 1 or self.difference < 1 or self.difference % self.stride:
            raise RoboError(
                f"difference {self.difference} must be a positive multiple of stride "
                f"{self.stride}: frames are scored every {self.stride} steps, and both ends of a "
                "difference need one"
            )

    def run(self) -> dict[str, Any]:
        """Score all episodes.

        Returns:
            Counts (``episodes``, ``successes``, ``failures``, ``invalid_rows``), ``mode``,
            ``stride``, and as far as the store has the episodes that a figure needs:

            * ``voc_plus``, ``voc_minus``: mean over successes; ``voc_failures``: over failures;
            * ``auc`` of the final progress, success against failure, with lengths matched or not
              as ``lengths_matched`` says; ``auc_by_kind`` of failures;
            * ``false_positive_rate``: failures that end, uncut, at progress 0.95 or above;
            * with ``truth``, over all frames of all episodes: ``spearman_true``,
              ``difference_correlation_true`` (over ``difference`` steps), and
              ``mean_final_excess`` and ``mean_final_excess_failures``, predicted minus true
              progress in the last state.

        Raises:
            RoboError: missing or damaged GRM or store, no episode in it, episodes without its
                views or without the signal.
        """
        from robo.data import open_store
        from robo.rewards.grm.folder import load_model

        grm = load_model(self.grm, self.device)
        result = assess_episodes(self, grm, list(open_store(self.store)))
        self._print(result)
        return result

    def _print(self, result: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("figure", "value", title=f"{self.grm} on {self.store} ({self.mode})")
        for name, value in result.items():
            if isinstance(value, float):
                table.add_row(name, f"{value:.3f}")
            elif isinstance(value, (int, str)):
                table.add_row(name, str(value))
            elif isinstance(value, dict):
                for kind, part in value.items():
                    table.add_row(f"{name} {kind}", f"{part:.3f}")
        Console(stderr=True).print(table)


def assess_episodes(config: Score, grm: AnyGRM, episodes: list[Episode]) -> dict[str, Any]:
    """Every figure of :meth:`Score.run` for episodes in memory."""
    from robo.assess.grm import outcomes, voc
    from robo.rewards.grm.score import score_store

    if not episodes:
        raise StoreError(f"{config.store} holds no episode to score; collect some first")
    scores = list(score_store(grm, episodes, config.mode, config.stride, config.device))
    success = outcomes(scores)
    result: dict[str, Any] = {
        "episodes": len(scores),
        "successes": int(success.sum()),
        "failures": int((~success).sum()),
        "invalid_rows": sum(score.invalid for score in scores),
        "mode": config.mode,
        "stride": config.stride,
    }
    order = voc([score.progress for score in scores])
    if success.any():
        result["voc_plus"] = float(order[success].mean())
        result["voc_minus"] = float(voc_minus(config, grm, episodes).mean())
    if not success.all():
        result["voc_failures"] = float(order[~success].mean())
    if success.any() and not success.all():
        result |= discrimination(config, scores, kinds_of(episodes))
    if config.truth is not None:
        result |= truth_agreement(config, scores, true_progress(config.truth, episodes))
    return result


def voc_minus(config: Score, grm: AnyGRM, episodes: list[Episode]) -> np.ndarray:
    """VOC ``[S]`` of each success played backwards, from incremental hops whatever the mode."""
    from robo.assess.grm import voc
    from robo.rewards.grm.score import reversed_progress

    return voc(
        [
            reversed_progress(grm, episode, config.stride, config.device)
            for episode in episodes
            if episode.success
        ]
    )


def kinds_of(episodes: list[Episode]) -> list[str]:
    """What acted in each episode, as its recorder noted it; "policy" where it did not."""
    return [str(episode.metadata.get("actor", "policy")) for episode in episodes]


def true_progress(signal: str, episodes: list[Episode]) -> list[np.ndarray]:
    """The signal ``[L_i]`` of each episode; entry t describes s_(t+1).

    Raises:
        StoreError: where an episode lacks it.
    """
    for episode in episodes:
        if signal not in episode.signals:
            raise StoreError(
                f"signal {signal!r} is not stored; these are: {sorted(episode.signals)}"
            )
    return [np.asarray(episode.signals[signal]) for episode in episodes]


def discrimination(config: Score, scores: list[EpisodeScore], kinds: list[str]) -> dict[str, Any]:
    """How final progress tells successes from failures; there must be both."""
    from robo.assess.discrimination import false_positive_rate, success_auc
    from robo.assess.grm import auc_by_kind, final_progress, outcomes

    success = outcomes(scores)
    final = final_progress(scores, config.match_lengths, config.seed)
    uncut = final_progress(scores, match_lengths=False)
    return {
        "auc": float(success_auc(final, success)),
        "auc_by_kind": auc_by_kind(final, success, kinds),
        "lengths_matched": config.match_lengths,
        "false_positive_rate": float(false_positive_rate(uncut, success, 0.95)),
    }


def truth_agreement(
    config: Score, scores: list[EpisodeScore], truth: list[np.ndarray]
) -> dict[str, float]:
    """Agreement with a true progress signal, over all episodes pooled."""
    from robo.assess.grm import (
        difference_correlation_with_truth,
        final_excess,
        outcomes,
        spearman_with_truth,
    )

    excess, success = final_excess(scores, truth), outcomes(scores)
    result = {
        "spearman_true": spearman_with_truth(scores, truth),
        "difference_correlation_true": difference_correlation_with_truth(
            scores, truth, config.difference
        ),
        "mean_final_excess": float(excess.mean()),
    }
    if not success.all():
        result["mean_final_excess_failures"] = float(excess[~success].mean())
    return result
