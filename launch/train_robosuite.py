"""Train a policy on a robosuite task from camera frames: demonstrations, progress model, PPO.

    python launch/train_robosuite.py --out runs/robosuite-lift [--clone] [--reward success]
    python launch/train_robosuite.py --out runs/see --task robosuite/Lift --policy-views front wrist
    python launch/train_robosuite.py --out runs/robosuite-groups --algorithm srpo

reads top to bottom: scripted demonstrations and failures, a General Reward Model (GRM) fitted on
their pixels, PPO from state or from pixels on sparse success shaped by it, evaluation over seeds
that training has not seen, and videos of the reward. Interrupt it and repeat it with --resume: what
is finished is kept. It uses the parts that `robo` uses; change any of them here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pixels import seeing, view_options
from stages import Stages

import robo

# The trainer imports torch._dynamo, which must come before the first GL context.
import robo.policies.trainer
from robo.assess.statistics import wilson
from robo.commands.collect import Collect
from robo.commands.fit import FitGRM
from robo.data import EpisodeStore
from robo.policies.behaviour_cloning import clone
from robo.policies.evaluate import evaluate, parse_seeds
from robo.policies.launcher import ProcessConfig, run_in_processes, train_rank
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import load_policy, make_policy
from robo.policies.ppo import PPOConfig
from robo.policies.recorder import PolicyActor, record_episodes
from robo.policies.run_folder import RunFolder, find_policy
from robo.policies.srpo_presets import GroupSettings, group_ppo
from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
from robo.rewards.config import RewardConfig
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.fit_config import FitConfig
from robo.rewards.grm.score import score_episode
from robo.rollout import CameraSchedule
from robo.sim.contract import VectorEnvironment
from robo.storage import plain, write_json

FAILURES = ("beside:20", "closed:20", "open:12", "wander:24")
"""Scripted failures of robosuite-batch/Lift that its GRM learns from."""


@dataclass(frozen=True)
class Config:
    """One run."""

    out: Path
    """Run folder."""
    task: str = "robosuite-batch/Lift"
    """Task id with a scripted expert: robosuite-batch/Lift, robosuite/Lift, robosuite/Stack ..."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """The simulator's own options, name and value in turn: --options horizon 100. Of
    robosuite-batch/Lift, controller is OSC_POSITION unless given: the hand keeps pointing down."""
    algorithm: Literal["ppo", "srpo"] = "ppo"
    """srpo: clone the demonstrations, then practise in groups from equal initial states, where
    failures are paid by how near their video came to those of successes."""
    srpo: GroupSettings = field(default_factory=GroupSettings)
    """srpo: how groups are collected and judged."""
    group_ppo: PPOConfig = field(default_factory=group_ppo)
    """srpo: the learner, in place of ppo."""
    group_network: NetworkConfig = field(default_factory=lift_network)
    """srpo: the policy; --group-network.kind transformer plans --group-network.chunk actions, and
    sees the cameras of --policy-views (robosuite/*)."""
    reward: Literal["grm", "success"] = "grm"
    """Sparse success shaped by the GRM, or sparse success alone (no demonstrations, no GRM)."""
    grm: Path | None = None
    """Folder of a fitted GRM; None records demonstrations and fits one."""
    demonstrations: int = 30
    """Successful scripted episodes to record."""
    failures: tuple[str, ...] | None = None
    """Failure scripts to record, NAME:COUNT; None: 76 of robosuite-batch/Lift, which has scripts,
    and none of other tasks."""
    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles that the GRM, or the video encoder of srpo, sees."""
    size: int = 64
    """Their height and width in pixels."""
    grm_iterations: int = 400
    """Training steps of the GRM."""
    stride: int = 5
    """Steps between two camera frames of the reward."""
    clone: bool = False
    """Start from a policy cloned from the demonstrations."""
    policy_views: tuple[str, ...] = ()
    """Camera roles that the policy reads at every step, beside the state; none: the state alone.
    Not with robosuite-batch/Lift."""
    policy_size: int = 64
    """Their height and width in pixels."""
    network: NetworkConfig = field(default_factory=lift_network)
    """The policy and its critic; with policy_views, a transformer in place of an mlp."""
    num_envs: int = 64
    """Environments of all processes together."""
    steps_per_rollout: int = 80
    """Steps of each environment between two updates."""
    total_steps: int = 400_000
    """Environment steps, over all environments."""
    seed: int = 0
    """Decides demonstrations, GRM, initial states, initial parameters and every sample."""
    ppo: PPOConfig = field(default_factory=lift_ppo)
    """The learner."""
    evaluate_every_steps: int = 20_480
    """Steps between two evaluations on the selection seeds."""
    stop_success: float = 1.0
    """Success rate on the selection seeds that ends training."""
    selection_seeds: str = "9000-9099"
    """Seeds that stop the run and choose the policy."""
    report_seeds: str = "5000-5099"
    """Seeds of the closing evaluation; training has seen none of them."""
    processes: Annotated[ProcessConfig, tyro.conf.arg(name="")] = field(
        default_factory=ProcessConfig
    )
    """Processes and machines; the result is that of one process, up to rounding."""
    resume: bool = False
    """Go on with what the run folder holds."""

    @property
    def needs_demonstrations(self) -> bool:
        """Whether any later stage reads them."""
        return self.clone or (self.reward == "grm" and self.grm is None)

    @property
    def all_options(self) -> dict[str, Any]:
        """The simulator's options, the policy's views among them."""
        usual = {"controller": "OSC_POSITION"} if self.task == "robosuite-batch/Lift" else {}
        return {**usual, **self.options, **view_options(self.policy_views, self.policy_size)}

    @property
    def model(self) -> Path:
        """Folder of the GRM."""
        return self.grm or self.out / "grm"


def main(config: Config) -> None:
    """Run all stages; each is done once."""
    parse_seeds(config.report_seeds)  # a slip is found before hours of training
    stages = Stages(config)
    if config.algorithm == "srpo":
        return by_groups(config, stages)
    if config.needs_demonstrations:
        stages.do("collect", lambda: collect(config))
    if config.reward == "grm" and config.grm is None:
        stages.do("fit", lambda: fit(config))
    if config.clone:
        stages.do("clone", lambda: clone_policy(config))
    trained = stages.do("train", lambda: train(config))
    score = stages.do("evaluate", lambda: report(config))
    videos = stages.do("video", lambda: draw(config, score["outcomes"]))
    result = {
        "task": config.task,
        "reward": config.reward,
        "seed": config.seed,
        "success": score["success_rate"],
        "interval": score["interval"],
        "episodes": score["episodes"],
        "report_seeds": config.report_seeds,
        "selection_seeds": config.selection_seeds,
        "training": trained,
        "seconds": stages.seconds,
        "videos": videos,
    }
    write_json(RunFolder(config.out).result, plain(result))
    low, high = score["interval"]
    print(
        f"{config.task}: {score['success_rate']:.0%} of {score['episodes']} unseen seeds "
        f"({low:.1%} to {high:.1%}) after {trained['steps']:,} steps, "
        f"{sum(stages.seconds.values()) / 60:.1f} minutes in all; see {config.out}"
    )


def environments(config: Config, count: int, **more: Any) -> VectorEnvironment:
    """``count`` environments of the run."""
    options: dict[str, Any] = {**config.all_options, **more}
    return robo.make_vec(config.task, count, **options)


def collect(config: Config) -> dict[str, Any]:
    """Scripted demonstrations and failures, seen by the cameras, into ``out/collect``."""
    shutil.rmtree(config.out / "collect", ignore_errors=True)  # of an interrupted run
    batch = config.task == "robosuite-batch/Lift"
    usual = FAILURES if batch else ()
    return Collect(
        task=config.task,
        options=config.all_options,
        demonstrations=config.demonstrations,
        failures=usual if config.failures is None else config.failures,
        views=config.views,
        size=config.size,
        seed=100_000 + 10_000 * config.seed,
        num_envs=min(16, config.demonstrations) if batch else None,
        out=config.out / "collect",
    ).run()


def by_groups(config: Config, stages: Stages) -> None:
    """Demonstrations, cloning, video encoder, groups; see launch/srpo_stages.py."""
    from srpo_stages import GroupRun, run_stages

    stages.do("collect", lambda: collect(replace(config, failures=())))
    network = seeing(config.group_network, config.policy_views)
    base = TrainConfig(
        task=config.task,
        options=config.all_options,
        num_envs=config.num_envs,
        total_steps=config.total_steps,
        group_size=config.srpo.group_size,
        seed=config.seed,
        ppo=config.group_ppo,
        network=network,
        start_from=config.out / "cloned",
        evaluate_every_steps=config.evaluate_every_steps,
        evaluate_seeds=config.selection_seeds,
        stop_success=config.stop_success,
    )
    camera = CameraSchedule(config.views, config.size, config.size, config.stride)
    first = 105_000 + 10_000 * config.seed
    attempts = list(range(first, first + config.num_envs))
    vector = partial(environments, config)
    store, report = config.out / "collect" / "episodes", parse_seeds(config.report_seeds)
    parts = (network, config.srpo, camera, attempts, report, vector, vector)
    run_stages(GroupRun(config.out, store, base, *parts, config.processes), stages.do)


def fit(config: Config) -> dict[str, Any]:
    """The GRM, from pixels and keyframes."""
    settings = FitConfig(iterations=config.grm_iterations, seed=config.seed)
    return FitGRM(config.out / "collect", settings, out=config.model).run()


def clone_policy(config: Config) -> dict[str, Any]:
    """A policy that imitates the demonstrations' actions, in ``out/cloned``."""
    env = environments(config, 1)
    observation, action = env.single_observation_space, env.single_action_space
    env.close()
    network = seeing(config.network, config.policy_views)
    policy = make_policy(observation, action, network, seed=config.seed)
    with EpisodeStore(config.out / "collect" / "episodes") as store:
        fitted = clone(store, policy, seed=config.seed)  # of the successes
    policy.save(config.out / "cloned")
    return {"policy": str(config.out / "cloned"), **fitted}


def train(config: Config) -> dict[str, Any]:
    """PPO; environments, reward and learner are put together by robo.policies.trainer."""
    shaped = RewardConfig(kind="grm", grm=config.model, stride=config.stride)
    settings = TrainConfig(
        task=config.task,
        options=config.all_options,
        num_envs=config.num_envs,
        steps_per_rollout=config.steps_per_rollout,
        total_steps=config.total_steps,
        seed=config.seed,
        ppo=config.ppo,
        network=seeing(config.network, config.policy_views),
        reward=shaped if config.reward == "grm" else RewardConfig(kind="success"),
        start_from=config.out / "cloned" if config.clone else None,
        evaluate_every_steps=config.evaluate_every_steps,
        evaluate_seeds=config.selection_seeds,
        stop_success=config.stop_success,
    )
    resume = any(RunFolder(config.out).checkpoints.glob("checkpoint-*.pt"))
    arguments = (settings, config.out, resume, True)
    if config.processes.several:
        return run_in_processes(config.processes, train_rank, *arguments)
    return train_rank(*arguments)


def report(config: Config) -> dict[str, Any]:
    """Evaluate over seeds that neither training nor selection has seen."""
    policy = load_policy(find_policy(config.out))
    seeds = parse_seeds(config.report_seeds)
    env = environments(config, min(config.num_envs, len(seeds)))
    try:
        score = evaluate(policy, env, seeds)
    finally:
        env.close()
    return {**score, "interval": list(wilson(score["successes"], score["episodes"]))}


def draw(config: Config, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Reward videos of a success and of a failure; None where none was, or without a GRM."""
    from robo.media import shaped_trace, write_reward_video

    if config.reward != "grm":
        return {"success": None, "failure": None}
    policy, grm = load_policy(find_policy(config.out)), CompactGRM.load(config.model)
    small = CameraSchedule(grm.config.views, grm.config.height, grm.config.width, stride=1)
    # A policy that sees does otherwise where it sees other images.
    shown = "fast" if config.policy_views else "faithful"
    schedules = (("fast", small), (shown, replace(small, height=360, width=360)))
    videos: dict[str, Any] = {}
    for kind in ("success", "failure"):
        seeds = [row["seed"] for row in outcomes if row["success"] == (kind == "success")]
        if not seeds:
            videos[kind] = None
            continue
        episodes = []
        for profile, camera in schedules:  # the same episode, as scored and as shown
            env = environments(config, 1, profile=profile)
            episodes.append(record_episodes(env, PolicyActor(policy), seeds[:1], camera)[0])
            env.close()
        potential = score_episode(grm, episodes[0], "backward", config.stride).potential
        trace = shaped_trace(episodes[0], potential, config.ppo.gamma, title=config.task)
        path = RunFolder(config.out).videos / f"{kind}.mp4"
        videos[kind] = str(write_reward_video(path, episodes[1], trace))
    return videos


if __name__ == "__main__":
    from script import run

    run(main, Config)
