"""What GRM-shaped PPO adds to a policy that was cloned from a few demonstrations of a LIBERO task.

    python benchmarks/libero_improvement.py --plot

Each run is `launch/train_libero.py` of one task and seed. Success before and after is over initial
states that neither demonstrated, trained nor selected anything. Interrupt it and repeat the
command, and it goes on, within a run too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _launch_runs import kept_folder, script
from _study import Run, Study, execute, machine, one_thread, publish

RESULT = Path(__file__).parent / "results" / "libero_improvement.json"
TARGET, LIMIT = 15.0, 45.0
"""Points of success and minutes to keep to."""


@dataclass(frozen=True)
class Options:
    """Clone and improve LIBERO policies."""

    tasks: tuple[str, ...] = ("libero/libero_object/0",)
    """Task ids."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each task."""
    training_minutes: float = 32.0
    """Of PPO."""
    demonstration_states: str = "0-14"
    """See `launch/train_libero.py`."""
    training_states: str = "15-32"
    """See `launch/train_libero.py`."""
    report_states: str = "33-49"
    """See `launch/train_libero.py`."""
    num_envs: int = 8
    """Environments of PPO."""
    minutes: float | None = None
    """No run starts later than this."""
    work: Path = Path("runs/benchmarks/libero_improvement")
    """Folder of finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""
    plot: bool = False
    """Draw the training curves beside --out, as PNG."""


def planned(options: Options) -> list[Run]:
    """Seed by seed."""
    return [
        Run(
            f"{task.replace('/', '-')}-s{seed}",
            {
                "task": task,
                "seed": seed,
                "minutes": options.training_minutes,
                "demonstration_states": options.demonstration_states,
                "training_states": options.training_states,
                "report_states": options.report_states,
                "num_envs": options.num_envs,
            },
        )
        for seed in options.seeds
        for task in options.tasks
    ]


def improve(run: Run, folder: Path) -> dict[str, Any]:
    """One run of the script."""
    from robo.storage import read_json

    train_libero = script("train_libero")
    out = kept_folder(run, folder)
    train_libero.main(train_libero.Config(out=out, resume=True, **run.settings))
    result = read_json(out / "result.json")
    shown = {
        side: {
            kind: {name: value for name, value in score.items() if name != "signals"}
            for kind, score in result[side].items()
        }
        for side in ("before", "after")
    }
    names = ("task", "seed", "states", "demonstrations", "attempts_labelled", "gain", "curve")
    return {
        **{name: result[name] for name in names},
        **shown,
        "steps": result["training"]["steps"],
        "stages": result["seconds"],
        "minutes": result["total_minutes"],
    }


def summary_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One task over its runs."""
    lines: dict[str, Any] = {"runs": len(results)}
    for kind in ("mean", "sampled"):
        lines[kind] = {
            "before": [run["before"][kind]["success_rate"] for run in results],
            "after": [run["after"][kind]["success_rate"] for run in results],
            "points": [round(run["gain"][kind]["points"], 1) for run in results],
            "median_points": float(np.median([run["gain"][kind]["points"] for run in results])),
        }
    lines["minutes"] = [round(run["minutes"], 1) for run in results]
    lines["reached"] = bool(
        lines["mean"]["median_points"] >= TARGET and max(lines["minutes"]) <= LIMIT
    )
    return lines


def plot_curves(runs: list[dict[str, Any]], path: Path) -> None:
    """Success of PPO's own episodes, and on the training states, over minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(6, 3.4))
    for index, run in enumerate(runs):
        colour = f"C{index}"
        recent = [row for row in run["curve"] if row.get("recent_success") is not None]
        panel.plot(
            [row["minutes"] for row in recent],
            [row["recent_success"] for row in recent],
            color=colour,
            label=f"{run['task'].removeprefix('libero/')}, seed {run['seed']}",
        )
        judged = [row for row in run["curve"] if row.get("success") is not None]
        panel.scatter(
            [row["minutes"] for row in judged], [row["success"] for row in judged], color=colour
        )
    panel.set_xlabel("minutes of PPO")
    panel.set_ylabel("success, training states")
    panel.set_title("line: practice with noise, dots: mean action", fontsize="small")
    panel.set_ylim(-0.03, 1.03)
    panel.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished run."""
    line = "FAILED, see the error above"
    if result is not None:
        gains = {kind: f"{gain['points']:+.0f}" for kind, gain in result["gain"].items()}
        line = f"points of success {gains} in {result['minutes']:.1f} minutes"
    print(f"{run.name}: {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print, write."""
    one_thread()
    options = tyro.cli(Options, args=arguments, description=__doc__)
    study, runs = Study(options.work), planned(options)
    # One at a time: each has a worker process per core.
    failed = execute(study, runs, improve, 1, options.minutes, tell)
    done = [result for run in runs if (result := study.result(run)) is not None]
    by_task = {task: [run for run in done if run["task"] == task] for task in options.tasks}
    if options.plot and options.out is not None and done:
        plot_curves(done, options.out.with_suffix(".png"))
    publish(
        {
            "benchmark": "libero_improvement",
            "target_points": TARGET,
            "limit_minutes": LIMIT,
            "tasks": {task: summary_of(own) for task, own in by_task.items() if own},
            "runs": done,
            "missing": [run.name for run in study.missing(runs)],
            "machine": machine(),
        },
        options.out,
    )
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {', '.join(run.name for run in failed)}")


if __name__ == "__main__":
    main()
