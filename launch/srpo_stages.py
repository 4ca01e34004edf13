"""The stages of `--algorithm srpo` that the launch scripts share.

Demonstrations, a cloned policy, a video encoder, training in groups, and the policy before and
after on initial states that nothing else has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robo.assess.statistics import newcombe, wilson
from robo.policies.behaviour_cloning import BehaviourCloningConfig
from robo.policies.evaluate import evaluate
from robo.policies.launcher import ProcessConfig, run_in_processes, train_rank
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import load_policy
from robo.policies.run_folder import RunFolder, find_policy
from robo.policies.srpo_presets import GroupSettings
from robo.policies.srpo_training import clone_for_groups, encoder_for_groups, group_train_config
from robo.policies.train_config import TrainConfig
from robo.rollout import CameraSchedule
from robo.sim.contract import VectorEnvironment
from robo.storage import plain, write_json


@dataclass(frozen=True)
class GroupRun:
    """One run of a launch script by groups."""

    out: Path
    """Run folder."""
    store: Path
    """Demonstrations with frames."""
    base: TrainConfig
    """Task, sizes, learner; its reward and start are filled in here."""
    network: NetworkConfig
    """The policy."""
    settings: GroupSettings
    """How groups are collected and judged."""
    camera: CameraSchedule
    """Frames of the reward."""
    attempts: list[int]
    """Seeds of the cloned policy's attempts, which the encoder learns from too."""
    report: list[int]
    """Seeds that judge the policy; nothing else uses them."""
    practise: Callable[[int], VectorEnvironment]
    """Environments for training and attempts, by their number."""
    judge: Callable[[int], VectorEnvironment]
    """Environments of the report."""
    processes: ProcessConfig = field(default_factory=ProcessConfig)
    """Processes and machines that train."""
    callbacks: tuple[Any, ...] = ()
    """Of the training; see :class:`robo.policies.trainer.Callback`."""
    cloning: BehaviourCloningConfig | None = None
    """How the policy is cloned; None: as :func:`clone_for_groups` does."""


Do = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]


def run_stages(run: GroupRun, do: Do) -> dict[str, Any]:
    """Do every stage once by ``do(name, work)``; writes and returns the result."""
    do("clone", lambda: _clone(run))
    before = do("before", lambda: _judge(run, run.out / "cloned"))
    fitted = do("encoder", lambda: _encoder(run))
    trained = do("train", lambda: _train(run, fitted["encoder"]))
    after = do("after", lambda: _judge(run, find_policy(run.out)))
    low, high = newcombe(
        after["successes"], after["episodes"], before["successes"], before["episodes"]
    )
    gain = after["success_rate"] - before["success_rate"]
    result = {
        "algorithm": "srpo" if run.settings.progress else "binary reward in groups",
        "task": run.base.task,
        "seed": run.base.seed,
        "before": before,
        "after": after,
        "success": after["success_rate"],
        "gain": {"points": 100 * gain, "interval": [100 * low, 100 * high]},
        "encoder": fitted,
        "training": trained,
    }
    write_json(RunFolder(run.out).result, plain(result))
    print(
        f"{run.base.task} in groups of {run.base.group_size}: "
        f"{before['success_rate']:.0%} before, {after['success_rate']:.0%} after "
        f"{trained['steps']:,} steps, of {after['episodes']} unseen initial states; see {run.out}"
    )
    return result


def _clone(run: GroupRun) -> dict[str, Any]:
    env = run.practise(1)
    try:
        parts = (run.settings, run.base.seed, run.out / "cloned", run.cloning)
        return clone_for_groups(run.store, env, run.network, *parts)
    finally:
        env.close()


def _encoder(run: GroupRun) -> dict[str, Any]:
    env = run.practise(min(run.base.num_envs, max(len(run.attempts), 1)))
    policy, out = run.out / "cloned", run.out / "video-encoder"
    try:
        return encoder_for_groups(
            run.store, env, policy, run.settings, run.camera, run.attempts, run.base.seed, out
        )
    finally:
        env.close()


def _train(run: GroupRun, encoder: str) -> dict[str, Any]:
    config = group_train_config(run.settings, run.base, encoder, run.store, run.camera)
    resume = any(RunFolder(run.out).checkpoints.glob("checkpoint-*.pt"))
    arguments = (config, run.out, resume, True, run.callbacks)
    if run.processes.several:
        return run_in_processes(run.processes, train_rank, *arguments)
    return train_rank(*arguments)


def _judge(run: GroupRun, folder: Path) -> dict[str, Any]:
    env = run.judge(min(run.base.num_envs, len(run.report)))
    try:
        score = evaluate(load_policy(folder), env, run.report)
    finally:
        env.close()
    return {**score, "interval": list(wilson(score["successes"], score["episodes"]))}
