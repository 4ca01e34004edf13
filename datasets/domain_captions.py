"""Captions of stored frames for the domain image-text model, from the simulator's signals.

    python datasets/domain_captions.py --stores runs/datasets/driving --captions driving

``captions.jsonl`` has a line per frame row: the store, the episode, the row, and a sentence for
training and one of the wording that is kept back for judging. ``robo fit clip`` draws its sentences
anew at every step from the same set; this recipe writes them out for other trainers.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _cards import card, run

from robo.data import open_store
from robo.errors import StoreError
from robo.rewards.captions import caption_set


@dataclass(frozen=True)
class Recipe:
    """Write captions."""

    stores: tuple[Path, ...]
    """Episode stores with frames and signals, or run folders that hold one."""
    captions: str = "driving"
    """Which set of sentences: driving, or lifting."""
    seed: int = 0
    """Of the choice of sentences."""
    out: Path = Path("runs/datasets/captions")
    """Folder of the data set."""


def main(recipe: Recipe) -> None:
    """Write, and write the card."""
    rng, chosen = np.random.default_rng(recipe.seed), caption_set(recipe.captions)
    scenes: Counter[str] = Counter()
    unclear = 0
    what = f"sentences of the set {recipe.captions} for camera frames"
    with card(recipe.out, "domain_captions", what, stores=list(map(str, recipe.stores))) as about:
        with (recipe.out / "captions.jsonl").open("w") as file:
            for path in recipe.stores:
                store = open_store(path)
                for index in range(len(store)):
                    episode = store.read(index, views=())
                    label = chosen.label(episode.signals)
                    rows = store.take(index, "frame_step", range(store.info(index).frame_count))
                    for row, state in enumerate(rows.tolist()):
                        # Signals describe the step that led to a state.
                        kind = int(label[state - 1]) if state else -1
                        if kind < 0:
                            unclear += 1
                            continue
                        scene = chosen.scenes[kind]
                        scenes[scene.name] += 1
                        line = {
                            "store": str(path),
                            "episode": index,
                            "row": row,
                            "scene": scene.name,
                            "caption": str(rng.choice(scene.wording)),
                            "kept_back": str(rng.choice(scene.held_out)),
                        }
                        file.write(json.dumps(line) + "\n")
        if not scenes:
            raise StoreError("no frame of these stores shows a scene that the captions describe")
        about |= {
            "captions": sum(scenes.values()),
            "scenes": dict(scenes),
            "frames_without_caption": unclear,
            "seed": recipe.seed,
            "licence": "Apache-2.0; frames as the stores",
        }


if __name__ == "__main__":
    run("domain_captions", main, Recipe)
