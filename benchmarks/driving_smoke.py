"""How far the small preset of driving gets on a CPU, from scratch: completion of unseen routes.

    python benchmarks/driving_smoke.py --seeds 0 1 2

Each run is `launch/train_carla.py --preset smoke` of one seed: PPO with CaRL's reward in the three
towns of the stand-in server, then ten routes that neither trained nor selected the policy. Minutes
are those of the whole script, its evaluations and its video with it. Route scores of the stand-in
are no CARLA results. Interrupt it and repeat the command, and it goes on, within a run too.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _launch_runs import kept_folder, script
from _study import Run, Study, execute, machine, one_thread, publish

RESULT = Path(__file__).parent / "results" / "driving_smoke.json"
WANTED = {"untrained": 15.0, "route_completion": 70.0, "collisions": 0.4, "minutes": 40.0}
"""Completion before (at most) and after (at least), percent; collisions per route; minutes."""


@dataclass(frozen=True)
class Options:
    """Train the small driving preset and judge it on unseen routes."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One run each."""
    report_seeds: str = "5000-5009"
    """Routes of the report."""
    minutes: float | None = None
    """No run starts later than this."""
    work: Path = Path("runs/benchmarks/driving_smoke")
    """Folder of finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def train(run: Run, folder: Path) -> dict[str, Any]:
    """One run of the script."""
    from robo.storage import read_json

    train_carla = script("train_carla")
    out, began = kept_folder(run, folder), time.perf_counter()
    note = out / "result.json"
    earlier = read_json(note)["wall_seconds"] if note.exists() else 0.0
    train_carla.main(train_carla.Config(out=out, preset="smoke", resume=True, **run.settings))
    result = read_json(note)
    mean = result["report"]["mean"]
    return {
        "seed": run.settings["seed"],
        "steps": result["steps"],
        "untrained": result["untrained"]["mean"]["route_completion"],
        **{name: mean[name] for name in ("route_completion", "collisions", "score", "finished")},
        "red_lights": mean["red_lights"],
        "off_road": mean["off_road"],
        # Training that an earlier process did counts too.
        "minutes": (time.perf_counter() - began + earlier) / 60,
    }


def met(row: dict[str, Any]) -> bool:
    """Whether a run is all that is wanted of it."""
    return (
        row["untrained"] < WANTED["untrained"]
        and row["route_completion"] >= WANTED["route_completion"]
        and row["collisions"] <= WANTED["collisions"]
        and row["minutes"] <= WANTED["minutes"]
    )


def main(options: Options) -> None:
    """Do the runs that are missing and publish."""
    one_thread()
    study = Study(options.work)
    runs = [
        Run(f"smoke-s{seed}", {"seed": seed, "report_seeds": options.report_seeds})
        for seed in options.seeds
    ]

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        print(f"{run.name}: {result or 'failed'}", flush=True)

    execute(study, runs, train, 1, options.minutes, tell)
    rows = [found for found in (study.result(run) for run in runs) if found is not None]
    completion = [row["route_completion"] for row in rows]
    publish(
        {
            "benchmark": "driving_smoke",
            "runs": rows,
            "median_route_completion": statistics.median(completion) if rows else None,
            "wanted": WANTED,
            "met": [met(row) for row in rows],
            "report_seeds": options.report_seeds,
            "missing": [run.name for run in study.missing(runs)],
            "machine": machine(),
        },
        options.out,
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
