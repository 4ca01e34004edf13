"""``robo score``: what a GRM says of stored episodes, and how well that agrees with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from robo.rewards.grm.compact import CompactGRM
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
    """Steps k of the k-step differences compared with the truth."""
    seed: int = 0
    """Of the drawn lengths and the bootstrap intervals."""
    device: str = "cpu"
    """Torch device."""
    out: Path | None = None
    """Run folder for result.json; None writes none."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Score all episodes.

        Returns:
            ``voc_plus``, ``voc_minus`` (over successes), ``voc_failures``, ``auc`` (final
            progress, success against failure), ``auc_by_kind`` of failures,
            ``false_positive_rate`` at progress 0.95, ``spearman_true`` and
            ``difference_correlation_true`` over failures and successes alike (with ``truth``),
            and the counts.

        Raises:
            RoboError: missing or damaged GRM or store, episodes without its views.
        """
        from robo.commands.fit import open_store
        from robo.rewards.grm.compact import CompactGRM

        grm = CompactGRM.load(self.grm, self.device)
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
            elif isinstance(value, int):
                table.add_row(name, str(value))
            elif isinstance(value, dict):
                for kind, part in value.items():
                    table.add_row(f"{name} {kind}", f"{part:.3f}")
        Console(stderr=True).print(table)


def assess_episodes(
    config: Score, grm: CompactGRM, episodes: list[Episode]
) -> dict[str, Any]:
    """Every figure of :meth:`Score.run` for episodes in memory."""
    from robo.assess.discrimination import false_positive_rate, success_auc
    from robo.assess.order import value_order_correlation
    from robo.rewards.grm.score import reversed_progress, score_store

    scores = list(score_store(grm, episodes, config.mode, config.stride, config.device))
    success = np.array([score.success for score in scores], bool)
    result: dict[str, Any] = {
        "episodes": len(scores),
        "successes": int(success.sum()),
        "failures": int((~success).sum()),
        "invalid_rows": sum(score.invalid for score in scores),
        "mode": config.mode,
        "stride": config.stride,
    }
    forward = [float(value_order_correlation(score.progress)) for score in scores]
    if success.any():
        backward = [
            float(value_order_correlation(reversed_progress(grm, episode, config.stride)))
            for episode in episodes
            if episode.success
        ]
        result["voc_plus"] = float(np.mean(np.array(forward)[success]))
        result["voc_minus"] = float(np.mean(backward))
    if (~success).any():
        result["voc_failures"] = float(np.mean(np.array(forward)[~success]))
    if success.any() and (~success).any():
        final = final_progress(scores, success, config.match_lengths, config.seed)
        kinds = [episode.metadata.get("actor", "policy") for episode in episodes]
        result["auc"] = float(success_auc(final, success))
        result["auc_by_kind"] = {
            kind: float(success_auc(final[keep], success[keep]))
            for kind in sorted({k for k, won in zip(kinds, success, strict=True) if not won})
            for keep in [success | (np.array(kinds) == kind)]
        }
        result["lengths_matched"] = config.match_lengths
        result["false_positive_rate"] = float(false_positive_rate(final, success, 0.95))
    if config.truth is not None:
        result |= truth_agreement(config, scores, episodes)
    return result


def final_progress(
    scores: list[EpisodeScore], success: np.ndarray, match_lengths: bool, seed: int
) -> np.ndarray:
    """Progress ``[E]`` at each episode's end, failures cut to the lengths of successes."""
    generator = np.random.default_rng(seed)
    lengths = np.array([len(score.potential) - 1 for score in scores])
    final = np.array([score.final for score in scores])
    if match_lengths:
        drawn = generator.choice(lengths[success], len(scores))
        for i in np.flatnonzero(~success & (lengths > drawn)):
            final[i] = scores[i].potential[drawn[i]]
    return final


def truth_agreement(
    config: Score, scores: list[EpisodeScore], episodes: list[Episode]
) -> dict[str, float]:
    """Agreement of the held potential with a true progress signal, over all episodes pooled."""
    from robo.assess.order import difference_correlation, pooled_spearman
    from robo.errors import StoreError

    assert config.truth is not None
    for episode in episodes:
        if config.truth not in episode.signals:
            raise StoreError(
                f"signal {config.truth!r} is not stored; these are: {sorted(episode.signals)}"
            )
    # signals[t] describe s_(t+1); at frame rows only, where the potential is new.
    rows = [score.frame_step[score.frame_step > 0] for score in scores]
    truth = [episode.signals[config.truth] for episode in episodes]
    predicted_rows = [score.potential[row] for score, row in zip(scores, rows, strict=True)]
    true_rows = [values[row - 1] for values, row in zip(truth, rows, strict=True)]
    predicted = [score.potential[1:] for score in scores]
    return {
        "spearman_true": float(pooled_spearman(predicted_rows, true_rows)),
        "difference_correlation_true": float(
            difference_correlation(
                [part[config.stride - 1 :: config.stride] for part in predicted],
                [part[config.stride - 1 :: config.stride] for part in truth],
                max(1, config.difference // config.stride),
            )
        ),
        "mean_final_excess": float(
            np.mean([score.final - values[-1] for score, values in zip(scores, truth, strict=True)])
        ),
    }
