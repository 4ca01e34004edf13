"""What driving runs end with: an evaluation on held-out routes, curves, a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robo.policies.policy import Policy
    from robo.policies.train_config import TrainConfig
    from robo.sim.contract import VectorEnvironment

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
        :func:`robo.assess.driving.driving_report`, ``backend`` (what simulated), ``seeds``.

    Raises:
        RoboError: no policy, no server, a bad option.
    """
    from robo.assess.driving import drive, driving_report
    from robo.policies.evaluate import parse_seeds
    from robo.policies.recorder import PolicyActor
    from robo.sim.registry import make_vec

    seeds = parse_seeds(config.seeds)
    env = make_vec(config.task, min(config.num_envs, len(seeds)), **config.options)
    try:
        actor = PolicyActor(_policy(run, train, env))
        driven = [(episode.info.task, summary) for episode, summary in drive(env, actor, seeds)]
    finally:
        env.close()
    tasks, summaries = zip(*driven, strict=True)
    report = driving_report(seeds, tasks, summaries)
    return {**report, "backend": server_kind(config.task), "seeds": config.seeds}


def server_kind(task: str) -> str:
    """``carla`` for a real server, ``carla-standin`` for ours: no result may confuse them."""
    return task.split("/")[0]


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
    env = make_vec(config.task, 1, **config.options)
    camera = CameraSchedule(VIDEO_VIEWS, height=288, width=384, stride=1)
    try:
        actor = PolicyActor(_policy(run, train, env))
        episode, _ = next(drive(env, actor, seeds, camera, keep_observations=True))
    finally:
        env.close()
    reward = make_reward(train.reward, train.ppo.gamma, train.ppo.timeout)
    title = f"{server_kind(config.task)}: {train.reward.kind.replace('_', ' ')}"
    return write_driving_video(path, episode, reward, title)
