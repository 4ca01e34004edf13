"""PPO training speed, environment steps per second, beside four libraries.

Stable-Baselines3, sbx, skrl and rsl_rl, with equal networks and hyper-parameters
(``_ppo_sides.py``). Every run is a process of its own, told to use one thread; runs take turns,
so that what disturbs one disturbs all. Two tables come from them:

* ``sync``: all step gymnasium's SyncVectorEnv;
* ``best``: each steps the backend on which it is fastest here (ours: native or EnvPool; theirs:
  Sync, their own loop where they have one, or EnvPool).

``--modes`` says how. ``free``: a process may use all cores, as a user starts it; jax and EnvPool
then start threads of their own, whose time counts. ``pinned``: the process and all its threads are
held to one core, which spares jax the cost of its threads.

Finished runs are files in the work folder: interrupt it, repeat the command, and it goes on. A
library that is not installed is reported under ``missing`` with the line that installs it.

    python benchmarks/ppo_throughput.py --out benchmarks/results/ppo_throughput.json
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from _ppo_sides import LIBRARIES, OURS, Workload, make_side, missing
from _study import Run, Study, execute, machine, one_thread, publish

WORKLOADS = (
    Workload(
        "HalfCheetah 16x128, 5 epochs, minibatch 512", "HalfCheetah-v5", 16, 128, 5, 512, 1000
    ),
    Workload("Pendulum 16x256, 10 epochs, minibatch 1024", "Pendulum-v1", 16, 256, 10, 1024, 200),
    Workload("Pendulum 8x256, 10 epochs, minibatch 64", "Pendulum-v1", 8, 256, 10, 64, 200),
)
TABLES = {"sync": "gymnasium Sync", "best": "best backend of each"}
MODES = {"free": "all cores allowed", "pinned": "one core"}
TARGETS = {"sync": (1.5, 2.0, 2.5), "best": (1.8, 3.0, 3.0)}
PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "jax", "envpool")


@dataclass(frozen=True)
class Options:
    """Measure PPO's throughput beside four other libraries."""

    repeats: int = 5
    """Interleaved runs of each side."""
    steps: int = 32_768
    """Environment steps per run, rounded up to whole rollouts; one rollout before is not timed."""
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    """Sides to run."""
    workloads: tuple[int, ...] = (0, 1, 2)
    """Rows to run."""
    modes: tuple[str, ...] = ("free",)
    """Which cores a run may use: free, pinned, or both."""
    core: int = -1
    """Position, among the cores that this process may use, of the one for ``pinned`` runs."""
    minutes: float | None = None
    """Start no run later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/ppo_throughput")
    """Folder of the finished runs."""
    out: Path | None = None
    """JSON file to write."""


def run_one(run: Run, folder: Path) -> dict[str, Any]:
    """One side, one workload, in a process of its own."""
    settings = run.settings
    if settings["core"] is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[settings["core"]]})
    from robo.policies.threads import set_threads

    set_threads(1)
    work = Workload(**settings["workload"])
    size = work.envs * work.steps
    rollouts = max(1, -(-settings["steps"] // size))
    train = make_side(settings["library"], settings["backend"], work, settings["seed"])
    train(1)
    wall, cpu = time.perf_counter(), time.process_time()
    train(rollouts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": rollouts * size / wall, "cpu": rollouts * size / cpu, "steps": rollouts * size}


def plan(options: Options) -> tuple[list[Run], dict[str, str]]:
    """Runs in the order in which they take turns, and what cannot run with its install line."""
    sides, absent = [], {}
    for library in options.libraries:
        for backend in LIBRARIES[library].backends:
            line = missing(library, backend)
            if line is None:
                sides.append((library, backend))
            else:
                absent[f"{library} on {backend}"] = line
    order = product(options.modes, range(options.repeats), options.workloads, sides)
    runs = []
    for mode, repeat, index, (library, backend) in order:
        settings = {
            "library": library,
            "backend": backend,
            "workload": asdict(WORKLOADS[index]),
            "steps": options.steps,
            "core": options.core if mode == "pinned" else None,
            "seed": repeat,
            "versions": versions(),
        }
        runs.append(Run(f"{mode}-{index}-{library}-{backend}-{repeat}", settings))
    return runs, absent


def versions() -> dict[str, str]:
    """Of everything that a figure depends on and that is installed."""
    found = {}
    for name in (*PACKAGES, *(name for name in LIBRARIES if name != OURS)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


Figures = dict[tuple[str, str], list[dict[str, float]]]
"""(library, backend) to its runs of one workload, by repeat."""


def figures_of(study: Study, runs: list[Run], work: Workload, mode: str) -> Figures:
    """Finished runs of one workload."""
    found: Figures = {}
    for run in runs:
        pinned = run.settings["core"] is not None
        if run.settings["workload"] == asdict(work) and pinned == (mode == "pinned"):
            result = study.result(run)
            if result is not None:
                side = (run.settings["library"], run.settings["backend"])
                found.setdefault(side, []).append(result)
    return found


def chosen(figures: Figures, table: str, clock: str = "cpu") -> dict[str, str]:
    """Library to the backend that it is shown with in ``table``."""
    sides: dict[str, str] = {}
    for library in {library for library, _ in figures}:
        backends = [backend for name, backend in figures if name == library]
        if table == "sync":
            backends = [backend for backend in backends if backend == "sync"]
        if backends:
            sides[library] = max(
                backends, key=lambda backend: median(figures[(library, backend)], clock)
            )
    return sides


def median(runs: list[dict[str, float]], clock: str) -> float:
    """Median steps per second of one clock."""
    return statistics.median(run[clock] for run in runs)


def summary(runs: list[dict[str, float]], clock: str) -> dict[str, float]:
    """Median, lowest and highest of one clock."""
    figures = [run[clock] for run in runs]
    return {"median": statistics.median(figures), "low": min(figures), "high": max(figures)}


def row_of(
    figures: Figures, work: Workload, table: str, mode: str, target: float
) -> dict[str, Any] | None:
    """One row; None where our side or every peer is missing."""
    sides = chosen(figures, table)
    if OURS not in sides or len(sides) < 2:
        return None
    runs = {
        library: figures[(library, sides[library])] for library in LIBRARIES if library in sides
    }
    ratios = {clock: ratio(figures, table, clock) for clock in ("cpu", "wall")}
    best = max((name for name in runs if name != OURS), key=lambda name: median(runs[name], "cpu"))
    paired = [a["cpu"] / b["cpu"] for a, b in zip(runs[OURS], runs[best], strict=False)]
    return {
        "name": f"{TABLES[table]}, {MODES[mode]}: {work.name}",
        "table": table,
        "mode": mode,
        "unit": "environment steps per process CPU second",
        "ours": median(runs[OURS], "cpu"),
        "peers": {name: median(some, "cpu") for name, some in runs.items() if name != OURS},
        "best_peer": best,
        "ratio_to_best": ratios["cpu"],
        "ratio_range": [min(paired), max(paired)],
        "ratio_wall": ratios["wall"],
        "target": target,
        "cpu": {shown(name): summary(some, "cpu") for name, some in runs.items()},
        "wall": {shown(name): summary(some, "wall") for name, some in runs.items()},
        "backends": {shown(name): backend for name, backend in sides.items()},
        "workload": asdict(work),
        "runs": min(len(some) for some in runs.values()),
    }


def shown(library: str) -> str:
    """Key of a side in a row."""
    return "ours" if library == OURS else library


def ratio(figures: Figures, table: str, clock: str) -> float:
    """Our median over that of the best peer, each with its best backend by this clock."""
    sides = chosen(figures, table, clock)
    medians = {name: median(figures[(name, backend)], clock) for name, backend in sides.items()}
    return medians.pop(OURS) / max(medians.values())


def main(options: Options) -> None:
    """Measure every workload; the last line printed is one JSON object."""
    one_thread()
    runs, absent = plan(options)
    study = Study(options.work)
    done = [0]

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        done[0] += 1
        speed = "failed" if result is None else f"{result['cpu']:,.0f} steps/CPU s"
        print(f"[{done[0]}] {run.name}: {speed}", flush=True)

    failed = execute(study, runs, run_one, 1, options.minutes, tell)
    rows: list[dict[str, Any]] = []
    for mode, table, index in product(options.modes, TABLES, options.workloads):
        found = figures_of(study, runs, WORKLOADS[index], mode)
        row = row_of(found, WORKLOADS[index], table, mode, TARGETS[table][index])
        if row is not None:
            rows.append(row)
            tell_row(row)
    result = {
        "benchmark": "ppo_throughput",
        "rows": rows,
        "complete": not study.missing(runs),
        "missing": absent,
        "failed": [run.name for run in failed],
        "threads": 1,
        "steps_per_run": options.steps,
        "versions": versions(),
        "machine": machine(),
    }
    for side, line in absent.items():
        print(f"not measured: {side}; {line}")
    publish(result, options.out)


def tell_row(row: dict[str, Any]) -> None:
    """Print one row."""
    peers = ", ".join(
        f"{name} ({row['backends'][name]}) {speed:,.0f}" for name, speed in row["peers"].items()
    )
    print(
        f"{row['name']}: ours ({row['backends']['ours']}) {row['ours']:,.0f}; {peers}; ratio "
        f"{row['ratio_to_best']:.2f} (wall {row['ratio_wall']:.2f}), target {row['target']}"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
