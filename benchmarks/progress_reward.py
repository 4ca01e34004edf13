"""Does a video's distance to successes say how far it came? The five measures of SRPO's benchmark.

    python benchmarks/progress_reward.py --workers 2

On three mujoco tasks, for every video encoder: Spearman of progress with time (SC), the share of
steps on which it rises (monotonicity), and between the terminal progress of successes and
failures the maximum mean discrepancy, the Jensen-Shannon divergence, the standardised mean
difference, and the AUC. References are demonstrations that no measured episode is part of: the
paper compares a success with its own whole video, by which its last value is 1 by construction.

Successes are noisy experts without detours. The simulator's own progress, measured likewise, shows
what is left to gain: even it does not rise on every step. The compact video encoder is measured
untrained too, which shows what its training adds.

Failures are near misses where the task has scripts for them (mujoco/Lift: closing beside or above
the cube, dropping it, ...), elsewhere very noisy experts that ran out of time. Encoders that are
fitted learn from other episodes than those measured. Interrupt and repeat the command: it goes on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from _study import Run, Study, execute, machine, one_thread, publish

if TYPE_CHECKING:
    from robo.perception.video import VideoEncoder
    from robo.rollout import Episode

TASKS = ("mujoco/Lift", "mujoco/Push", "mujoco/Reach")
NEAR_MISSES = ("beside", "above", "drop", "closed", "hover", "wander")
VIEWS = ("front", "wrist")
SIZE, STRIDE = 64, 1
FIRST_SEED = 900_000
"""Of the episodes; the encoder's shape was chosen on others."""
SHORTEST = 8
"""Steps of a measured episode or reference at least: fewer have hardly an order to speak of."""
MEASURES = ("sc", "monotonicity", "mmd", "js", "smd", "auc")
TARGET = {"sc": 0.95, "auc": 0.95}
"""What the video encoder is to reach."""


@dataclass(frozen=True)
class Options:
    """Measure progress rewards by video encoders on held-out episodes."""

    successes: int = 70
    """Measured successes per task."""
    failures: int = 36
    """Measured failures per task."""
    references: int = 120
    """Demonstrations per task that are references, and that encoders are fitted on."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the fitted encoders."""
    iterations: int = 300
    """Training steps of the compact video encoder."""
    order: float = 3.0
    """Weight of the order in embeddings of "video"; "unordered" is the same encoder without."""
    windows: int = 12
    """Growing videos per episode."""
    image: str | None = None
    """Image encoder, open_clip:FOLDER or open_clip:MODEL:WEIGHTS; None: a small one with random
    weights."""
    vjepa2: str | None = None
    """Folder or id of a V-JEPA 2; None leaves it out."""
    device: str = "cpu"
    """Torch device of the encoders."""
    minutes: float | None = None
    """Start no run later than this; None: until all are done."""
    workers: int = 1
    """Runs at a time, one thread each."""
    work: Path = Path("runs/benchmarks/progress_reward")
    """Folder of the finished runs, from which an interrupted study goes on."""
    out: Path | None = Path("benchmarks/results/progress_reward.json")
    """JSON file to write."""


def record(run: Run, folder: Path) -> dict[str, Any]:
    """Store reference, training and measured episodes of one task."""
    import robo
    from robo.data import EpisodeStore
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule
    from robo.sim.experts import make_expert
    from robo.sim.mujoco.expert import ExpertStyle

    settings = run.settings
    env = robo.make_vec(settings["task"], 16)
    camera, seed = CameraSchedule(VIEWS, SIZE, SIZE, STRIDE), settings["first_seed"]
    direct = ExpertStyle(detour=0.0)

    def take(store: Any, wanted: int, script: str, style: ExpertStyle, success: bool) -> None:
        nonlocal seed
        actor, kept = make_expert(settings["task"], style, seed, script), 0
        for _ in range(200):
            for episode in stream_episodes(
                env, actor, range(seed, seed + 16), camera, keep_observations=False
            ):
                right = episode.success == success and len(episode) >= SHORTEST
                if kept < wanted and right:
                    store.append(episode)
                    kept += 1
            seed += 16
            if kept == wanted:
                return
        raise RuntimeError(f"{script} of {settings['task']} gave {kept} of {wanted} episodes")

    try:
        for name in ("known", "measured"):
            good = settings["references"] if name == "known" else settings["successes"]
            with EpisodeStore(folder / name) as store:
                take(store, good, "expert", direct, True)
                if settings["task"] == "mujoco/Lift":
                    bounds = np.linspace(0, settings["failures"], len(NEAR_MISSES) + 1).astype(int)
                    for script, count in zip(NEAR_MISSES, np.diff(bounds), strict=True):
                        take(store, int(count), script, ExpertStyle(), False)
                else:
                    noisy = ExpertStyle(noise=1.5, slowest=0.3, detour=1.0)
                    take(store, settings["failures"], "expert", noisy, False)
    finally:
        env.close()
    return {"stores": str(folder)}


