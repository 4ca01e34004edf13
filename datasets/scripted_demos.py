"""Scripted demonstrations of every shipped task that has an expert, with the expert's success rate.

python datasets/scripted_demos.py --out runs/datasets/demos --demonstrations 20
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from _cards import card, counts, folder_of

from robo.commands.collect import Collect, record
from robo.errors import RoboError
from robo.sim.registry import tasks

LICENCE = (
    "Apache-2.0 (scripts, actions, mujoco/* scenes); pictures of robosuite/* MIT assets, of "
    "libero/* LIBERO's assets (CC BY 4.0 and upstream licences)"
)


@dataclass(frozen=True)
class Recipe:
    """Record demonstrations of many tasks, one store each."""

    tasks: tuple[str, ...] = ()
    """Task ids; by default all that are installed and have an expert."""
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
    """Installed tasks with a scripted expert; of LIBERO those whose goal is to place things."""
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
    """Record what is missing; a task whose expert hardly succeeds is named and left out."""
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
                about["licence"] = LICENCE
        except RoboError as error:
            print(f"{task} left out: {error}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Recipe))
