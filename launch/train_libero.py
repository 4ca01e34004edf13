"""Clone a LIBERO policy from a few expert demonstrations, then improve it from camera rewards.

    python launch/train_libero.py --out runs/libero [--task libero/libero_object/0] [--minutes 32]
    python launch/train_libero.py --out runs/libero-groups --algorithm srpo

reads top to bottom. A task's initial states are split in three: from the first the scripted expert
demonstrates, on the second PPO practises, on the third the policy is judged, before and after. The
reward of PPO is sparse success shaped by a General Reward Model (GRM), fitted on the
demonstrations and on failed attempts of the cloned policy; cameras render at its stride only.
Interrupt it and repeat it with --resume: what is finished is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pixels import seeing, view_options
from stages import Stages
from watch import Watch

import robo
from robo.assess.statistics import newcombe, wilson
from robo.commands.fit import FitGRM
from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.policies.evaluate import evaluate, parse_seeds
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import load_policy, make_policy
from robo.policies.recorder import PolicyActor, stream_episodes
from robo.policies.run_folder import RunFolder, find_policy
from robo.policies.srpo_presets import GroupSettings, group_ppo
from robo.policies.train_config import TrainConfig

# The trainer imports torch._dynamo, which must come before the first GL context.
from robo.policies.trainer import make_trainer
from robo.rewards.config import RewardConfig
from robo.rewards.grm.fit_config import FitConfig
from robo.rewards.grm.labels import CEILING_KEY
from robo.rollout import CameraSchedule, Episode
from robo.sim.contract import VectorEnvironment
from robo.sim.experts import make_expert
from robo.sim.mujoco.expert import ExpertStyle
from robo.storage import plain, write_json

MOVED = 0.05
"""Change of a thing's distance to its target from which an attempt counts as more than a reach,
m."""


def fine_tuning() -> PPOConfig:
    """PPO that starts from a cloned policy: small steps, its view of the observations kept."""
    return PPOConfig(
        learning_rate=1e-5,
        critic_learning_rate=3e-4,
        epochs=8,
        minibatch_size=512,
        gamma=0.995,
        gae_lambda=0.95,
        target_kl=0.02,
        critic_warm_up=4,
        normalise_observation=False,  # other statistics would make another policy of it
    )


@dataclass(frozen=True)
class Config:
    """One run."""

    out: Path
    """Run folder."""
    task: str = "libero/libero_object/0"
    """A task of LIBERO with a scripted expert: its goal is to put things somewhere."""
    demonstration_states: str = "0-14"
    """Initial states that the expert begins from, once each; its successes are the demos."""
    training_states: str = "15-32"
    """Initial states that PPO practises on, and that choose the policy."""
    report_states: str = "33-49"
    """Initial states that judge the policy; nothing else sees them."""
    style: ExpertStyle = field(default_factory=lambda: ExpertStyle(0.2, 0.7, 0.3, 10))
    """How clean the demonstrations are."""
    cloning: BehaviourCloningConfig = field(
        default_factory=lambda: BehaviourCloningConfig(epochs=400, validation_fraction=0.0)
    )
    """How the policy is cloned: of few demonstrations all are learned from, and for long. Where it
    stops on the loss of a held-out one, it succeeds far less often."""
    objects: Literal["all", "interest"] = "interest"
    """Whose poses the state holds: all things', or those that the task's file names."""
    policy_views: tuple[str, ...] = ()
    """Camera roles that the policy reads at every step, beside the state; none: the state alone."""
    policy_size: int = 64
    """Their height and width in pixels."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig((128, 128)))
    """The policy and its critic; with policy_views a transformer in place of an mlp; srpo:
    --network.kind transformer plans --network.chunk actions."""
    algorithm: Literal["ppo", "srpo"] = "ppo"
    """srpo: practise in groups from equal initial states, where failures are paid by how near
    their video came to those of successes; no GRM, no critic."""
    srpo: GroupSettings = field(default_factory=lambda: GroupSettings(group_size=4, std=0.05))
    """srpo: how groups are collected and judged."""
    group_ppo: PPOConfig = field(
        default_factory=lambda: replace(group_ppo(), learning_rate=1e-5, epochs=8)
    )
    """srpo: the learner, in place of ppo."""
    views: tuple[str, ...] = ("front", "wrist")
    """Camera roles that the GRM, or the video encoder of srpo, sees."""
    size: int = 64
    """Their height and width in pixels."""
    stride: int = 10
    """Steps between two camera frames of the reward."""
    attempts: int = 16
    """Attempts of the cloned policy, whose failures the GRM learns from too."""
    grm_iterations: int = 300
    """Training steps of the GRM."""
    num_envs: int = 8
    """Environments, in one worker process per core (1 to 3 GB each)."""
    steps_per_rollout: int = 512
    """Steps of each environment between two updates."""
    minutes: float = 32.0
    """Training ends at the first update after this."""
    total_steps: int = 400_000
    """PPO ends here at the latest; environment steps."""
    evaluate_every_steps: int = 20_480
    """Steps between two evaluations on the training states."""
    ppo: PPOConfig = field(default_factory=fine_tuning)
    """The learner; what it says of the critic alone counts for an mlp only."""
    report_attempts: int = 3
    """Sampled attempts from each report state, beside one of the policy's mean."""
    seed: int = 0
    """Decides noise, split, GRM, initial parameters and every sample."""
    resume: bool = False
    """Go on with what the run folder holds."""

    def __post_init__(self) -> None:
        """Refuse splits that overlap."""
        seen: set[int] = set()
        for text in (self.demonstration_states, self.training_states, self.report_states):
            states = set(parse_seeds(text))
            if seen & states:
                raise RoboError(
                    f"initial states {sorted(seen & states)} are in two of the three splits; "
                    "give each state to one of demonstration, training and report states"
                )
            seen |= states