def make_encoder(settings: dict[str, Any], episodes: list[Episode]) -> VideoEncoder:
    """The encoder of one run; ``episodes`` are known, not measured."""
    import torch

    from robo.perception.compact_video import CompactVideoEncoder, CompactVideoNetwork
    from robo.perception.compact_video_config import CompactVideoConfig, FitVideoConfig
    from robo.perception.compact_video_fit import fit_video_encoder
    from robo.perception.video import PixelEncoder, load_video_encoder

    kind = settings["encoder"]
    if kind == "pixels":
        return PixelEncoder(VIEWS)
    shape = CompactVideoConfig(views=VIEWS)
    if kind == "untrained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings["seed"])
            encoder = CompactVideoEncoder(CompactVideoNetwork(shape), settings["device"])
        encoder.standardise([episode.frames for episode in episodes])
        return encoder
    if kind in ("unordered", "video"):
        config = FitVideoConfig(
            order=settings["order"] if kind == "video" else 0.0,
            iterations=settings["iterations"],
            seed=settings["seed"],
            network=shape,
            device=settings["device"],
        )
        return fit_video_encoder(episodes, config)[0]
    if kind == "image" and settings["source"] is None:
        from robo.perception.clip import ClipEncoder, open_clip_module
        from robo.perception.clip_build import build_clip
        from robo.perception.clip_config import ClipConfig, ClipShape
        from robo.perception.open_clip_video import OpenClipEncoder

        model = build_clip(ClipShape(width=8), settings["seed"])
        tokenizer = open_clip_module().get_tokenizer("ViT-B-32")
        clip = ClipEncoder(model, tokenizer, ClipConfig("random"), settings["device"])
        return OpenClipEncoder(clip, VIEWS)
    source = settings["source"] if kind == "image" else f"vjepa2:{settings['source']}"
    return load_video_encoder(source, VIEWS, settings["device"])


def measure(run: Run, folder: Path) -> dict[str, Any]:
    """One encoder on one task."""
    import torch

    from robo.assess.discrimination import success_auc
    from robo.assess.distributions import (
        jensen_shannon,
        maximum_mean_discrepancy,
        standardised_difference,
    )
    from robo.assess.order import monotonicity, value_order_correlation
    from robo.data import EpisodeStore
    from robo.rewards.progress_curve import progress_curve, window_distances
    from robo.rewards.success_clusters import cluster

    torch.set_num_threads(1)
    settings = run.settings
    with EpisodeStore(Path(settings["stores"]) / "known", mode="r") as store:
        known = [store.read(index, VIEWS) for index in range(len(store))]
    with EpisodeStore(Path(settings["stores"]) / "measured", mode="r") as store:
        measured = [store.read(index, VIEWS) for index in range(len(store))]
    if settings["encoder"] == "true":
        curves, found = [true_distances(episode, settings["windows"]) for episode in measured], {}
    else:
        encoder = make_encoder(settings, known)
        references = encoder.embed([episode.frames for episode in known if episode.success])
        clusters = cluster(references.double().numpy())
        clips = [episode.frames for episode in measured]
        curves = window_distances(encoder, clips, clusters.centres, settings["windows"])
        found = {"clusters": len(clusters.centres), "method": clusters.method}
    won = np.array([episode.success for episode in measured])
    progress = [progress_curve(distance) for _, distance in curves]
    last = np.array([distance[-1] for _, distance in curves])
    scale = float(np.mean([distance[0] for _, distance in curves])) or 1.0
    terminal = 1.0 - last / scale
    winners = [torch.from_numpy(values) for values, good in zip(progress, won, strict=True) if good]
    result = {
        "sc": float(np.mean([float(value_order_correlation(values)) for values in winners])),
        "monotonicity": float(np.mean([float(monotonicity(values)) for values in winners])),
        "mmd": maximum_mean_discrepancy(terminal[won], terminal[~won]),
        "js": jensen_shannon(terminal[won], terminal[~won]),
        "smd": standardised_difference(terminal[won], terminal[~won]),
        "auc": success_auc(terminal, won),
        **found,
    }
    kinds = {str(episode.metadata.get("actor")) for episode in measured if not episode.success}
    result["auc_by_failure"] = {
        kind: success_auc(terminal[rows], won[rows])
        for kind in sorted(kinds)
        for rows in [_rows(measured, won, kind)]
    }
    return result


