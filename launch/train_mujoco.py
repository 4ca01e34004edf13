"""Train a policy on a MuJoCo task from camera frames: progress model, shaping, PPO.

    python launch/train_mujoco.py --out runs/lift --grm runs/grm [--nproc 4]
    python launch/train_mujoco.py --out runs/groups --algorithm srpo --task mujoco/Push

reads top to bottom: environments, reward, learner, evaluation over seeds that training has not
seen. It uses the parts that `robo train` uses; change any of them here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any, Literal

import tyro

import robo
from robo.assess.statistics import wilson
from robo.commands.collect import Collect
from robo.policies.actor_critic import ActorCritic
from robo.policies.evaluate import evaluate, parse_seeds
from robo.policies.launcher import ProcessConfig, run_in_processes, train_rank
from robo.policies.learner_config import NetworkConfig
from robo.policies.ppo import PPOConfig
from robo.policies.run_folder import RunFolder, find_policy
from robo.policies.srpo_presets import GroupSettings, group_ppo
from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
from robo.rewards.config import RewardConfig
from robo.rollout import CameraSchedule
from robo.storage import write_json


@dataclass(frozen=True)
class Config:
    """One run."""

    out: Path
    """Run folder."""
    grm: Path | None = None
    """Folder of a progress model (`robo fit grm`); None learns from sparse success alone."""
    task: Literal["mujoco/Reach", "mujoco/Push", "mujoco/Lift"] = "mujoco/Lift"
    """Which task."""
    num_envs: int = 64
    """Environments of all processes together."""
    total_steps: int = 300_000
    """Environment steps, over all environments."""
    algorithm: Literal["ppo", "srpo"] = "ppo"
    """srpo: clone a few demonstrations, then practise in groups from equal initial states, where
    failures are paid by how near their video came to those of successes."""
    demonstrations: int = 10
    """srpo: successful scripted episodes that the policy is cloned from."""
    srpo: GroupSettings = field(default_factory=GroupSettings)
    """srpo: how groups are collected and judged."""
    group_ppo: PPOConfig = field(default_factory=group_ppo)
    """srpo: the learner, in place of ppo."""
    group_network: NetworkConfig = field(default_factory=lift_network)
    """srpo: the policy; --group-network.kind transformer plans --group-network.chunk actions."""
    views: tuple[str, ...] = ("front", "wrist")
    """srpo: camera roles by which rollouts are judged."""
    seed: int = 0
    """Decides initial states, initial parameters and every sample."""
    stride: int = 5
    """Steps between two camera frames."""
    ppo: PPOConfig = field(default_factory=lift_ppo)
    """The learner."""
    selection_seeds: str = "9000-9099"
    """Seeds that stop the run."""
    report_seeds: str = "5000-5099"
    """Seeds of the closing evaluation; training has seen none of them."""
    processes: Annotated[ProcessConfig, tyro.conf.arg(name="")] = field(
        default_factory=ProcessConfig
    )
    """Processes and machines; the result is that of one process, up to rounding."""
    resume: bool = False
    """Go on from the newest checkpoint."""


def main(config: Config) -> None:
    """Train, evaluate, report."""
    parse_seeds(config.report_seeds)  # a slip is found before the training, not after it
    if config.algorithm == "srpo":
        return by_groups(config)
    reward_config = RewardConfig(
        kind="success" if config.grm is None else "grm", grm=config.grm, stride=config.stride
    )
    train = TrainConfig(
        task=config.task,
        num_envs=config.num_envs,
        total_steps=config.total_steps,
        seed=config.seed,
        ppo=config.ppo,
        network=lift_network(),
        reward=reward_config,
        evaluate_seeds=config.selection_seeds,
        stop_success=1.0,
    )
    # Environments, reward and learner are put together by robo.policies.trainer.make_trainer.
    arguments = (train, config.out, config.resume, True)
    if config.processes.several:
        result = run_in_processes(config.processes, train_rank, *arguments)
    else:
        result = train_rank(*arguments)
    report(config, result)


def by_groups(config: Config) -> None:
    """Demonstrations, cloning, video encoder, groups; see launch/srpo_stages.py."""
    from srpo_stages import GroupRun, run_stages
    from stages import Stages

    stages = Stages(config)
    camera = CameraSchedule(config.views, stride=config.stride)
    first = 100_000 + 10_000 * config.seed
    demonstrate = Collect(
        config.task,
        demonstrations=config.demonstrations,
        views=config.views,
        size=camera.height,
        seed=first,
        out=config.out / "collect",
    )
    stages.do("collect", lambda: (rmtree(demonstrate.out, True), demonstrate.run())[1])
    base = TrainConfig(
        task=config.task,
        num_envs=config.num_envs,
        total_steps=config.total_steps,
        group_size=config.srpo.group_size,
        seed=config.seed,
        ppo=config.group_ppo,
        network=config.group_network,
        start_from=config.out / "cloned",
        evaluate_seeds=config.selection_seeds,
        stop_success=1.0,
    )
    attempts = list(range(first + 5_000, first + 5_000 + config.num_envs))
    vector = partial(robo.make_vec, config.task)
    store, report = demonstrate.out / "episodes", parse_seeds(config.report_seeds)
    parts = (config.group_network, config.srpo, camera, attempts, report, vector, vector)
    run_stages(GroupRun(config.out, store, base, *parts, config.processes), stages.do)


def report(config: Config, result: dict[str, Any]) -> None:
    """Evaluate over seeds that neither training nor selection has seen."""
    policy = ActorCritic.load(find_policy(config.out))
    seeds = parse_seeds(config.report_seeds)
    env = robo.make_vec(config.task, min(config.num_envs, len(seeds)))
    score = evaluate(policy, env, seeds)
    env.close()
    low, high = wilson(score["successes"], score["episodes"])
    write_json(
        RunFolder(config.out).result,
        {**result, "report": score, "interval": [low, high], "report_seeds": config.report_seeds},
    )
    print(
        f"{config.task}: {score['success_rate']:.0%} of {score['episodes']} unseen seeds "
        f"({low:.1%} to {high:.1%}) after {result['steps']:,} steps, time-outs: "
        f"{result['timeout']}; see {config.out}"
    )


if __name__ == "__main__":
    from script import run

    run(main, Config)