def main(config: Config) -> None:
    """Run all stages; each is done once."""
    stages = Stages(config)
    collected = stages.do("collect", lambda: collect(config))
    if config.algorithm == "srpo":
        return by_groups(config, stages)
    stages.do("clone", lambda: clone_policy(config))
    before = stages.do("before", lambda: judge(config, config.out / "cloned"))
    attempts = stages.do("attempts", lambda: attempt(config))
    stages.do("fit", lambda: fit(config))
    trained = stages.do("train", lambda: train(config))
    after = stages.do("after", lambda: judge(config, find_policy(config.out)))
    gain = {name: compared(before[name], after[name]) for name in before}
    result = {
        "task": config.task,
        "seed": config.seed,
        "states": {
            "demonstration": config.demonstration_states,
            "training": config.training_states,
            "report": config.report_states,
        },
        **collected,
        **attempts,
        "before": before,
        "after": after,
        "gain": gain,
        "curve": trained["curve"],
        "training": trained,
        "seconds": stages.seconds,
        "total_minutes": sum(stages.seconds.values()) / 60,
    }
    write_json(RunFolder(config.out).result, plain(result))
    print(
        f"{config.task} on {before['mean']['episodes']} unseen initial states: "
        f"{before['mean']['success_rate']:.0%} before, {after['mean']['success_rate']:.0%} after "
        f"{trained['steps']:,} steps (sampled: {before['sampled']['success_rate']:.0%}, "
        f"{after['sampled']['success_rate']:.0%}), {result['total_minutes']:.1f} minutes in all; "
        f"see {config.out}"
    )


def by_groups(config: Config, stages: Stages) -> None:
    """Cloning, video encoder, groups; see launch/srpo_stages.py."""
    from srpo_stages import GroupRun, run_stages

    practise, judged = parse_seeds(config.training_states), parse_seeds(config.report_states)
    options = options_of(config, practise)
    watch = Watch(config.out / "curve.json", config.minutes)
    base = TrainConfig(
        task=config.task,
        options=options,
        num_envs=config.num_envs,
        total_steps=config.total_steps,
        group_size=config.srpo.group_size,
        group_seeds=f"0-{len(practise) - 1}",
        seed=config.seed,
        ppo=config.group_ppo,
        network=seeing(config.network, config.policy_views),
        backend="workers",
        start_from=config.out / "cloned",
        evaluate_every_steps=config.evaluate_every_steps,
        evaluate_seeds=f"0-{len(practise) - 1}",
        checkpoint_every_iterations=5,
    )
    run = GroupRun(
        config.out,
        config.out / "episodes",
        base,
        base.network,
        config.srpo,
        camera(config),
        list(range(config.attempts)),
        list(range(len(judged))),
        lambda count: environments(config, practise, count),
        lambda count: environments(config, judged, count),
        callbacks=(watch,),
        cloning=config.cloning,
    )
    run_stages(run, stages.do)