def true_distances(episode: Episode, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of an episode and how much of the simulator's own progress is missing at each."""
    from robo.perception.clips import window_ends

    ends = window_ends(len(episode.frame_step), windows)
    progress = np.concatenate([[0.0], episode.signals["progress"]])  # of the state after each step
    return ends, 1.0 - progress[np.asarray(episode.frame_step)[ends - 1]]


def _rows(measured: list[Episode], won: np.ndarray, kind: str) -> np.ndarray:
    """Successes and the failures of one kind."""
    same = np.array([str(episode.metadata.get("actor")) == kind for episode in measured])
    return won | same


def main(options: Options) -> None:
    """Record, measure, print."""
    study = Study(options.work)

    def show(run: Run, result: dict[str, Any] | None) -> None:
        text = "failed" if result is None else {k: result[k] for k in ("sc", "auc") if k in result}
        print(f"{run.name}: {text}", flush=True)

    sizes = {name: getattr(options, name) for name in ("successes", "failures", "references")}
    sizes["first_seed"] = FIRST_SEED
    records = [Run(f"record-{task[7:]}", {"task": task, **sizes}) for task in TASKS]
    failed = execute(study, records, record, options.workers, options.minutes, show)
    runs, recorded = [], []
    for task, recording in zip(TASKS, records, strict=True):
        for kind, source, seeds in encoders(options):
            for seed in seeds:
                settings = {
                    "task": task,
                    "encoder": kind,
                    "source": source,
                    "seed": seed,
                    "stores": str(options.work / recording.name),
                    "iterations": options.iterations,
                    "order": options.order,
                    "windows": options.windows,
                    "device": options.device,
                    **sizes,
                }
                runs.append(Run(f"{kind}-{task[7:]}-{seed}", settings))
                if study.result(recording) is not None:
                    recorded.append(runs[-1])
    failed += execute(study, recorded, measure, options.workers, options.minutes, show)
    publish(summary(options, study, runs, failed), options.out)


def encoders(options: Options) -> list[tuple[str, str | None, tuple[int, ...]]]:
    """Kind, source and seeds of the encoders measured."""
    chosen: list[tuple[str, str | None, tuple[int, ...]]] = [
        ("true", None, (0,)),
        ("pixels", None, (0,)),
        ("image", options.image, (0,)),
        ("untrained", None, options.seeds),
        ("unordered", None, options.seeds),
        ("video", None, options.seeds),
    ]
    if options.vjepa2 is not None:
        chosen.append(("vjepa2", options.vjepa2, (0,)))
    return chosen


def summary(options: Options, study: Study, runs: list[Run], failed: list[Run]) -> dict[str, Any]:
    """Means over tasks and seeds of every encoder, beside the single runs."""
    found = [(run.settings, study.result(run)) for run in runs]
    done = [(settings, result) for settings, result in found if result is not None]
    rows = []
    for kind in dict.fromkeys(settings["encoder"] for settings, _ in done):
        mine = [result for settings, result in done if settings["encoder"] == kind]
        means = {name: float(np.mean([result[name] for result in mine])) for name in MEASURES}
        ranges = {
            name: [min(result[name] for result in mine), max(result[name] for result in mine)]
            for name in MEASURES
        }
        rows.append({"name": kind, **means, "range": ranges, "runs": len(mine)})
    video = next((row for row in rows if row["name"] == "video"), None)
    unfinished = len(runs) - len(done)
    return {
        "benchmark": "progress_reward",
        "rows": rows,
        "runs": [
            {name: settings[name] for name in ("task", "encoder", "seed")} | result
            for settings, result in done
        ],
        "tasks": list(TASKS),
        "seeds": list(options.seeds),
        "successes": options.successes * len(TASKS),
        "failures": options.failures * len(TASKS),
        "image_encoder": options.image or "small open_clip tower, random weights",
        "references": "held out",
        "references_per_task": options.references,
        "order": options.order,
        "shortest": SHORTEST,
        "target": TARGET,
        "target_met": not unfinished
        and video is not None
        and all(video[name] >= least for name, least in TARGET.items()),
        "unfinished": unfinished,
        "failed": [run.name for run in failed],
        "machine": machine(options.device),
    }


if __name__ == "__main__":
    one_thread()
    sys.path.insert(0, str(Path(__file__).parent))
    main(tyro.cli(Options, description=__doc__))
