"""Scripted demonstrations of many tasks, a store each, with the expert's success rate.

    python datasets/scripted_demos.py --out runs/datasets/demos --demonstrations 20

By default those of :func:`with_expert`. Other tasks with an expert are recorded by name
(``--tasks robosuite-batch/Lift libero/libero_90/0``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from _cards import UnfinishedError, card, counts, folder_of, licence_of, run

from robo.commands.collect import Collect, record
from robo.errors import RoboError
from robo.sim.registry import tasks


@dataclass(frozen=True)
class Recipe:
    """Record demonstrations of many tasks, one store each."""

    tasks: tuple[str, ...] = ()
    """Task ids; by default those of `mujoco`, `robosuite` and four suites of LIBERO (spatial,
    object, goal, 10) that are installed and have an expert."""
    demonstrations: int = 20
    """Successful episodes per task."""
    size: int = 128
    """Image height and width in pixels."""
    stride: int = 1
    """Steps between two frames."""
    seed: int = 400_000
    """First seed of each task."""
    out: Path = Path("runs/datasets/demos")
    """Folder; each task gets one of its own, and is left as it is where it is finished."""


def with_expert() -> list[str]:
    """Installed tasks with a scripted expert, all but two kinds.

    Of LIBERO those whose goal is to place things. Left out are ``libero_90``, which takes days,
    and ``robosuite-batch/*``, the tasks of ``robosuite/*`` once more.
    """
    found = [f"mujoco/{name}" for name in ("Reach", "Push", "Lift")]
    installed = set(tasks())
    if any(task.startswith("robosuite/") for task in installed):
        from robo.sim.robosuite.experts.catalogue import EXPERTS

        found += [task for task in EXPERTS if task in installed]
    if any(task.startswith("libero/") for task in installed):
        from robo.sim.libero.experts.catalogue import KINDS, goal_kinds
        from robo.sim.libero.suites import tasks_of

        for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10"):
            found += [task.id for task in tasks_of(suite) if goal_kinds(task) <= set(KINDS)]
    return found


def main(recipe: Recipe) -> None:
    """Record what is missing; a task whose expert hardly succeeds is named and left out.

    Raises:
        RoboError: after all others, naming the tasks whose folders hold a part of their set.
    """
    unfinished: list[str] = []
    for task in recipe.tasks or with_expert():
        out = recipe.out / folder_of(task)
        if (out / "card.json").exists():
            continue
        collect = Collect(
            task=task,
            demonstrations=recipe.demonstrations,
            size=recipe.size,
            stride=recipe.stride,
            seed=recipe.seed,
            out=out,
        )
        try:
            with card(out, "scripted_demos", "successes of a scripted expert", task=task) as about:
                result = record(collect)
                about |= counts(out / "episodes")
                about["expert_success_rate"] = result["expert_success_rate"]
                about["attempts"] = result["attempts"]
                about["licence"] = licence_of(task)
        except UnfinishedError as error:
            unfinished.append(str(error))
        except RoboError as error:
            print(f"{task} left out: {error}", flush=True)
    if unfinished:
        raise RoboError("; ".join(unfinished))


if __name__ == "__main__":
    run("scripted_demos", main, Recipe)
