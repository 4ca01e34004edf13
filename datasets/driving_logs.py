"""Driving logs from the headless stand-in server: a route follower, with open and with shut eyes.

    python datasets/driving_logs.py --episodes 20 --out runs/datasets/driving

Episodes hold the bird's-eye view, the actions, CaRL's signals and the camera views asked for. The
server is ours and speaks CARLA's protocol; with ``--task carla/Town01`` the same recipe drives on
a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _cards import card, counts, licence_of, run

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.policies.recorder import stream_episodes
from robo.rollout import CameraSchedule
from robo.sim.carla.expert import OPTIONS, DriverStyle, RouteFollower
from robo.sim.registry import make_vec


@dataclass(frozen=True)
class Recipe:
    """Record drives."""

    task: str = "carla-standin/Grid"
    """Driving task: `robo tasks --contains carla-standin`."""
    episodes: int = 20
    """Drives."""
    blind: float = 0.3
    """Share of drives that look at neither others nor lights: collisions and red lights."""
    views: tuple[str, ...] = ("front",)
    """Camera roles to record."""
    size: int = 64
    """Image height and width in pixels."""
    stride: int = 5
    """Steps between two frames."""
    keep_birdseye: bool = True
    """Keep observations too: the bird's-eye views take most of the space."""
    num_envs: int = 1
    """Cars driven together, a server each."""
    options: tuple[str, ...] = ()
    """More options of the task, NAME=NUMBER."""
    seed: int = 600_000
    """First seed."""
    out: Path = Path("runs/datasets/driving")
    """Folder of the data set."""


def main(recipe: Recipe) -> None:
    """Record, and write the card."""
    camera = CameraSchedule(recipe.views, recipe.size, recipe.size, recipe.stride)
    given: dict[str, Any] = {}
    for option in recipe.options:
        name, _, value = option.partition("=")
        try:
            given[name] = float(value) if "." in value else int(value)
        except ValueError as error:
            raise RoboError(f"--options {option}: expected NAME=NUMBER") from error
    env = make_vec(recipe.task, recipe.num_envs, **{**OPTIONS, **given})
    driver = RouteFollower(DriverStyle(blind=recipe.blind), recipe.seed)
    seeds = list(range(recipe.seed, recipe.seed + recipe.episodes))
    try:
        with (
            card(
                recipe.out, "driving_logs", "drives of a scripted route follower", task=recipe.task
            ) as about,
            EpisodeStore(recipe.out / "episodes") as store,
        ):
            store.extend(stream_episodes(env, driver, seeds, camera, recipe.keep_birdseye))
            about |= counts(recipe.out / "episodes")
            about["server"] = "stand-in" if "standin" in recipe.task else "CARLA"
            about["licence"] = licence_of(recipe.task)
    finally:
        env.close()


if __name__ == "__main__":
    run("driving_logs", main, Recipe)
