"""From a command line's reward settings to a reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.refresh_config import RefreshConfig
from robo.rewards.language_config import LanguageGoalConfig
from robo.rewards.srpo_config import SRPOConfig

if TYPE_CHECKING:
    from robo.rewards.base import Reward
    from robo.rewards.potential import Potential
    from robo.rewards.shaping import ShapedReward, TimeoutRule


LANGUAGE_KINDS = ("language_goal", "vlm_sr", "roboclip", "vlm_rm", "lord", "lord_speed")
"""Kinds that compare frames with sentences."""


class RewardConfigError(RoboError):
    """Reward settings that contradict each other or are out of range."""


@dataclass(frozen=True)
class RewardConfig:
    """Which reward a policy learns from."""

    kind: Literal[
        "environment",
        "success",
        "grm",
        "srpo",
        "route_completion",
        "roach",
        "additive",
        "nuplan",
        "language_goal",
        "vlm_sr",
        "roboclip",
        "vlm_rm",
        "lord",
        "lord_speed",
        "tirl",
        "chatscene",
        "revolve",
        "chen",
        "asap",
        "composed",
    ] = "environment"
    """The environment's own reward, its sparse success, success shaped by a GRM; for driving
    CaRL's route completion, and Roach's, CaRL's additive and nuPlan's to compare with; VLM-RL's
    language goal, and from vlm_sr on the rewards that it is compared with; composed, any reward
    by a line of text."""
    composed: str = ""
    """Kind composed: wrappers around others, such as delta(raw:progress); see docs/assess.md."""
    grm: Path | None = None
    """Folder of a fitted GRM (robo fit grm); needed by kind grm only."""
    grm_task: str | None = None
    """Task whose START and GOAL a GRM of several tasks compares with; None: the task trained on."""
    refresh_store: Path | None = None
    """Episodes that the GRM was fitted on: it is then refreshed in training with the policy's own
    frames, against exploitation of its flaws; None leaves it frozen."""
    refresh_held_out: Path | None = None
    """Other demonstrations of the task, on which the GRM was not fitted: they judge every refreshed
    model. None keeps a share of --reward.refresh-store for that, on which a GRM that was fitted on
    all of it has an advantage, so that good refreshes are refused."""
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    """When and how it is refreshed."""
    mode: Literal["backward", "forward", "incremental", "mean", "consistent"] = "backward"
    """Anchor of the GRM's hops: the goal, the start, the previous frame, or a fusion of all."""
    stride: int = 5
    """Steps between two camera frames, counted from the episode's start."""
    weight: float = 1.0
    """Multiplies the potential, never the gold reward."""
    gold: Literal["success", "grm", "person"] = "success"
    """What shaping is added to: the simulator's success, the GRM's own threshold, or what a person
    at the terminal says of every ended episode (which is then its label in a refresh too)."""
    person_picture: Path = Path("runs/judge.png")
    """With gold person: file that shows the end of the episode asked about."""
    gold_threshold: float = 0.05
    """With gold grm: solved where the potential reaches 1 minus this."""
    device: str = "cpu"
    """Torch device on which a model scores frames."""
    nuplan: Literal["regular", "survival", "weighted"] = "regular"
    """Which of CaRL's nuPlan rewards; kind nuplan only."""
    language: LanguageGoalConfig = field(default_factory=LanguageGoalConfig)
    """Goals in words; kinds language_goal, vlm_sr, roboclip, vlm_rm, lord and lord_speed."""
    srpo: SRPOConfig = field(default_factory=SRPOConfig)
    """Kind srpo: failures paid by how near their videos came to those of successes."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.refresh_held_out is not None and self.refresh_store is None:
            raise RewardConfigError(
                f"refresh_held_out is {self.refresh_held_out}, but nothing is refreshed: give "
                "--reward.refresh-store too"
            )
        if self.stride < 1:
            raise RewardConfigError(f"reward stride is {self.stride}, expected at least 1")
        if not self.weight >= 0:
            raise RewardConfigError(f"reward weight is {self.weight}, expected at least 0")
        if not 0 <= self.gold_threshold < 1:
            raise RewardConfigError(
                f"reward gold_threshold is {self.gold_threshold}, expected a value in [0, 1)"
            )


def make_reward(
    config: RewardConfig,
    gamma: float,
    timeout: TimeoutRule,
    gather: Callable[[Any], list[Any]] | None = None,
    rank: int = 0,
) -> Reward:
    """Build the reward that a configuration names.

    Args:
        config: reward settings.
        gamma: the learner's discount.
        timeout: the learner's time-out rule, "bootstrap" or "keep".
        gather: the values of all ranks on every rank, for rewards that judge rollouts by each
            other; None in a run of one process.
        rank: which of them is this one's.

    Returns:
        The reward; its ``camera`` is the schedule that the environment must render.

    Raises:
        RewardConfigError: kind grm without a folder, or one that is refreshed or gold of a person
            in a run of several processes (inside kind composed too), or see :func:`shape`.
        CheckpointError: the GRM's folder, or the image-text model, does not exist or cannot be
            loaded.
        LanguageGoalError: goals in words that contradict each other.
    """
    from robo.rewards.success import EnvironmentReward, SuccessReward

    if config.kind == "environment":
        return EnvironmentReward()
    if config.kind == "success":
        return SuccessReward()
    if config.kind in LANGUAGE_KINDS:
        return _language_reward(config)
    if config.kind == "srpo":
        from robo.rewards.srpo_reward import make_srpo_reward

        return make_srpo_reward(config.srpo, config.stride, config.device, gather, rank)
    if config.kind == "composed":
        from robo.rewards.spec import reward_from_spec

        return reward_from_spec(config.composed, gamma, timeout, config.stride, gather, rank)
    if config.kind != "grm":
        return _driving_reward(config)
    return _grm_reward(config, gamma, timeout, 1 if gather is None else len(gather(rank)))


def _grm_reward(config: RewardConfig, gamma: float, timeout: TimeoutRule, ranks: int) -> Reward:
    """The gold reward, shaped by a GRM; ``ranks`` processes learn from it.

    Raises:
        RewardConfigError, CheckpointError: see :func:`make_reward`.
    """
    if config.grm is None:
        raise RewardConfigError(
            "reward kind is 'grm' but no GRM folder is given: fit one with `robo fit grm` and "
            "name its folder"
        )
    if not Path(config.grm).is_dir():
        raise CheckpointError(
            f"the GRM folder {config.grm} does not exist: fit one with `robo fit grm`"
        )
    if ranks > 1 and (config.refresh_store is not None or config.gold == "person"):
        raise RewardConfigError(
            f"the run has {ranks} processes, but a GRM is refreshed, and a person is asked, in one "
            "only: each would learn from other episodes; use one process, or a frozen GRM and gold "
            "success"
        )
    if config.refresh_store is not None:
        return shape(config, _refreshed(config), gamma, timeout)
    from robo.rewards.grm.potential import GRMPotential

    potential = GRMPotential.load(
        Path(config.grm),
        mode=config.mode,
        stride=config.stride,
        device=config.device,
        task=config.grm_task,
    )
    return shape(config, potential, gamma, timeout)


def _language_reward(config: RewardConfig) -> Reward:
    from robo.rewards.language_baselines import FrameBaselineReward
    from robo.rewards.language_goal import LanguageGoalReward

    arguments = (config.language, config.stride, config.device)
    if config.kind == "language_goal":
        return LanguageGoalReward(*arguments)
    return FrameBaselineReward(config.kind, *arguments)  # type: ignore[arg-type]


def _refreshed(config: RewardConfig) -> Potential:
    """The potential of a GRM that is refreshed in training.

    Raises:
        RewardConfigError: a GRM of another kind than the compact one.
    """
    from robo.data import open_store
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.folder import load_model
    from robo.rewards.grm.refresh import RefreshedPotential

    assert config.grm is not None and config.refresh_store is not None
    grm = load_model(config.grm, config.device)
    if not isinstance(grm, CompactGRM):
        raise RewardConfigError(
            f"{config.grm} holds no compact GRM; only that is refreshed in training: leave "
            "--reward.refresh-store out"
        )
    if config.grm_task is not None:
        grm = grm.for_task(config.grm_task)
    held_out = None if config.refresh_held_out is None else open_store(config.refresh_held_out)
    return RefreshedPotential(
        grm,
        open_store(config.refresh_store),
        config.mode,
        config.stride,
        config.refresh,
        device=config.device,
        held_out=held_out,
    )


def _driving_reward(config: RewardConfig) -> Reward:
    from robo.rewards import driving_handmade as handmade
    from robo.rewards.driving import AdditiveReward, NuplanConfig, NuplanReward, RoachReward
    from robo.rewards.route_completion import RouteCompletionReward

    if config.kind == "nuplan":
        return NuplanReward(NuplanConfig(config.nuplan))
    kinds = {
        "route_completion": RouteCompletionReward,
        "roach": RoachReward,
        "additive": AdditiveReward,
        "tirl": handmade.TirlReward,
        "chatscene": handmade.chatscene,
        "revolve": handmade.RevolveReward,
        "chen": handmade.chen,
        "asap": handmade.AsapReward,
    }
    return kinds[config.kind]()


def shape(
    config: RewardConfig, potential: Potential, gamma: float, timeout: TimeoutRule
) -> ShapedReward:
    """Shape the configured gold reward by any potential.

    Args:
        config: reads ``gold``, ``gold_threshold``, ``person_picture`` and ``weight``.
        potential: potential in [0, 1].
        gamma: the learner's discount.
        timeout: the learner's time-out rule.

    Returns:
        The shaped reward.

    Raises:
        RewardConfigError: under "keep" a weight above 1, with which a failure could pay more
            than a success.
        ShapingError: gamma or timeout is out of range.
    """
    from robo.rewards.potential import SharedPotential
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward
    from robo.rewards.threshold import GRMThresholdReward

    if timeout == "keep" and config.weight > 1:
        raise RewardConfigError(
            f"reward weight is {config.weight}, but the time-out rule 'keep' allows at most 1: "
            "above that, a failure near the goal could pay more than a success"
        )
    if config.gold == "success":
        return ShapedReward(SuccessReward(), potential, gamma, timeout, config.weight)
    if config.gold == "person":
        return _judged_by_person(config, potential, gamma, timeout)
    shared = SharedPotential(potential)
    gold = GRMThresholdReward(shared, config.gold_threshold)
    return ShapedReward(gold, shared, gamma, timeout, config.weight)


def _judged_by_person(
    config: RewardConfig, potential: Potential, gamma: float, timeout: TimeoutRule
) -> ShapedReward:
    """Shape what a person says; a potential that learns from episodes takes the same labels.

    Raises:
        RewardConfigError: a potential without camera frames, of which nothing could be shown.
    """
    from robo.rewards.asking import Person
    from robo.rewards.grm.refresh import RefreshedPotential
    from robo.rewards.judged import JudgedReward
    from robo.rewards.shaping import ShapedReward

    if potential.camera is None:
        raise RewardConfigError(
            "gold is 'person', but the potential reads no camera frames, so that nothing could be "
            "shown; choose gold success"
        )
    gold = JudgedReward(Person(config.person_picture), potential.camera)
    if isinstance(potential, RefreshedPotential):
        potential.outcome = gold.outcome
    return ShapedReward(gold, potential, gamma, timeout, config.weight)