def options_of(config: Config, states: Sequence[int]) -> dict[str, Any]:
    """Options of environments that begin from ``states`` alone; seed s takes the s-th."""
    views = view_options(config.policy_views, config.policy_size)
    return {"initial_states": list(states), "objects": config.objects, **views}


def environments(config: Config, states: Sequence[int], count: int) -> VectorEnvironment:
    """Up to ``count`` environments that begin from ``states``."""
    count, options = min(count, len(states)), options_of(config, states)
    return robo.make_vec(config.task, count, backend="workers", **options)


def camera(config: Config) -> CameraSchedule:
    """What the GRM, or the video encoder, sees."""
    return CameraSchedule(config.views, config.size, config.size, config.stride)


def collect(config: Config) -> dict[str, Any]:
    """One attempt of the expert from each demonstration state; successes go to the store."""
    shutil.rmtree(config.out / "episodes", ignore_errors=True)  # of an interrupted run
    states = parse_seeds(config.demonstration_states)
    expert = make_expert(config.task, config.style, config.seed)
    columns = seen(config)
    env = environments(replace(config, objects="all"), states, config.num_envs)
    kept = []
    try:
        with EpisodeStore(config.out / "episodes") as store:
            for episode in stream_episodes(env, expert, range(len(states)), camera(config)):
                if episode.success:
                    state = episode.observation["state"][:, columns]
                    observation = {**episode.observation, "state": state}
                    store.append(replace(episode, observation=observation))
                    kept.append(episode.info.initial_state)
    finally:
        env.close()
    if not kept:
        raise RoboError(
            f"the expert of {config.task} succeeded from none of its {len(states)} initial states; "
            "choose another task, or a cleaner --style"
        )
    return {"demonstrations": len(kept), "demonstrated_states": kept, "expert_tries": len(states)}


def seen(config: Config) -> np.ndarray | slice:
    """Which numbers of the whole state (that the expert reads) make up the policy's."""
    if config.objects == "all":
        return slice(None)
    layouts = []
    for objects in ("all", config.objects):
        env: Any = robo.make(config.task, objects=objects)
        layouts.append(env.state_layout)
        env.close()
    whole, part = layouts
    return np.concatenate([np.arange(whole[name].start, whole[name].stop) for name in part])


def clone_policy(config: Config) -> dict[str, Any]:
    """A policy that imitates the demonstrations' actions, in ``out/cloned``."""
    env = robo.make(config.task, **options_of(config, parse_seeds(config.training_states)))
    network = seeing(config.network, config.policy_views)
    policy = make_policy(env.observation_space, env.action_space, network, seed=config.seed)
    env.close()
    with EpisodeStore(config.out / "episodes", mode="r") as store:
        fitted = clone(store, policy, config.cloning, config.seed)
    policy.save(config.out / "cloned")
    return {"policy": str(config.out / "cloned"), **fitted}


def judge(config: Config, folder: Path) -> dict[str, Any]:
    """Success from the report states: once by the policy's mean, and some times sampled."""
    policy, states = load_policy(folder), parse_seeds(config.report_states)
    env = environments(config, states, config.num_envs)
    seeds = range(len(states) * config.report_attempts)
    try:
        scores = {
            "mean": evaluate(policy, env, range(len(states))),
            "sampled": evaluate(policy, env, seeds, deterministic=False, seed=config.seed),
        }
    finally:
        env.close()
    return {
        name: {**score, "interval": list(wilson(score["successes"], score["episodes"]))}
        for name, score in scores.items()
    }


