"""Learning curves beside Stable-Baselines3 and sbx: is our PPO the same algorithm?

HalfCheetah-v5 and Pendulum-v1 with equal networks and hyper-parameters, gymnasium's Sync, and one
recorder of episode returns under all sides. The final return of a run is the mean of the training
episodes that ended in its last tenth. Reported per task and peer: means, the range over seeds,
whether our mean lies in the peer's range, and the exact two-sided permutation test of the
difference of means (all ways to split the seeds; 252 for five and five).

Finished runs are files in the work folder: interrupt it, repeat the command, and it goes on.

    python benchmarks/ppo_learning_curves.py --workers 2 \
        --out benchmarks/results/ppo_learning_curves.json
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _ppo_backends import RecordingStepper
from _ppo_sides import OURS, Workload, make_side, missing
from _study import Run, Study, execute, machine, one_thread, publish

POINTS = 20
"""Of a stored curve."""
WORKLOADS = {
    "HalfCheetah-v5": Workload("HalfCheetah", "HalfCheetah-v5", 8, 256, 10, 64, 1000),
    "Pendulum-v1": Workload("Pendulum", "Pendulum-v1", 4, 256, 10, 64, 200, 1e-3, 0.9),
}
STEPS = {"HalfCheetah-v5": 500_000, "Pendulum-v1": 150_000}


@dataclass(frozen=True)
class Options:
    """Compare learning curves with those of two libraries."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One run per seed, task and side."""
    tasks: tuple[str, ...] = tuple(WORKLOADS)
    """Gymnasium ids."""
    libraries: tuple[str, ...] = (OURS, "stable-baselines3", "sbx-rl")
    """Sides; ours and at least one peer."""
    scale: float = 1.0
    """Multiplies the environment steps of every run; less than 1 is a trial."""
    workers: int = 1
    """Runs at a time."""
    minutes: float | None = None
    """Start no run later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/ppo_learning_curves")
    """Folder of the finished runs."""
    out: Path | None = None
    """JSON file to write."""


def run_one(run: Run, folder: Path) -> dict[str, Any]:
    """Train once; the curve and the final return."""
    from robo.policies.threads import set_threads

    set_threads(1)
    settings = run.settings
    work = Workload(**settings["workload"])
    stepper = RecordingStepper(work.task, work.envs)
    size = work.envs * work.steps
    rollouts = -(-settings["steps"] // size)
    # Seeds of the environments of two runs must not overlap.
    make_side(settings["library"], "sync", work, 1000 * settings["seed"], stepper)(rollouts)
    return {**summary(stepper.episodes, rollouts * size), "steps": rollouts * size}


def summary(episodes: list[tuple[int, float]], steps: int) -> dict[str, Any]:
    """Final return, and means of equal parts of the run (None where no episode ended)."""
    ended = np.array([step for step, _ in episodes])
    returns = np.array([value for _, value in episodes])
    edges = np.linspace(0, steps, POINTS + 1)
    parts = [returns[(ended > a) & (ended <= b)] for a, b in itertools.pairwise(edges)]
    last = returns[ended > 0.9 * steps]
    return {
        "final_return": float(last.mean()) if len(last) else None,
        "curve": [round(float(part.mean()), 2) if len(part) else None for part in parts],
        "episodes": len(episodes),
    }


def permutation_test(a: Sequence[float], b: Sequence[float]) -> float:
    """Exact two-sided p-value of |mean(a) - mean(b)| over all ways to split the pooled values."""
    pooled = [*a, *b]
    observed = abs(statistics.fmean(a) - statistics.fmean(b))
    total, count, extreme = sum(pooled), 0, 0
    for chosen in itertools.combinations(range(len(pooled)), len(a)):
        first = sum(pooled[index] for index in chosen)
        difference = abs(first / len(a) - (total - first) / len(b))
        count += 1
        extreme += difference >= observed - 1e-12 * max(1.0, observed)
    return extreme / count


def row_of(task: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """One task: ours against each peer."""
    finals = {name: [run["final_return"] for run in some] for name, some in runs.items()}
    peers = {name: values for name, values in finals.items() if name != OURS}
    mean = statistics.fmean(finals[OURS])
    pooled = [value for values in peers.values() for value in values]
    return {
        "name": task,
        "unit": "mean return of training episodes in the last tenth, mean over seeds",
        "ours": mean,
        "peers": {name: statistics.fmean(values) for name, values in peers.items()},
        "within_peers_spread": min(pooled) <= mean <= max(pooled),
        "permutation_p": {
            name: permutation_test(finals[OURS], values) for name, values in peers.items()
        },
        "range": {name: [min(values), max(values)] for name, values in finals.items()},
        "finals": finals,
        "curves": {name: [run["curve"] for run in some] for name, some in runs.items()},
        "cpu_seconds": {name: [run["cpu_seconds"] for run in some] for name, some in runs.items()},
        "steps": runs[OURS][0]["steps"],
        "workload": asdict(WORKLOADS[task]),
    }


def main(options: Options) -> None:
    """Train all; the last line printed is one JSON object."""
    one_thread()
    absent = {name: line for name in options.libraries if (line := missing(name, "sync"))}
    runs = [
        Run(
            f"{task}-{library}-{seed}",
            {
                "library": library,
                "seed": seed,
                "steps": int(STEPS[task] * options.scale),
                "workload": asdict(WORKLOADS[task]),
            },
        )
        for seed in options.seeds
        for task in options.tasks
        for library in options.libraries
        if library not in absent
    ]
    study = Study(options.work)

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        print(run.name, "failed" if result is None else result["final_return"], flush=True)

    failed = execute(study, runs, run_one, options.workers, options.minutes, tell)
    rows = []
    for task in options.tasks:
        found: dict[str, list[dict[str, Any]]] = {}
        for run in runs:
            result = study.result(run)
            if run.name.startswith(task) and result is not None:
                found.setdefault(run.settings["library"], []).append(result)
        if OURS in found and len(found) > 1:
            rows.append(row_of(task, found))
    result = {
        "benchmark": "ppo_learning_curves",
        "rows": rows,
        "complete": not study.missing(runs),
        "missing": absent,
        "failed": [run.name for run in failed],
        "seeds": options.seeds,
        "test": "exact two-sided permutation test of the difference of mean final returns",
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
