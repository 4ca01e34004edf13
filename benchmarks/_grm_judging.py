"""What a reward model of several tasks is worth: order, discrimination, completion; limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

LIMITS = {
    "seen": {
        "voc_plus": 0.95,
        "voc_plus_incremental": 0.95,
        "voc_minus": 0.90,
        "completion": 0.90,
    },
    "adapted": {"voc_plus": 0.90, "auc": 0.95, "auc_matched_lengths": 0.95},
}
"""Smallest mean over tasks and fits that passes."""
FIGURES = (
    "voc_plus",
    "voc_plus_incremental",
    "voc_minus",
    "auc",
    "auc_matched_lengths",
    "completion",
)
"""VOC- undoes incremental hops, so that a model whose hops are always negative has a VOC- of 1, and
one whose hops are always positive a VOC+ of 1 in the incremental mode: no model games both."""


def figures(grm: Any, store: str, mode: str) -> dict[str, Any]:
    """Order, discrimination and completion on one store.

    ``completion_of_labels`` says how often the completion rule agrees with the actors' kinds when
    it reads the labels: what a perfect model would reach.
    """
    from robo.assess.completion import completion
    from robo.assess.discrimination import success_auc
    from robo.assess.grm import final_progress, outcomes, voc
    from robo.data import EpisodeStore
    from robo.rewards.grm.labels import Labeller
    from robo.rewards.grm.score import reversed_progress, score_store

    episodes = list(EpisodeStore(store, "r"))
    scores = list(score_store(grm, episodes, mode))
    success = outcomes(scores)
    order = voc([score.progress for score in scores])
    single = voc(
        [
            score.progress
            for score in score_store(grm, [e for e in episodes if e.success], "incremental")
        ]
    )
    back = voc([reversed_progress(grm, e) for e in episodes if e.success])
    labeller = Labeller.of(episodes)
    wanted = [verdict(episode) for episode in episodes]
    said = [completion(score.progress) for score in scores]
    ideal = [completion(labeller.at_frames(episode)) for episode in episodes]
    return {
        "episodes": len(scores),
        "voc_plus": float(order[success].mean()),
        "voc_plus_incremental": float(single.mean()),
        "voc_minus": float(back.mean()),
        "auc": float(success_auc(final_progress(scores, match_lengths=False), success)),
        "auc_matched_lengths": float(success_auc(final_progress(scores), success)),
        "completion": agreement(wanted, said)["all"],
        "completion_by_kind": agreement(wanted, said),
        "completion_of_labels": agreement(wanted, ideal)["all"],
        "said": {
            w: dict(Counter(s for v, s in zip(wanted, said, strict=True) if v == w))
            for w in sorted(set(wanted))
        },
        "invalid": sum(score.invalid for score in scores),
    }


def verdict(episode: Any) -> str:
    """What the episode is, by its outcome and by what acted: success, partial or failure."""
    from _grm_actors import STALLS

    if episode.success:
        return "success"
    return "partial" if episode.metadata["actor"] == STALLS else "failure"


def agreement(wanted: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """Share of verdicts that agree: of ``all``, and of each wanted one."""
    pairs = list(zip(wanted, said, strict=True))
    by_kind = {
        kind: float(np.mean([w == s for w, s in pairs if w == kind])) for kind in sorted({*wanted})
    }
    return {"all": float(np.mean([w == s for w, s in pairs])), **by_kind}


def means(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean of each figure."""
    return {name: float(np.mean([one[name] for one in found])) for name in FIGURES}


def passes(
    seen: dict[str, float] | None, adapted: dict[str, float] | None
) -> dict[str, dict[str, bool]]:
    """Which figures reach their limits."""
    return {
        part: {name: found[name] >= limit for name, limit in LIMITS[part].items()}
        for part, found in (("seen", seen), ("adapted", adapted))
        if found is not None
    }
