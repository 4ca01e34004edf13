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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _launch_runs import kept_folder, script
from _study import Run, Study, execute, machine, one_thread, publish

SEEDS = (0, 1, 2)
"""Runs that the claim rests on; a result that lacks one of them names it as missing."""
RESULT = Path(__file__).parent / "results" / "driving_smoke.json"
WANTED = {"untrained": 15.0, "route_completion": 70.0, "collisions": 0.4, "minutes": 40.0}
"""Completion before (at most) and after (at least), percent; collisions per route; minutes."""


@dataclass(frozen=True)
class Options:
    """Train the small driving preset and judge it on unseen routes."""

    seeds: tuple[int, ...] = SEEDS
    """One run each; runs of other seeds that are finished are published with them."""
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
    from robo.policies.run_folder import RunFolder
    from robo.storage import read_json

    train_carla = script("train_carla")
    out, began = kept_folder(run, folder), time.perf_counter()
    earlier = trained_seconds(out)
    begun = any(RunFolder(out).checkpoints.glob("checkpoint-*.pt"))
    train_carla.main(train_carla.Config(out=out, preset="smoke", resume=begun, **run.settings))
    result = read_json(RunFolder(out).result)
    mean = result["report"]["mean"]
    return {
        "seed": run.settings["seed"],
        "steps": result["steps"],
        "untrained": result["untrained"]["mean"]["route_completion"],
        **{name: mean[name] for name in ("route_completion", "collisions", "score", "finished")},
        "red_lights": mean["red_lights"],
        "off_road": mean["off_road"],
        # Training that earlier processes did counts too; evaluations were done again just now.
        "minutes": None if earlier is None else (time.perf_counter() - began + earlier) / 60,
    }


def trained_seconds(out: Path) -> float | None:
    """Seconds that earlier processes trained, up to where the run in ``out`` will go on.

    Returns:
        0 where nothing was trained; None where no checkpoint can be read.
    """
    from robo.errors import CheckpointError
    from robo.policies.checkpoint import Checkpoints, read
    from robo.policies.run_folder import RunFolder
    from robo.storage import read_json

    folder = RunFolder(out)
    if folder.result.exists():
        return float(read_json(folder.result)["wall_seconds"])
    # A run that was ended before its time tells by its checkpoints alone.
    paths = Checkpoints(folder.checkpoints).paths()
    for path in reversed(paths):
        try:
            return float(read(path)["state"]["seconds"])
        except CheckpointError:
            continue  # The run goes on from the one before, too.
    return None if paths else 0.0


def met(row: dict[str, Any]) -> bool:
    """Whether a run is all that is wanted of it."""
    return (
        row["untrained"] < WANTED["untrained"]
        and row["route_completion"] >= WANTED["route_completion"]
        and row["collisions"] <= WANTED["collisions"]
        and row["minutes"] is not None
        and row["minutes"] <= WANTED["minutes"]
    )


def planned(options: Options, seeds: Iterable[int]) -> list[Run]:
    """A run per seed."""
    return [
        Run(f"smoke-s{seed}", {"seed": seed, "report_seeds": options.report_seeds})
        for seed in seeds
    ]


def collected(options: Options, study: Study) -> dict[str, Any]:
    """What the finished runs say; those of ``SEEDS`` that are not finished are missing."""
    from robo.commands.driving import server_kind
    from robo.policies.presets import CARL_SMOKE

    runs = planned(options, sorted({*SEEDS, *options.seeds}))
    rows = [found for found in (study.result(run) for run in runs) if found is not None]
    completion = [row["route_completion"] for row in rows]
    return {
        "benchmark": "driving_smoke",
        "backend": server_kind(CARL_SMOKE.task),
        "runs": rows,
        "median_route_completion": statistics.median(completion) if rows else None,
        "wanted": WANTED,
        "met": [met(row) for row in rows],
        "report_seeds": options.report_seeds,
        "missing": [run.name for run in study.missing(runs)],
        "machine": machine(),
    }


def main(options: Options) -> None:
    """Do the runs that are missing and publish."""
    one_thread()
    study = Study(options.work)

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        print(f"{run.name}: {result or 'failed'}", flush=True)

    execute(study, planned(options, options.seeds), train, 1, options.minutes, tell)
    publish(collected(options, study), options.out)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
