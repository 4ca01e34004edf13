"""The configuration of a training run, and the check that its parts fit together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robo.errors import RoboError
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.rewards.config import RewardConfig

if TYPE_CHECKING:
    from robo.policies.asynchronous import EnvironmentGroups
    from robo.rewards.base import Reward
    from robo.sim.contract import VectorEnvironment

NOT_COMPARED = (
    "total_steps",
    "threads",
    "update_threads",
    "backend",
    "device",
    "groups",
    "start_from",
    "stop_success",
    "evaluate_every_steps",
    "evaluate_seeds",
    "evaluate_metric",
    "checkpoint_every_iterations",
    "keep_checkpoints",
)
"""Entries of a configuration that may change when a run is resumed."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    task: str = "mujoco/Lift"
    """Task id; `robo tasks` lists them."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """The simulator's own options, name and value in turn: --options town Town01 stride 5."""
    num_envs: int = 64
    """Environments of all processes together; each owns an equal part."""
    steps_per_rollout: int = 60
    """Steps of each environment between two updates."""
    total_steps: int = 300_000
    """Environment steps, over all environments."""
    group_size: int = 0
    """Episodes from each initial state, in rollouts of whole episodes (for --ppo.advantage group);
    0: episodes as they come, steps_per_rollout steps of each environment."""
    group_seeds: str | None = None
    """Seeds A-B of the groups' initial states; None: new ones, which no evaluation uses."""
    seed: int = 0
    """Decides initial states, initial parameters and every sample."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The learner."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The policy and its critic."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """What the learner maximises."""
    backend: str = "auto"
    """How environments are stepped; "auto" measures and picks."""
    groups: int = 1
    """Groups of each process's environments: with 2, one is simulated while the policy acts for
    the other. Worth it where simulators run in worker processes."""
    collection: Literal["synchronous", "overlapped"] = "synchronous"
    """overlapped: the next rollout is collected, by the policy as it was before the update, while
    this one is scored and learned from."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the policy acts and learns; cuda: each process on a GPU of its own. Small networks on
    states are faster on a CPU."""
    threads: int = 1
    """Threads of torch and BLAS; 1 is fastest for small networks."""
    update_threads: int | None = None
    """Threads during updates, while simulators rest: as many as cores pay off for convolutions;
    None: as threads."""
    start_from: Path | None = None
    """Policy or run folder whose policy is the start (a cloned one, say); None: from scratch."""
    evaluate_every_steps: int = 40_000
    """Steps between two evaluations; 0 never evaluates."""
    evaluate_seeds: str = "9000-9049"
    """Seeds A-B that select and stop the run; report others."""
    evaluate_metric: str = "success"
    """What chooses the best policy: "success" (ties by return), "return", or a signal's name, by
    its mean value at the end of episodes."""
    stop_success: float | None = None
    """Stop once an evaluation reaches this success rate, 0 ... 1."""
    checkpoint_every_iterations: int = 10
    """Iterations between two checkpoints."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        names = ("num_envs", "steps_per_rollout", "total_steps", "checkpoint_every_iterations")
        for name in (*names, "groups", "threads", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise RoboError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.update_threads is not None and self.update_threads < 1:
            raise RoboError(f"update_threads is {self.update_threads}, expected at least 1")
        if (self.group_size > 0) != (self.ppo.advantage == "group"):
            raise RoboError(
                f"group_size is {self.group_size} with --ppo.advantage {self.ppo.advantage}; "
                "rollouts in groups and group advantages go together: set both or neither"
            )
        if self.network.chunk > 1 and not self.group_size:
            raise RoboError(
                "chunks of actions are learned in groups of whole episodes: set --group-size and "
                "--ppo.advantage group"
            )
        if self.network.kind == "vla" and self.ppo.normalise_observation:
            raise RoboError(
                "a vision-language-action model reads images as they are: set "
                "--ppo.no-normalise-observation"
            )
        if self.network.kind == "vla" and not self.group_size:
            raise RoboError(
                "a vision-language-action model has no critic: set --group-size and "
                "--ppo.advantage group"
            )
        if self.group_size and (self.groups > 1 or self.collection == "overlapped"):
            raise RoboError("group_size needs --groups 1 and --collection synchronous")
        if self.seed < 0:
            raise RoboError(f"seed is {self.seed}, expected at least 0")
        check_options(self.options)
        if self.stop_success is not None and not 0 <= self.stop_success <= 1:
            raise RoboError(
                f"stop_success is {self.stop_success}, expected a success rate from 0 to 1"
            )


def check_options(options: dict[str, Any]) -> None:
    """Refuse options of a simulator that were not written as name and value.

    Raises:
        RoboError: naming the entry.
    """
    for name in options:
        if "=" in name:
            raise RoboError(
                f"--options got {name!r}; expected a name and a value with a space between them, "
                f"such as --options {name.replace('=', ' ', 1)}"
            )


def lift_ppo() -> PPOConfig:
    """PPO for the embedded MuJoCo tasks from scratch: 64 environments x 60 steps, 100 k steps.

    With the "keep" time-out rule, which needs the time in the observation (they have it).
    """
    return PPOConfig(
        learning_rate=7e-4,
        epochs=6,
        minibatch_size=512,
        gamma=0.99,
        gae_lambda=0.95,
        target_kl=0.04,
        timeout="keep",
    )


def lift_network() -> NetworkConfig:
    """The network that goes with :func:`lift_ppo`."""
    return NetworkConfig(hidden=(64, 64), activation="tanh", initial_std=0.6)


def check_parts(
    config: TrainConfig, env: VectorEnvironment | EnvironmentGroups, reward: Reward, count: int
) -> None:
    """Refuse a reward that assumes another learner or reads what the environment lacks.

    ``count`` is how many of the run's environments this process owns.

    Raises:
        RoboError: naming both values.
    """
    for name in ("gamma", "timeout"):
        wanted, learner = getattr(reward, name), getattr(config.ppo, name)
        if wanted is not None and wanted != learner:
            raise RoboError(
                f"the reward assumes {name} {wanted} but PPO has {name} {learner}; shaping is "
                f"exact only where both are equal, set --ppo.{name} {wanted}"
            )
    missing = [signal for signal in reward.signals if signal not in env.signal_names]
    if missing:
        raise RoboError(
            f"the reward reads signals {missing} that {env.task} does not give (it gives "
            f"{list(env.signal_names)}); choose another --reward.kind or task"
        )
    if reward.camera is not None:
        views = [view for view in reward.camera.views if view not in env.cameras]
        if views:
            raise RoboError(
                f"the reward wants camera views {views} that {env.task} does not have (it has "
                f"{list(env.cameras)}); choose other views or another task"
            )
    metric = config.evaluate_metric
    if metric not in ("success", "return", *env.signal_names):
        raise RoboError(
            f"evaluate_metric is {metric!r}; expected success, return, or a signal of {env.task} "
            f"({', '.join(env.signal_names) or 'it gives none'})"
        )
    if config.group_size and reward.critic_feature_dim:
        raise RoboError(
            f"--reward.kind {config.reward.kind} gives a critic what it must know, but group "
            "advantages have no critic: choose --reward.kind srpo or success"
        )
    if env.num_envs != count:
        raise RoboError(
            f"num_envs is {config.num_envs} but the environment has {env.num_envs} where this "
            f"process owns {count}; make both equal"
        )
