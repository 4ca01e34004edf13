"""Does a small image-text model of a domain tell a goal from its opposite, in unread wording?

Frames of three stand-in towns (Grid, Junctions, and a grid of streets with two lanes each way) and
of `mujoco/Lift` are captioned from privileged state, and one model per domain is fitted. It is
judged on frames of other episodes, in sentences that it was not trained on: clear road against
imminent collision in a town that it knows (Grid) and in one that it does not (Multilane); a held
cube against one on the table.

    python benchmarks/domain_clip.py --out benchmarks/results/domain_clip.json

Frames and fits are kept in the work folder: interrupt it, repeat the command, and it goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _domain_frames import EPISODES, ITERATIONS, driving_runs, fit_run, frame_run, made
from _study import Study, machine, minutes_left, one_thread, publish

WANTED = 0.95
"""Area under the ROC curve that is called good."""


@dataclass(frozen=True)
class Options:
    """Fit domain models and judge them."""

    episodes: int = EPISODES
    """Training episodes per driving town."""
    lift_episodes: int = 80
    """Training episodes of lifting."""
    test_episodes: int = 96
    """Episodes per test: in a town of many lanes, few of them come near a collision."""
    iterations: int = ITERATIONS
    """Training steps of a fit."""
    fit_minutes: float | None = None
    """Stop a fit after so long."""
    seed: int = 0
    """Of the fits."""
    workers: int = 1
    """Recordings and fits at a time."""
    minutes: float | None = None
    """Start nothing later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/domain_clip")
    """Folder of frames and models."""
    out: Path | None = None
    """JSON file to write."""


TESTS = (
    ("driving", "grid_test", "driving, a town that it knows (Grid)"),
    ("driving", "multilane_test", "driving, a town that it has not seen (Multilane)"),
    ("lifting", "lift_test", "lifting a cube"),
)


def row_of(captions: str, frames: str, name: str, work: Path) -> dict[str, Any]:
    """Area under the ROC curve of one model on one set of frames."""
    from robo.data import EpisodeStore
    from robo.perception.clip import ClipEncoder
    from robo.perception.clip_config import ClipConfig
    from robo.rewards.captions import caption_set
    from robo.rewards.language_fit import labelled_frames, pair_auc

    encoder = ClipEncoder.load(ClipConfig(model=str(work / f"clip-{captions}"), batch_size=256))
    wording = caption_set(captions)
    store = EpisodeStore(work / f"frames-{frames}" / "episodes", mode="r")
    shown = labelled_frames(store, wording, encoder)
    auc = pair_auc(encoder, shown, wording)
    return {
        "name": name,
        "unit": "AUC of the contrast, held-out episodes and wording, paraphrases averaged",
        "ours": None if auc is None else auc["paraphrases"],
        "peers": {},
        "ratio_to_best": None,
        "wanted": WANTED,
        "reached": auc is not None and auc["paraphrases"] >= WANTED,
        "trained_wording": auc_of(encoder, shown, wording),
        "single_sentences": auc,
        "frames": shown.counts(wording),
    }


def auc_of(encoder: Any, shown: Any, captions: Any) -> float | None:
    """The same in the wording that was trained on: what is missing there, the pictures miss."""
    from sklearn.metrics import roc_auc_score

    from robo.rewards.language_fit import differences

    pair = [captions.index(name) for name in (captions.positive, captions.negative)]
    rows = [row for row, label in enumerate(shown.label) if label in pair]
    truth = shown.label[rows] == pair[0]
    if truth.all() or not truth.any():
        return None
    wording = (captions.scenes[scene].wording for scene in pair)
    found = differences(encoder, shown.images[rows], *wording)
    return float(roc_auc_score(truth, found.numpy()))


def main(options: Options) -> None:
    """Record, fit, judge; the last line printed is one JSON object."""
    one_thread()
    study, count, test = Study(options.work), options.episodes, options.test_episodes
    driving = driving_runs(count)
    frames = [
        *driving,
        frame_run("lift", "mujoco/Lift", options.lift_episodes, 0),
        frame_run("grid_test", "carla-standin/Grid", test, 2000),
        frame_run("multilane_test", "carla-standin/Multilane", test, 3000),
        frame_run("lift_test", "mujoco/Lift", test, 5000),
    ]
    settings = {
        "iterations": options.iterations,
        "fit_minutes": options.fit_minutes,
        "seed": options.seed,
    }
    fits = [
        fit_run("driving", tuple(run.name for run in driving), episodes=count, **settings),
        fit_run("lifting", ("frames-lift",), episodes=options.lift_episodes, **settings),
    ]
    began = time.monotonic()
    made(study, frames, options.workers, options.minutes)
    made(study, fits, options.workers, minutes_left(options.minutes, began))
    rows = [row_of(*test, options.work) for test in TESTS]
    for row in rows:
        print(f"{row['name']}: {row['ours']}")
    publish(
        {
            "benchmark": "domain_clip",
            "rows": rows,
            "fits": {run.name: study.result(run) for run in fits},
            "machine": machine(),
        },
        options.out,
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
