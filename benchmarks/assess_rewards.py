"""Every reward of robo on the same episodes of three simulators: figures, and what fools them.

    python benchmarks/assess_rewards.py

Per simulator: demonstrations and failures to fit a compact General Reward Model and a small
image-text model on, others to assess all rewards on, and a page of robo assess under the work
folder. Off the road, route completion takes the task's true progress as its route; SRPO embeds
videos by their raw pixels. Raw progress has to be caught by the loop and the idle probe everywhere:
otherwise the command ends with 1. Interrupt and repeat it: it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _assess_sets import SIMULATORS, captions_of, record, rewards_of
from _study import Run, Study, execute, machine, one_thread, publish

FIGURES = (
    "voc_plus",
    "voc_minus",
    "voc_failures",
    "voc_minus_failures",
    "auc",
    "false_positive_rate",
    "kendall_tau_b",
)
"""Of the table."""
INCOME = ("loop_income", "idle_income")
"""Probes that raw progress has to be caught by."""


@dataclass(frozen=True)
class Options:
    """Assess every reward on three simulators."""

    simulators: tuple[str, ...] = tuple(SIMULATORS)
    """Of mujoco, libero and carla-standin."""
    fit_successes: int = 30
    """Demonstrations per task that the reward model is fitted on."""
    fit_failures: int = 30
    """Failures per task that it is fitted on."""
    successes: int = 20
    """Successes per task that rewards are assessed on."""
    failures: int = 20
    """Failures per task that rewards are assessed on."""
    grm_iterations: int | None = None
    """Training steps of the reward model; None for the default."""
    clip_iterations: int | None = None
    """Training steps of the image-text model; None for the default."""
    resamples: int = 500
    """Bootstrap resamples of episodes."""
    gamma: float = 0.99
    """Discount of the learner that the rewards are for."""
    seed: int = 0
    """Of recording and fitting."""
    minutes: float | None = None
    """Start nothing later than this; None: until all is done."""
    work: Path = Path("runs/benchmarks/assess_rewards")
    """Folder of finished stages, from which an interrupted run goes on."""
    out: Path | None = Path("benchmarks/results/assess_rewards.json")
    """JSON file to write."""


def do_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Do a stage, by the first word of its name."""
    work = {"store": record_stage, "grm": fit_stage, "clip": clip_stage, "assess": assess_stage}
    return work[run.name.partition("-")[0]](run, folder)


def record_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Record a store. Settings: simulator, successes, failures, seed."""
    given = run.settings
    simulator = SIMULATORS[given["simulator"]]
    return record(simulator, folder, given["successes"], given["failures"], given["seed"])


def fit_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Fit a GRM. Settings: simulator, store, iterations, seed."""
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit_config import FitConfig

    given = run.settings
    views = SIMULATORS[given["simulator"]].views
    config = FitConfig(seed=given["seed"], views=views)
    if given["iterations"] is not None:
        config = FitConfig(given["iterations"], seed=given["seed"], views=views)
    return fit(FitGRM(Path(given["store"]), config, threads=1, out=folder / "grm"))


def clip_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Fit an image-text model. Settings: simulator, store, iterations, seed."""
    from robo.data import EpisodeStore
    from robo.perception.clip_config import ClipFitConfig
    from robo.rewards.language_fit import fit_clip

    given = run.settings
    config = ClipFitConfig(seed=given["seed"])
    if given["iterations"] is not None:
        config = ClipFitConfig(seed=given["seed"], iterations=given["iterations"])
    episodes = EpisodeStore(given["store"], mode="r")
    return fit_clip(episodes, captions_of(given["simulator"]), config, folder / "clip")


def assess_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Assess all rewards. Settings: simulator, store, grm, clip, gamma, resamples, figures."""
    from robo.commands.assess import Assess
    from robo.storage import plain

    given = run.settings
    command = Assess(
        tuple(rewards_of(given["simulator"], given["grm"], given["clip"]).values()),
        Path(given["store"]),
        truth=SIMULATORS[given["simulator"]].progress,
        gamma=given["gamma"],
        resamples=given["resamples"],
        out=folder,
    )
    return plain(command.run())


