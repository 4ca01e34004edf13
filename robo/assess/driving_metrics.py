"""VLM-RL's five figures of a driving policy, over fixed routes (arXiv 2412.15544)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo.errors import RoboError
from robo.rollout import Episode

KMH = 3.6
"""km/h in one m/s."""
METRICS: dict[str, str] = {
    "average_speed": "km/h, mean over routes of the mean speed",
    "route_completion": "0 to 1, mean over routes",
    "total_distance": "m driven on all routes together",
    "collision_speed": "km/h just before the collision, mean over routes; 0 for one without",
    "success_rate": "share of routes driven to their end",
}
"""Every figure with its meaning and unit."""


def driving_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """The five figures of one episode per route; see :data:`METRICS`.

    Raises:
        RoboError: no episode, or one without the signals of driving.
    """
    if not episodes:
        raise RoboError("no route was driven: give at least one seed")
    for episode in episodes:
        missing = {"speed", "distance", "route_completion", "collision_speed"} - set(
            episode.signals
        )
        if missing:
            raise RoboError(
                f"an episode of {episode.info.task} has no signals {sorted(missing)}: these "
                "figures are of driving tasks"
            )

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    signals = [episode.signals for episode in episodes]
    return {
        "average_speed": mean([KMH * float(np.mean(one["speed"])) for one in signals]),
        "route_completion": mean([float(one["route_completion"][-1]) / 100 for one in signals]),
        "total_distance": float(sum(np.sum(one["distance"]) for one in signals)),
        "collision_speed": mean([KMH * float(np.max(one["collision_speed"])) for one in signals]),
        "success_rate": mean([float(episode.success) for episode in episodes]),
    }


def metrics_table(rows: dict[str, dict[str, float]]) -> list[str]:
    """Named rows of figures as lines of text."""
    width = max(len("name"), *(len(name) for name in rows))
    lines = [
        f"{'name':<{width}}" + "".join(f"{name.replace('_', ' '):>18}" for name in METRICS),
    ]
    lines += [
        f"{name:<{width}}" + "".join(f"{row[metric]:>18.2f}" for metric in METRICS)
        for name, row in rows.items()
    ]
    return lines
