"""Top views of driving with their signals, for `robo fit clip`.

    python datasets/driving_frames.py --task carla-standin/Grid --episodes 120 --out runs/grid

A scripted driver follows routes through dense traffic; in a share of the episodes it looks at
nobody, and runs into what stands in its way. The store holds frames and signals, no observations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robo.errors import RoboError


@dataclass(frozen=True)
class Config:
    """What is recorded."""

    task: str = "carla-standin/Grid"
    """Driving task."""
    lanes: int = 0
    """Lanes each way (1 or 2) of a grid of streets to drive in, in place of the task's town."""
    episodes: int = 120
    """Episodes to record."""
    seed: int = 0
    """First seed; every episode takes the next one."""
    blind: float = 0.8
    """Share of episodes in which the driver looks at nobody."""
    view: str = "bird"
    """Camera role."""
    size: int = 216
    """Image height and width in pixels; of these, captions of driving look at the middle 64."""
    stride: int = 3
    """Steps between two frames."""
    num_envs: int = 4
    """Environments, and servers, at a time."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """Options of the simulator over the recipe's: --options vehicles 10 pedestrians 0."""
    out: Path = Path("runs/driving_frames")
    """Run folder; the store goes to its folder episodes."""


def main(config: Config) -> None:
    """Record, and write the card."""
    from _cards import card, counts, licence_of  # `record` alone is used from elsewhere, too

    what = "top views and signals of a scripted driver"
    with card(config.out, "driving_frames", what, task=config.task) as about:
        about["collisions"] = record(config)["collisions"]
        about |= counts(config.out / "episodes")
        about["licence"] = licence_of(config.task)


def record(config: Config) -> dict[str, Any]:
    """Record the episodes; how many ended how."""
    import robo
    from robo.data import EpisodeStore
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule
    from robo.sim.carla.expert import OPTIONS, DriverStyle, RouteFollower

    usual = {
        "vehicles": 100,
        "pedestrians": 30,
        "traffic_radius": 100.0,
        # Many short episodes: frames of one show the same streets and the same few cars.
        "time_limit": 15.0,
        "end_on_infraction": False,
    }
    options = {**usual, **OPTIONS, **config.options}
    if config.lanes:
        options["opendrive"] = str(_grid(config.lanes, config.out))
    camera = CameraSchedule((config.view,), config.size, config.size, config.stride)
    driver = RouteFollower(DriverStyle(slowest=4.0, fastest=9.0, blind=config.blind), config.seed)
    seeds = range(config.seed, config.seed + config.episodes)
    counts = {"episodes": 0, "frames": 0, "collisions": 0}
    env = robo.make_vec(config.task, min(config.num_envs, config.episodes), **options)
    try:
        with EpisodeStore(config.out / "episodes") as store:
            if len(store):
                raise RoboError(f"{store.path} already holds episodes; choose another --out")
            for episode in stream_episodes(env, driver, seeds, camera, keep_observations=False):
                store.append(episode)
                counts["episodes"] += 1
                counts["frames"] += len(episode.frame_step)
                counts["collisions"] += int(episode.signals["collision"][-1])
    finally:
        env.close()
    return counts


def _grid(lanes: int, folder: Path) -> Path:
    """A town file of the grid with so many lanes each way."""
    from robo.sim.carla.standin.towns.plans import grid

    path = folder / f"Grid{lanes}.xodr"
    text = grid(lanes=lanes)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


if __name__ == "__main__":
    from _cards import run

    run("driving_frames", main, Config)
