"""A driving run by SAC of Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.commands.driving import ActorOf, DriveConfig, actor_evaluation
from robo.policies.sac_config import SacConfig

if TYPE_CHECKING:
    from robo.policies.train_config import TrainConfig


def sac_run(
    config: SacConfig, train: TrainConfig, drive: DriveConfig, out: Path, resume: bool
) -> tuple[dict[str, Any], ActorOf]:
    """Train by SAC on the environments, the reward and for the steps of ``train``.

    Args:
        config: SAC's settings.
        train: reads task, options, environments, steps, seed and reward.
        drive: the routes on which the untrained policy is driven.
        out: run folder.
        resume: go on from the newest checkpoint.

    Returns:
        The result of :func:`robo.policies.sb3_sac.train_sac` with ``untrained``, and what drives
        with the trained policy.

    Raises:
        MissingExtraError: stable-baselines3 is not installed.
        RoboError: parts that do not fit, no server, an earlier run in ``out``.
    """
    from robo.policies.sb3 import sb3_vec_env
    from robo.policies.sb3_sac import SacActor, make_sac, train_sac
    from robo.policies.threads import set_threads
    from robo.rewards.config import make_reward
    from robo.sim.registry import make_vec

    set_threads(train.threads)
    reward = make_reward(train.reward, config.gamma, "bootstrap")
    env = sb3_vec_env(make_vec(train.task, train.num_envs, train.backend, **train.options))
    device = train.reward.device
    try:
        fresh = make_sac(env, config, train.seed, device)
        actor = SacActor(fresh)
        untrained = actor_evaluation(drive, lambda _: actor)
        model, result = train_sac(
            env, reward, config, train.total_steps, out, train.seed, device, resume
        )
    finally:
        env.close()
    result = {**result, "algorithm": "sac", "task": train.task, "untrained": untrained}
    return result, lambda _: SacActor(model)
