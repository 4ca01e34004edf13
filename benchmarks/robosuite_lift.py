"""PPO on robosuite's Lift, batched, from scratch: shaped by a GRM, and on sparse success alone.

    python benchmarks/robosuite_lift.py --plot

Each run is `launch/train_robosuite.py` of one seed: demonstrations, GRM and PPO for the shaped
arm, PPO alone for the sparse one. Reported are success over seeds that neither trained nor
selected the policy, and the minutes of all stages together, videos left out. Interrupt it and
repeat the command, and it goes on, within a run too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from _launch_runs import kept_folder, script
from _study import Run, Study, execute, machine, one_thread, publish

RESULT = Path(__file__).parent / "results" / "robosuite_lift.json"
TASK = "robosuite-batch/Lift"
SOLVED, LIMIT = 0.90, 25.0
"""Success and minutes to keep to."""

Arm = Literal["grm", "success"]


@dataclass(frozen=True)
class Options:
    """Train robosuite-batch/Lift by a GRM and by sparse success."""

    arms: tuple[Arm, ...] = ("grm", "success")
    """grm: sparse success shaped by a GRM; success: alone."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each arm."""
    total_steps: int | None = None
    """Environment steps of PPO; None: what the script does."""
    demonstrations: int | None = None
    """Of each GRM; None: what the script does."""
    grm_iterations: int | None = None
    """Of each GRM; None: what the script does."""
    episodes: int = 100
    """Of the closing evaluation."""
    clone: bool = False
    """Start from a policy cloned from the demonstrations, in both arms."""
    workers: int = 1
    """Runs at a time; each uses every core for its physics."""
    minutes: float | None = None
    """No run starts later than this."""
    work: Path = Path("runs/benchmarks/robosuite_lift")
    """Folder of finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""
    plot: bool = False
    """Draw the learning curves beside --out, as PNG."""


def planned(options: Options) -> list[Run]:
    """Seed by seed, the shaped arm first."""
    given = {
        "total_steps": options.total_steps,
        "demonstrations": options.demonstrations,
        "grm_iterations": options.grm_iterations,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return [
        Run(
            f"{arm}-s{seed}",
            {
                "reward": arm,
                "seed": seed,
                "clone": options.clone,
                "report_seeds": f"5000-{4999 + options.episodes}",
                **chosen,
            },
        )
        for seed in options.seeds
        for arm in options.arms
    ]


def train(run: Run, folder: Path) -> dict[str, Any]:
    """One run of the script."""
    from robo.storage import read_json

    train_robosuite = script("train_robosuite")
    out = kept_folder(run, folder)
    train_robosuite.main(train_robosuite.Config(out=out, task=TASK, resume=True, **run.settings))
    result = read_json(out / "result.json")
    seconds = {name: value for name, value in result["seconds"].items() if name != "video"}
    return {
        "arm": run.settings["reward"],
        "seed": run.settings["seed"],
        "success": result["success"],
        "interval": result["interval"],
        "episodes": result["episodes"],
        "steps": result["training"]["steps"],
        "stopped_early": result["training"]["stopped_early"],
        "stages": seconds,
        "minutes": sum(seconds.values()) / 60,
        "curve": curve(out),
    }


def curve(out: Path) -> list[dict[str, float]]:
    """Success on the selection seeds over steps, from the run's metrics."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "metrics"), {"scalars": 0})
    events.Reload()
    name = "evaluation/success_rate"
    if name not in events.Tags()["scalars"]:
        return []
    newest = {event.step: event.value for event in events.Scalars(name)}
    return [{"step": step, "success": value} for step, value in sorted(newest.items())]


def summary_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm over its runs."""
    within = [run["success"] >= SOLVED and run["minutes"] <= LIMIT for run in results]
    return {
        "runs": len(results),
        "success": [run["success"] for run in results],
        "median_success": float(np.median([run["success"] for run in results])),
        "minutes": [round(run["minutes"], 1) for run in results],
        "steps": [run["steps"] for run in results],
        "solved_in_time": sum(within),
    }


def reached(arms: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether a run shaped by a GRM came to the bar in time."""
    shaped = arms.get("grm") or []
    return bool(shaped) and summary_of(shaped)["solved_in_time"] >= 1


def plot_curves(runs: list[dict[str, Any]], path: Path) -> None:
    """Success over steps, a line per run and a colour per arm."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(6, 3.4))
    colours = {"grm": "tab:blue", "success": "tab:orange"}
    labels = {"grm": "shaped by the GRM", "success": "sparse success"}
    for run in runs:
        steps = [0, *(entry["step"] for entry in run["curve"])]
        success = [0.0, *(entry["success"] for entry in run["curve"])]
        panel.plot(steps, success, color=colours[run["arm"]], label=labels.pop(run["arm"], None))
    panel.axhline(SOLVED, color="grey", linewidth=0.8, linestyle=":")
    panel.set_xlabel("environment steps")
    panel.set_ylabel("success on selection seeds")
    panel.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished run."""
    line = "FAILED, see the error above"
    if result is not None:
        line = f"success {result['success']:.0%} in {result['minutes']:.1f} minutes"
    print(f"{run.name}: {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print, write."""
    one_thread()
    options = tyro.cli(Options, args=arguments, description=__doc__)
    study, runs = Study(options.work), planned(options)
    failed = execute(study, runs, train, options.workers, options.minutes, tell)
    done = [result for run in runs if (result := study.result(run)) is not None]
    arms = {arm: [run for run in done if run["arm"] == arm] for arm in options.arms}
    if options.plot and options.out is not None and done:
        plot_curves(done, options.out.with_suffix(".png"))
    publish(
        {
            "benchmark": "robosuite_lift",
            "task": TASK,
            "solved": SOLVED,
            "limit_minutes": LIMIT,
            "reached": reached(arms),
            "arms": {arm: summary_of(own) for arm, own in arms.items() if own},
            "runs": done,
            "missing": [run.name for run in study.missing(runs)],
            "workers": options.workers,
            "machine": machine(),
        },
        options.out,
    )
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {', '.join(run.name for run in failed)}")


if __name__ == "__main__":
    main()
