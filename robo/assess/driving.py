"""How a driving policy drives: completion, infractions and route score over fixed routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from robo.errors import RoboError
from robo.policies.recorder import Actor, stream_episodes
from robo.rollout import CameraSchedule, Episode
from robo.sim.carla.options import STEP_SECONDS
from robo.sim.carla.route_score import RouteRecorder, RouteSummary, aggregate
from robo.sim.contract import VectorEnvironment


def route_summary(episode: Episode) -> RouteSummary:
    """What happened on the route of one driving episode.

    Raises:
        RoboError: the episode holds no driving signals.
    """
    if "route_completion" not in episode.signals:
        raise RoboError(
            f"an episode of {episode.info.task} has no signal route_completion (it has "
            f"{sorted(episode.signals)}): only driving tasks have routes"
        )
    recorder = RouteRecorder()
    for step in range(len(episode)):
        now = {name: float(values[step]) for name, values in episode.signals.items()}
        recorder.update(now, STEP_SECONDS)
    return recorder.summary()


def drive(
    env: VectorEnvironment,
    actor: Actor,
    seeds: Sequence[int],
    camera: CameraSchedule | None = None,
    keep_observations: bool = False,
) -> Iterator[tuple[Episode, RouteSummary]]:
    """One episode and its summary per seed; a seed decides route and traffic.

    Args:
        env: driving environments.
        actor: what drives.
        seeds: of the routes.
        camera: frames to keep; None keeps none.
        keep_observations: True keeps them (bird's-eye views are large).
    """
    for episode in stream_episodes(env, actor, seeds, camera, keep_observations):
        yield episode, route_summary(episode)


def driving_report(
    seeds: Sequence[int], tasks: Sequence[str], summaries: Sequence[RouteSummary]
) -> dict[str, Any]:
    """Figures per route and over all.

    Returns:
        ``mean``: see :func:`robo.sim.carla.route_score.aggregate`; ``routes``: per route ``seed``,
        ``task`` and every figure of its :class:`RouteSummary`.
    """
    rows = []
    for seed, task, summary in zip(seeds, tasks, summaries, strict=True):
        figures = summary.as_dict()
        figures.pop("route_length")  # not among the signals
        rows.append({"seed": int(seed), "task": task, **figures})
    return {"mean": aggregate(summaries), "routes": rows}


TABLE_COLUMNS = {
    "route_completion": "completion",
    "score": "score",
    "collisions_vehicle": "hit vehicle",
    "collisions_walker": "hit walker",
    "collisions_static": "hit other",
    "red_lights": "red lights",
    "stop_signs": "stop signs",
    "off_road": "off road",
    "route_deviations": "off route",
    "blocked": "blocked",
    "mean_speed": "m/s",
}
"""Figure of a route to its column; completion in percent, hits to blocked are counts."""


def driving_table(report: dict[str, Any]) -> list[str]:
    """The report as lines of text: one per route, and their mean."""
    widths = {name: max(len(title), 6) + 2 for name, title in TABLE_COLUMNS.items()}
    titles = "".join(f"{title:>{widths[name]}}" for name, title in TABLE_COLUMNS.items())
    lines = [f"{'route':>10}" + titles]
    rows = [(str(row["seed"]), row) for row in report["routes"]]
    for name, row in [*rows, ("mean", report["mean"])]:
        lines.append(f"{name:>10}" + "".join(f"{row[key]:>{widths[key]}.2f}" for key in widths))
    return lines