def compared(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Points of success gained, with their interval (Newcombe)."""
    low, high = newcombe(
        after["successes"], after["episodes"], before["successes"], before["episodes"]
    )
    gained = after["success_rate"] - before["success_rate"]
    return {"points": 100 * gained, "interval": [100 * low, 100 * high]}


def attempt(config: Config) -> dict[str, Any]:
    """Failures of the cloned policy from the demonstration states, into a copy of the store."""
    shutil.rmtree(config.out / "seen", ignore_errors=True)
    states = parse_seeds(config.demonstration_states)
    actor = PolicyActor(load_policy(config.out / "cloned"), deterministic=False)
    counts = {"attempts": config.attempts, "attempts_failed": 0, "attempts_labelled": 0}
    with (
        EpisodeStore(config.out / "episodes", mode="r") as demos,
        EpisodeStore(config.out / "seen") as store,
    ):
        for index in range(len(demos)):
            store.append(demos.read(index))
        subtasks = 1 + len(demos.read(0).keyframes)
        if not config.attempts:
            return counts
        env = environments(config, states, config.num_envs)
        try:
            for episode in stream_episodes(env, actor, range(config.attempts), camera(config)):
                counts["attempts_failed"] += not episode.success
                if not episode.success and not moved(episode):
                    store.append(labelled(episode, subtasks))
                    counts["attempts_labelled"] += 1
        finally:
            env.close()
    return counts


def moved(episode: Episode) -> bool:
    """Whether anything came nearer to its target, or went away from it."""
    distances = [value for name, value in episode.signals.items() if name.startswith("distance_")]
    return any(float(np.ptp(distance)) > MOVED for distance in distances)


def labelled(episode: Episode, subtasks: int) -> Episode:
    """A failed reach with the progress that a person would grant it: half a subtask at most."""
    hand = episode.signals["gripper_distance"]
    closest = int(np.argmin(hand)) + 1
    reached = max(0.0, 1.0 - float(hand.min()) / float(hand[0]))
    ceiling = {CEILING_KEY: 0.5 * reached / subtasks, "closest": closest}
    return replace(episode, metadata={**episode.metadata, **ceiling})


def fit(config: Config) -> dict[str, Any]:
    """The GRM, from pixels and keyframes."""
    settings = FitConfig(config.grm_iterations, seed=config.seed, views=config.views)
    return FitGRM(config.out / "seen", settings, out=config.out / "grm").run()


def train(config: Config) -> dict[str, Any]:
    """PPO from the cloned policy; environments, reward and learner as in robo.policies.trainer."""
    states = parse_seeds(config.training_states)
    options = options_of(config, states)
    network, ppo = seeing(config.network, config.policy_views), config.ppo
    if network.kind != "mlp":  # its critic shares layers with the actor
        ppo = replace(ppo, critic_warm_up=0, critic_learning_rate=None)
    settings = TrainConfig(
        task=config.task,
        options=options,
        num_envs=config.num_envs,
        steps_per_rollout=config.steps_per_rollout,
        total_steps=config.total_steps,
        seed=config.seed,
        ppo=ppo,
        network=network,
        reward=RewardConfig(kind="grm", grm=config.out / "grm", stride=config.stride),
        backend="workers",
        start_from=config.out / "cloned",
        evaluate_every_steps=config.evaluate_every_steps,
        evaluate_seeds=f"0-{len(states) - 1}",
        checkpoint_every_iterations=5,
    )
    watch = Watch(config.out / "curve.json", config.minutes)
    trainer = make_trainer(settings, config.out, callbacks=[watch])
    try:
        result = trainer.run(resume=any(RunFolder(config.out).checkpoints.glob("checkpoint-*.pt")))
        watch.note(trainer.last_evaluation)
    finally:
        trainer.close()
    return {**result, "curve": sorted(watch.curve.values(), key=lambda entry: entry["step"])}


if __name__ == "__main__":
    from script import run

    run(main, Config, __doc__)