def stages(options: Options, study: Study) -> Iterator[list[Run]]:
    """Runs of each stage; a stage starts when the one before is whole."""
    yield [
        Run(
            f"store-{name}-{use}",
            {
                "simulator": name,
                "successes": good,
                "failures": bad,
                "seed": 1000 * options.seed + at,
            },
        )
        for name in options.simulators
        for use, good, bad, at in (
            ("fit", options.fit_successes, options.fit_failures, 100_000),
            ("assess", options.successes, options.failures, 500_000),
        )
    ]
    yield [
        Run(
            f"{model}-{name}",
            {
                "simulator": name,
                "store": str(study.folder / f"store-{name}-fit" / "episodes"),
                "iterations": iterations,
                "seed": options.seed,
            },
        )
        for name in options.simulators
        for model, iterations in (
            ("grm", options.grm_iterations),
            ("clip", options.clip_iterations),
        )
    ]
    yield [
        Run(
            f"assess-{name}",
            {
                "simulator": name,
                "store": str(study.folder / f"store-{name}-assess" / "episodes"),
                "grm": str(study.folder / f"grm-{name}" / "grm"),
                "clip": str(study.folder / f"clip-{name}" / "clip"),
                "gamma": options.gamma,
                "resamples": options.resamples,
                "figures": FIGURES,  # results that lack one are not taken over
            },
        )
        for name in options.simulators
    ]


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished stage."""
    took = "FAILED, see the error above" if result is None else f"{result['wall_seconds']:.0f} s"
    print(f"{run.name}: {took}", flush=True)


def rows_of(run: Run, result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per reward of one simulator."""
    name, rows = run.settings["simulator"], []
    texts = rewards_of(name, run.settings["grm"], run.settings["clip"])
    for label, text in texts.items():
        found = result["rewards"][text]
        row: dict[str, Any] = {"simulator": name, "reward": label}
        if "refused" in found:
            rows.append({**row, "refused": found["refused"]})
            continue
        probes = {probe["name"]: probe for probe in found["probes"]}
        rows.append(
            {
                **row,
                **{figure: found["figures"][figure] for figure in FIGURES},
                "caught": found["caught"],
                "not_applicable": {
                    name: probe["note"] for name, probe in probes.items() if not probe["applies"]
                },
                "loop_income": probes["loop_income"]["income"],
                "idle_income": probes["idle_income"]["income"],
                "language_accuracy": (found["language"] or {}).get("accuracy"),
            }
        )
    return rows


def main(options: Options) -> int:
    """Prepare and assess; the last line printed is one JSON object.

    Returns:
        The exit status: 1 where a stage failed, or where raw progress was not caught.
    """
    import time

    from robo.assess.probes import PROBES

    study = Study(options.work)
    began, done = time.monotonic(), []
    for runs in stages(options, study):
        left = options.minutes and options.minutes - (time.monotonic() - began) / 60
        failed = execute(study, runs, do_stage, 1, left, tell)
        if missing := study.missing(runs):
            names = [run.name for run in missing]
            publish({"benchmark": "assess_rewards", "finished": False, "missing": names}, None)
            return 1 if failed else 0
        done = runs
    rows, episodes = [], {}
    for run in done:
        result = study.result(run) or {}
        name = run.settings["simulator"]
        rows += rows_of(run, result)
        episodes[name] = {key: result[key] for key in ("episodes", "successes", "tasks", "actors")}
    naive = [row for row in rows if row["reward"].startswith("naive")]
    caught = bool(naive) and all(set(INCOME) <= set(row.get("caught", ())) for row in naive)
    publish(
        {
            "benchmark": "assess_rewards",
            "finished": True,
            "gamma": options.gamma,
            "episodes": episodes,
            "probes": list(PROBES),
            "rows": rows,
            "naive_caught": caught,
            "machine": machine(),
        },
        options.out,
    )
    return 0 if caught else 1


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
