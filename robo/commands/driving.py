"""What driving runs end with: an evaluation on held-out routes, curves, a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robo.policies.policy import Policy
    from robo.policies.recorder import Actor
    from robo.policies.train_config import TrainConfig
    from robo.sim.contract import VectorEnvironment

ActorOf = Callable[["VectorEnvironment"], "Actor"]
"""Environments to what drives them."""
VIDEO_VIEWS = ("front", "side", "bird")
"""Cameras of a driving video; the bird's-eye raster joins them."""


@dataclass(frozen=True)
class DriveConfig:
    """Which routes to drive, and where."""

    task: str
    """Driving task."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the simulator."""
    seeds: str = "5000-5009"
    """Seeds A-B of routes and traffic."""
    num_envs: int = 8
    """Environments stepped together; with carla-standin/All it decides who drives which town."""


def driving_evaluation(config: DriveConfig, run: Path | None, train: TrainConfig) -> dict[str, Any]:
    """Drive every route once, with the mean of the action distribution.

    Args:
        config: routes.
        run: run or policy folder; None drives with the untrained policy of ``train``.
        train: network and seed of that.

    Returns:
        :func:`robo.assess.driving.driving_report`, ``metrics`` (see
        :func:`robo.assess.driving_metrics.driving_metrics`), ``backend`` (what simulated),
        ``seeds``.

    Raises:
        RoboError: no policy, no server, a bad option.
    """
    return actor_evaluation(config, policy_actor(run, train))


def policy_actor(run: Path | None, train: TrainConfig) -> ActorOf:
    """What drives with a trained policy, or, with None, with the untrained one of ``train``."""
    from robo.policies.recorder import PolicyActor

    return lambda env: PolicyActor(_policy(run, train, env))


def actor_evaluation(config: DriveConfig, actor_of: ActorOf) -> dict[str, Any]:
    """Drive every route once with any actor.

    Args:
        config: routes.
        actor_of: what drives these environments.

    Returns:
        As :func:`driving_evaluation`.

    Raises:
        RoboError: no server, a bad option.
    """
    from robo.assess.driving import drive, driving_report
    from robo.assess.driving_metrics import driving_metrics
    from robo.policies.evaluate import parse_seeds
    from robo.sim.registry import make_vec

    seeds = parse_seeds(config.seeds)
    env = make_vec(config.task, min(config.num_envs, len(seeds)), **config.options)
    try:
        driven = list(drive(env, actor_of(env), seeds))
    finally:
        env.close()
    episodes, summaries = zip(*driven, strict=True)
    report = driving_report(seeds, [episode.info.task for episode in episodes], summaries)
    return {
        **report,
        "metrics": driving_metrics(episodes),
        "backend": server_kind(config.task),
        "seeds": config.seeds,
    }


def generalisation(
    config: DriveConfig,
    actor_of: ActorOf,
    tasks: Sequence[str],
    vehicles: Sequence[int],
) -> dict[str, dict[str, float]]:
    """The five figures in every town at every traffic density.

    Args:
        config: routes and options.
        actor_of: what drives.
        tasks: towns, as task ids; none drives in ``config.task`` alone.
        vehicles: how many others there are; none leaves what ``config.options`` say.

    Returns:
        ``"<task>, <n> vehicles"`` to :func:`robo.assess.driving_metrics.driving_metrics`.
    """
    rows = {}
    for task in tasks or (config.task,):
        for count in vehicles or (None,):
            more = {} if count is None else {"vehicles": count}
            there = replace(config, task=task, options={**config.options, **more})
            name = task if count is None else f"{task}, {count} vehicles"
            rows[name] = actor_evaluation(there, actor_of)["metrics"]
    return rows


def server_kind(task: str) -> str:
    """``carla`` for a real server, ``carla-standin`` for ours: no result may confuse them."""
    return task.split("/")[0]


def with_server(result: dict[str, Any]) -> dict[str, Any]:
    """A training's result whose ``backend`` is the server that drove, where one did.

    What stepped the environments is then ``vector_backend``. Results of other tasks stay.
    """
    server = server_kind(result["task"])
    if server not in ("carla", "carla-standin"):
        return result
    return {**result, "vector_backend": result["backend"], "backend": server}


def _policy(run: Path | None, train: TrainConfig, env: VectorEnvironment) -> Policy:
    from robo.policies.policy_files import load_policy, make_policy
    from robo.policies.run_folder import find_policy

    if run is not None:
        return load_policy(find_policy(run))
    spaces = env.single_observation_space, env.single_action_space
    return make_policy(*spaces, train.network, seed=train.seed)


def driving_pictures(
    config: DriveConfig, run: Path, train: TrainConfig, video: bool
) -> dict[str, str]:
    """Learning curves and, if asked for, a video of the first route; their paths by name.

    Raises:
        RoboError: as :func:`driving_evaluation`; a full disk.
    """
    from robo.media.learning_curve import write_learning_curve
    from robo.policies.run_folder import RunFolder

    folder = RunFolder(run)
    panels = {
        "evaluation/signals/route_completion": "route completion, % (selection routes)",
        "evaluation/signals/collision": "collisions per route",
        "evaluation/signals/red_light": "red lights run per route",
    }
    curve = write_learning_curve(folder.metrics, panels, folder.root / "learning_curve.png")
    pictures = {"curve": str(curve)}
    if video:
        pictures["video"] = str(driving_video(config, run, train, folder.videos / "driving.mp4"))
    return pictures


def driving_video(config: DriveConfig, run: Path, train: TrainConfig, path: Path) -> Path:
    """Video of the first of the routes: views, raster, reward terms.

    Raises:
        RoboError: as :func:`driving_evaluation`; a full disk.
    """
    from robo.assess.driving import drive
    from robo.media.driving_video import write_driving_video
    from robo.policies.evaluate import parse_seeds
    from robo.policies.recorder import PolicyActor
    from robo.rewards.config import make_reward
    from robo.rollout import CameraSchedule
    from robo.sim.registry import make_vec

    seeds = parse_seeds(config.seeds)[:1]
    env = make_vec(config.task, 1, **{**config.options, "rendering": True})
    reward = make_reward(train.reward, train.ppo.gamma, train.ppo.timeout)
    # A reward that looks is shown the shape of image that it learns from.
    shape = (288, 288 if reward.camera is not None else 384)
    camera = CameraSchedule(VIDEO_VIEWS, *shape, stride=1)
    try:
        actor = PolicyActor(_policy(run, train, env))
        episode, _ = next(drive(env, actor, seeds, camera, keep_observations=True))
    finally:
        env.close()
    title = f"{server_kind(config.task)}: {train.reward.kind.replace('_', ' ')}"
    return write_driving_video(path, episode, reward, *raster_scale(config.options), title)


def raster_scale(options: Mapping[str, Any]) -> tuple[float, float]:
    """Pixels per metre of the bird's-eye view that these options ask for, and metres behind."""
    from robo.sim.carla.options import DrivingOptions

    scale = options.get("pixels_per_metre", DrivingOptions.pixels_per_metre)
    return float(scale), float(options.get("metres_behind", DrivingOptions.metres_behind))
