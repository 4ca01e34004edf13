"""How often the scripted experts of robosuite and LIBERO succeed.

    python benchmarks/experts.py --workers 2

One run per task, from seeds 0, 1, 2 ...: 50 for robosuite, 20 for LIBERO, whose seed s begins from
initial state s. Nothing is rendered. Interrupt it and repeat the command, and it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

from robo.sim.mujoco.expert import CLEAN, ExpertStyle

RESULT = Path(__file__).parent / "results" / "experts.json"
ROBOSUITE = ("Lift", "Stack", "PickPlaceCan", "Door")
SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
ROBOSUITE_BAR, LIBERO_BAR = 0.90, 0.80
"""Success rate from which a task counts as solved."""
LIBERO_TASKS, LIBERO_SUITES = 10, 3
"""How many LIBERO tasks are to be solved, in how many suites."""


@dataclass(frozen=True)
class Config:
    """One study."""

    tasks: tuple[str, ...] = ()
    """Task ids; by default robosuite's four and every LIBERO task of the four suites whose goal is
    to put things somewhere."""
    robosuite_episodes: int = 50
    """Seeds per robosuite task."""
    libero_episodes: int = 20
    """Initial states per LIBERO task."""
    style: ExpertStyle = field(default_factory=lambda: CLEAN)
    """How clean the motion is."""
    workers: int = 1
    """Processes at a time, 1 to 2 GB each."""
    minutes: float | None = None
    """No run starts later than this."""
    work: Path = Path("runs/benchmarks/experts")
    """Folder of finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def default_tasks() -> list[str]:
    """The four of robosuite, and those of LIBERO whose goal is made of ``On`` and ``In``."""
    from robo.sim.libero.experts.catalogue import KINDS, goal_kinds
    from robo.sim.libero.suites import tasks_of

    tasks = [task for suite in SUITES for task in tasks_of(suite)]
    placing = [task.id for task in tasks if goal_kinds(task) <= set(KINDS)]
    return [*(f"robosuite/{name}" for name in ROBOSUITE), *placing]


def evaluate(run: Run, folder: Path) -> dict[str, Any]:
    """Successes of one expert."""
    from robo.assess.statistics import wilson
    from robo.policies.recorder import stream_episodes
    from robo.sim.experts import make_expert
    from robo.sim.registry import make_vec

    settings = run.settings
    task, count = settings["task"], settings["episodes"]
    actor = make_expert(task, ExpertStyle(**settings["style"]), seed=0)
    env = make_vec(task, 1, backend="in_process")
    try:
        episodes = list(stream_episodes(env, actor, range(count), keep_observations=False))
    finally:
        env.close()
    solved = [episode for episode in episodes if episode.success]
    low, high = wilson(len(solved), count)
    return {
        "task": task,
        "instruction": episodes[0].info.instruction,
        "episodes": count,
        "successes": len(solved),
        "success_rate": len(solved) / count,
        "interval": [low, high],
        "mean_steps_of_successes": sum(map(len, solved)) / max(1, len(solved)),
        "failed_seeds": [episode.info.seed for episode in episodes if not episode.success],
    }


def runs_of(config: Config) -> list[Run]:
    """One run per task."""
    runs = []
    for task in config.tasks or default_tasks():
        robosuite = task.startswith("robosuite/")
        episodes = config.robosuite_episodes if robosuite else config.libero_episodes
        settings = {"task": task, "episodes": episodes, "style": asdict(config.style)}
        runs.append(Run(task.replace("/", "-"), settings))
    return runs


def summary_of(tasks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Which tasks are solved, and whether these are as many as they should be.

    Args:
        tasks: id to what :func:`evaluate` returned.
    """
    rates = {task: result["success_rate"] for task, result in tasks.items()}
    usual = [f"robosuite/{name}" for name in ROBOSUITE]
    missed = [task for task in usual if rates.get(task, 0.0) < ROBOSUITE_BAR]
    libero = {task: rate for task, rate in rates.items() if task.startswith("libero/")}
    solved = [task for task, rate in libero.items() if rate >= LIBERO_BAR]
    suites = sorted({task.split("/")[1] for task in solved})
    return {
        "robosuite": {"bar": ROBOSUITE_BAR, "below": missed, "reached": not missed},
        "libero": {
            "bar": LIBERO_BAR,
            "solved": len(solved),
            "suites": suites,
            "below": [task for task in libero if task not in solved],
            "reached": len(solved) >= LIBERO_TASKS and len(suites) >= LIBERO_SUITES,
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print, write."""
    one_thread()
    config = tyro.cli(Config, args=arguments, description=__doc__)
    study, runs = Study(config.work), runs_of(config)

    def report(run: Run, result: dict[str, Any] | None) -> None:
        line = "failed" if result is None else f"{result['successes']}/{result['episodes']}"
        print(f"{run.name} {line}", file=sys.stderr, flush=True)

    failed = execute(study, runs, evaluate, config.workers, config.minutes, report)
    results = {run.settings["task"]: study.result(run) for run in runs}
    finished = {task: result for task, result in results.items() if result is not None}
    publish(
        {
            "machine": machine(),
            "style": asdict(config.style),
            "summary": summary_of(finished),
            "tasks": finished,
            "missing": [task for task, result in results.items() if result is None],
        },
        config.out,
    )
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {', '.join(run.name for run in failed)}")


if __name__ == "__main__":
    main()
