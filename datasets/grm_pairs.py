"""Pairs for progress models: which two frames of which episode, and the hop between them.

    python datasets/grm_pairs.py --stores runs/collect --pairs 20000 --out runs/datasets/pairs

A line of ``pairs.jsonl`` names a store, an episode in it and two frame rows; the pictures stay in
the store, of which :class:`robo.data.training.Pairs` reads them. Labels are those that
``robo fit grm`` uses, the hop is Robo-Dopamine's (arXiv 2512.23703).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _cards import card, run

from robo.data import open_store
from robo.errors import StoreError
from robo.rewards.grm.labels import Labeller, is_labelled
from robo.rewards.grm.pairs import hop_matrix_of, score_bin
from robo.rollout import Episode


@dataclass(frozen=True)
class Recipe:
    """List pairs of frames, balanced over hops."""

    stores: tuple[Path, ...]
    """Episode stores, or run folders of robo collect, of one task."""
    pairs: int = 20_000
    """How many."""
    bins: int = 25
    """Bins of the hop that are filled alike, as the paper does."""
    seed: int = 0
    """Of the choice."""
    out: Path = Path("runs/datasets/pairs")
    """Folder of the data set."""


def main(recipe: Recipe) -> None:
    """List, and write the card."""
    rng = np.random.default_rng(recipe.seed)
    stores = [open_store(path) for path in recipe.stores]
    bare = [[store.read(i, views=()) for i in range(len(store))] for store in stores]
    everyone = [episode for some in bare for episode in some]
    subtasks = usual_subtasks([episode for episode in everyone if episode.success])

    def usable(episode: Episode) -> bool:
        whole = not episode.success or len(episode.keyframes) + 1 == subtasks
        return is_labelled(episode) and whole

    labeller = Labeller.of(filter(usable, everyone), None)
    rows: list[tuple[int, int, int, float]] = []
    for number, episodes in enumerate(bare):
        for index, episode in enumerate(episodes):
            if usable(episode) and stores[number].info(index).frame_count:
                steps = stores[number].take(
                    index, "frame_step", np.arange(stores[number].info(index).frame_count)
                )
                label = labeller(episode)[steps]
                rows += [(number, index, row, float(x)) for row, x in enumerate(label)]
    if not rows:
        raise StoreError("no labelled episode with frames; collect demonstrations first")
    episode_of = np.array([(store, index) for store, index, _, _ in rows])
    label = np.array([value for *_, value in rows], np.float32)
    starts = np.flatnonzero(np.any(np.diff(episode_of, axis=0, prepend=-1) != 0, axis=1))
    ends = np.append(starts[1:], len(rows))
    owner = np.searchsorted(starts, np.arange(len(rows)), side="right") - 1
    before = rng.integers(0, len(rows), 8 * recipe.pairs)
    span = (ends - starts)[owner[before]]
    after = starts[owner[before]] + (rng.random(len(before)) * span).astype(int)
    hop = hop_matrix_of(label, before, after)
    chosen = balanced(score_bin(hop, recipe.bins), recipe.pairs, rng)
    what = "pairs of frames and the signed hop between them"
    with card(recipe.out, "grm_pairs", what, stores=list(map(str, recipe.stores))) as about:
        with (recipe.out / "pairs.jsonl").open("w") as file:
            for pair in chosen.tolist():
                store, index, first, _ = rows[before[pair]]
                line = {
                    "store": str(recipe.stores[store]),
                    "episode": index,
                    "before_row": first,
                    "after_row": rows[after[pair]][2],
                    "before_label": round(float(label[before[pair]]), 5),
                    "after_label": round(float(label[after[pair]]), 5),
                    "hop": round(float(hop[pair]), 5),
                }
                file.write(json.dumps(line) + "\n")
        filled = Counter(score_bin(hop[chosen], recipe.bins).tolist())
        about |= {
            "pairs": len(chosen),
            "frame_rows": len(rows),
            "demonstrations_left_out": sum(is_labelled(e) and not usable(e) for e in everyone),
            "seed": recipe.seed,
            "pairs_per_bin": [filled.get(b, 0) for b in range(recipe.bins)],
            "licence": "as the stores",
        }


def usual_subtasks(demonstrations: Sequence[Episode]) -> int:
    """How many most of them have: one that succeeded by accident lacks keyframes.

    Raises:
        StoreError: there are none.
    """
    if not demonstrations:
        raise StoreError("no labelled episode with frames; collect demonstrations first")
    counts = Counter(len(episode.keyframes) + 1 for episode in demonstrations)
    return counts.most_common(1)[0][0]


def balanced(bins: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` indices (fewer where there are fewer), every bin alike as far as it reaches."""
    order = rng.permutation(len(bins))
    rank = np.empty(len(bins), np.int64)
    for value in np.unique(bins):
        members = order[bins[order] == value]
        rank[members] = np.arange(len(members))
    return np.sort(np.argsort(rank, kind="stable")[:count])


if __name__ == "__main__":
    run("grm_pairs", main, Recipe)
