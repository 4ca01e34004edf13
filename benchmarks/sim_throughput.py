"""robosuite and LIBERO as shipped against robo's, and what the fast images differ by.

    python benchmarks/sim_throughput.py

Rows: robosuite's Lift with two cameras in two processes; a task of each of four LIBERO suites with
two cameras in one process; robosuite's Lift from state, in two processes as shipped and batched as
`robosuite-batch/Lift`. As shipped means the simulator's own loop and off-screen rendering, with
nothing of robo but the shim that lets it run on this MuJoCo. Sides take turns, each run in a
process of its own; figures are medians over the repeats. Then images of the fast profile against
those of the faithful one, and what that does to the progress that a GRM reads from them.

Nothing else may run on the machine. Interrupt it and repeat the command, and it goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _sim_images
import _sim_sides
import numpy as np
import tyro
from _sim_sides import Job
from _study import Run, Study, execute, machine, one_thread, publish

RESULT = Path(__file__).parent / "results" / "sim_throughput.json"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Short name, for files."""
    title: str
    """For people."""
    task: str
    """Registry id."""
    cameras: bool
    """Two cameras at every step, or the state alone."""
    pixels: int
    """Height and width of the images."""
    processes: int
    """Processes of each side; the batched simulator has as many threads."""
    target: float
    """Steps per second to reach."""


_SUITES = (("spatial", 16.0), ("object", 16.0), ("goal", 23.0), ("10", 13.0))
ROWS = (
    Row("lift", "robosuite Lift, 2 cameras, 84 px", "robosuite/Lift", True, 84, 2, 110.0),
    *(
        Row(f"libero-{suite}", f"LIBERO {suite}, 2 cameras, 128 px", task, True, 128, 1, target)
        for suite, target in _SUITES
        for task in [f"libero/libero_{suite}/0"]
    ),
    Row("lift-state", "robosuite Lift, state", "robosuite-batch/Lift", False, 0, 2, 2500.0),
)


@dataclass(frozen=True)
class Options:
    """Measure simulators as shipped and as robo runs them."""

    rows: tuple[str, ...] = tuple(row.name for row in ROWS)
    """Rows to measure."""
    repeats: int = 5
    """Runs of each side of a row."""
    seconds: float = 20.0
    """Length of each run."""
    warm_up: int = 20
    """Steps before the clock starts."""
    batch: int = 64
    """Environments of robosuite-batch/Lift."""
    images: bool = True
    """Also compare the profiles."""
    frames: int = 40
    """Images per camera and task that are compared, 5 steps apart."""
    grm: Path | None = None
    """Folder of a GRM of robosuite-batch/Lift; None records demonstrations and fits one."""
    demonstrations: int = 12
    """Of that GRM."""
    grm_iterations: int = 200
    """Of that GRM."""
    episodes: int = 8
    """Successes and failures, half of each, whose progress is read in both profiles."""
    minutes: float | None = None
    """No run starts later than this."""
    work: Path = Path("runs/benchmarks/sim_throughput")
    """Folder of finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def measure(run: Run, folder: Path) -> dict[str, Any]:
    """One side of one row; settings as :func:`speed_runs` makes them."""
    settings = run.settings
    side = _sim_sides.SIDES[settings["side"], settings["job"]["task"].partition("/")[0]]
    return side(Job(**settings["job"]))


def compare(run: Run, folder: Path) -> dict[str, Any]:
    """Images of one task in both profiles."""
    settings = run.settings
    return _sim_images.differences(settings["task"], settings["pixels"], settings["frames"])


def progress(run: Run, folder: Path) -> dict[str, Any]:
    """The progress that a GRM reads in both profiles."""
    settings = run.settings
    grm = None if settings["grm"] is None else Path(settings["grm"])
    if grm is None:
        grm = _sim_images.fit(folder, settings["demonstrations"], settings["iterations"])
    return _sim_images.progress_changes(grm, settings["episodes"])


def speed_runs(options: Options) -> list[Run]:
    """Every repeat of every side, the sides of a row in turn."""
    runs = []
    for repeat in range(options.repeats):
        for row in ROWS:
            job = Job(
                row.task,
                row.cameras,
                row.pixels,
                row.processes,
                options.seconds,
                options.warm_up,
                options.batch,
            )
            for side in ("shipped", "ours") if row.name in options.rows else ():
                settings = {"side": side, "repeat": repeat, "job": asdict(job)}
                runs.append(Run(f"{row.name}-{side}-{repeat}", settings))
    return runs


def image_runs(options: Options) -> list[Run]:
    """One run per task with cameras."""
    return [
        Run(
            f"images-{row.name}",
            {"task": row.task, "pixels": row.pixels, "frames": options.frames},
        )
        for row in ROWS
        if options.images and row.cameras and row.name in options.rows
    ]


def progress_runs(options: Options) -> list[Run]:
    """One run, or none."""
    settings = {
        "grm": None if options.grm is None else str(options.grm),
        "demonstrations": options.demonstrations,
        "iterations": options.grm_iterations,
        "episodes": options.episodes,
    }
    return [Run("progress", settings)] if options.images else []


def table(study: Study, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Medians and spread per row, of the runs that are finished."""
    lines = []
    for row in ROWS:
        rates: dict[str, list[float]] = {"ours": [], "shipped": []}
        for run in runs:
            own = run.name.rsplit("-", 2)[0] == row.name
            result = study.result(run) if own else None
            if result is not None:
                rates[run.settings["side"]].append(result["steps_per_second"])
        if not all(rates.values()):
            continue
        ours, shipped = (float(np.median(rates[side])) for side in ("ours", "shipped"))
        lines.append(
            {
                "name": row.title,
                "task": row.task,
                "processes": row.processes,
                "ours": round(ours, 1),
                "peers": {"as shipped": round(shipped, 1)},
                "ratio_to_best": round(ours / shipped, 2),
                "spread_ours": [round(min(rates["ours"]), 1), round(max(rates["ours"]), 1)],
                "spread_shipped": [
                    round(min(rates["shipped"]), 1),
                    round(max(rates["shipped"]), 1),
                ],
                "repeats": min(map(len, rates.values())),
                "target": row.target,
                "reached": ours >= row.target,
            }
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print, write."""
    one_thread()
    options = tyro.cli(Options, args=arguments, description=__doc__)
    study = Study(options.work)
    began = time.monotonic()
    groups: list[tuple[Callable[[Run, Path], dict[str, Any]], list[Run]]] = [
        (measure, speed_runs(options)),
        (compare, image_runs(options)),
        (progress, progress_runs(options)),
    ]

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        rate = "failed" if result is None else result.get("steps_per_second", "done")
        print(f"{run.name} {rate}", file=sys.stderr, flush=True)

    failed: list[Run] = []
    for function, runs in groups:
        left = None
        if options.minutes is not None:
            left = max(0.0, options.minutes - (time.monotonic() - began) / 60)
        failed += execute(study, runs, function, 1, left, tell)
    everything = [run for _, runs in groups for run in runs]
    publish(
        {
            "benchmark": "sim_throughput",
            "unit": "environment steps per wall second, median",
            "rows": table(study, groups[0][1]),
            "images": {run.settings["task"]: study.result(run) for run in groups[1][1]},
            "progress": next((study.result(run) for run in groups[2][1]), None),
            "missing": [run.name for run in study.missing(everything)],
            "machine": {**machine(), **_sim_sides.versions()},
        },
        options.out,
    )
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {', '.join(run.name for run in failed)}")


if __name__ == "__main__":
    main()
