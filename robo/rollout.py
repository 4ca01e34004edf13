"""The data that every part of robo passes on: rollouts, camera frames, episodes, reward terms.

A :class:`Rollout` holds T steps of N environments, time first. Index ``t`` of action, reward,
done, success and signals describes the step s_t -> s_{t+1}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError

if TYPE_CHECKING:  # worker processes and command lines read this module, and start without torch
    from torch import Tensor

CAMERA_ROLES = (
    "front",
    "side",
    "wrist",
    "left_wrist",
    "right_wrist",
    "bird",
    "left",
    "right",
    "rear",
)


LONGEST_SIDE = 8192
"""Pixels of a rendered picture's longest side."""


@dataclass(frozen=True)
class CameraSchedule:
    """Which camera frames a reward wants, and how often."""

    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles, from ``CAMERA_ROLES``."""
    height: int = 64
    """Image height in pixels."""
    width: int = 64
    """Image width in pixels."""
    stride: int = 5
    """Steps between two frames, counted from the episode's start; first and last always come."""

    def __post_init__(self) -> None:
        """Refuse an empty or unknown schedule.

        Raises:
            RoboError: where a view is no camera role, a number is below 1, or a side is longer
                than :data:`LONGEST_SIDE`.
        """
        unknown = [view for view in self.views if view not in CAMERA_ROLES]
        if not self.views or unknown:
            raise RoboError(
                f"camera views {list(self.views)} must be one or more of {list(CAMERA_ROLES)}; "
                "`robo data import --views ROLE=VIEW` gives an imported view such a role"
            )
        if min(self.height, self.width, self.stride) < 1:
            raise RoboError(
                f"camera height {self.height}, width {self.width} and stride {self.stride} "
                "must each be at least 1"
            )
        if max(self.height, self.width) > LONGEST_SIDE:
            raise RoboError(
                f"camera height {self.height} and width {self.width} must each be at most "
                f"{LONGEST_SIDE} pixels, the largest picture that renderers draw; ask for fewer"
            )


@dataclass
class Frames:
    """Camera frames as rows, not a dense tensor.

    A row with step t shows s_t, t = 0 ... T. An episode's last row (``final``) shows the state
    in which it ended; the reset row of the next episode may share its step and env, and differs
    by episode. Rows are sorted by (step, env, not final).
    """

    views: dict[str, Tensor]
    """Camera role to uint8 ``[M, H, W, 3]``."""
    step: Tensor
    """int64 ``[M]``, 0 ... T."""
    env: Tensor
    """int64 ``[M]``, 0 ... N-1."""
    episode: Tensor
    """int64 ``[M]``, the unique episode id."""
    final: Tensor
    """bool ``[M]``, the state in which the episode ended."""

    def __len__(self) -> int:
        """Number of rows M."""
        return int(self.step.shape[0])

    def rows(self, index: Tensor) -> Frames:
        """The rows at ``index`` (int64 or bool ``[M]``)."""
        return Frames(
            {name: image[index] for name, image in self.views.items()},
            self.step[index],
            self.env[index],
            self.episode[index],
            self.final[index],
        )


@dataclass(frozen=True)
class EpisodeInfo:
    """What identifies an episode, known when it starts."""

    task: str
    """Registry id, such as ``mujoco/Lift``."""
    instruction: str = ""
    """The task in words."""
    initial_state: int | None = None
    """Index of the initial state in the task's list; None where the seed alone decides."""
    group: int | None = None
    """Episodes that share task and initial state on purpose (SRPO) share a group."""
    seed: int | None = None
    """Seed from which this episode's initial state was drawn."""


@dataclass
class FinalObservation:
    """Observations of the states in which episodes ended inside a rollout, K rows."""

    observation: dict[str, Tensor]
    """Key to ``[K, ...]``."""
    step: Tensor
    """int64 ``[K]``: index t of the ending step s_t -> s_{t+1}; the row shows s_{t+1}."""
    env: Tensor
    """int64 ``[K]``."""


@dataclass
class Rollout:
    """T steps of N environments."""

    observation: dict[str, Tensor]
    """Policy inputs, key to ``[T, N, ...]``."""
    last_observation: dict[str, Tensor]
    """Key to ``[N, ...]``: s_T, the state after the last step (after autoreset)."""
    final_observation: FinalObservation
    """States in which episodes ended; never the reset observation."""
    action: Tensor
    """``[T, N, A]`` float32, or int64 ``[T, N]`` for discrete actions."""
    log_prob: Tensor
    """float32 ``[T, N]``, of ``action`` under the policy that acted."""
    env_reward: Tensor
    """float32 ``[T, N]``, the environment's own reward."""
    terminated: Tensor
    """bool ``[T, N]``; excludes ``truncated``."""
    truncated: Tensor
    """bool ``[T, N]``, a time-out."""
    success: Tensor
    """bool ``[T, N]``, the step on which the task was solved (which ends the episode)."""
    episode: Tensor
    """int64 ``[T, N]``, unique id of the episode that the step belongs to."""
    episodes: dict[int, EpisodeInfo]
    """Id to information, for every id in ``episode`` and ``frames.episode``."""
    signals: dict[str, Tensor] = field(default_factory=dict)
    """Named numbers, float32 ``[T, N]``, that rule-based rewards read."""
    frames: Frames | None = None
    """Camera frames, or None where no reward asked for any."""
    value: Tensor | None = None
    """float32 ``[T, N]``; None until the learner has evaluated its critic."""
    valid: Tensor | None = None
    """bool ``[T, N]``; None means that every slot is valid."""

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return int(self.env_reward.shape[0]), int(self.env_reward.shape[1])

    @property
    def done(self) -> Tensor:
        """Bool ``[T, N]``, the episode ended with this step."""
        return self.terminated | self.truncated

    def check(self) -> Rollout:
        """Return self if shapes and invariants hold.

        Raises:
            ValueError: with one sentence that names the field that is off.
        """
        steps, envs = self.shape
        for name in ("log_prob", "terminated", "truncated", "success", "episode"):
            if tuple(getattr(self, name).shape) != (steps, envs):
                got = tuple(getattr(self, name).shape)
                raise ValueError(f"rollout.{name} has shape {got}, expected {(steps, envs)}")
        for name, signal in self.signals.items():
            if tuple(signal.shape) != (steps, envs):
                raise ValueError(
                    f"rollout.signals[{name!r}] has shape {tuple(signal.shape)}, "
                    f"expected {(steps, envs)}"
                )
        if bool((self.terminated & self.truncated).any()):
            raise ValueError("rollout.terminated and rollout.truncated are both true on a step")
        ended = int(self.done.sum())
        if int(self.final_observation.step.shape[0]) != ended:
            raise ValueError(
                f"rollout.final_observation has {int(self.final_observation.step.shape[0])} rows "
                f"but {ended} episodes ended"
            )
        return self

    def of_next_state(self, at_state: Tensor, at_final: Tensor) -> Tensor:
        """Quantities of the true next states.

        Args:
            at_state: ``[T+1, N]``, of s_0 ... s_T (after autoreset).
            at_final: ``[K]``, of the rows of ``final_observation``.

        Returns:
            ``[T, N]``: row t+1 of ``at_state``, or the final row's at an episode's end.
        """
        following = at_state[1:].clone()
        final = self.final_observation
        following[final.step, final.env] = at_final.to(following.dtype)
        return following


@dataclass
class RewardTerms:
    """What a reward returns for one rollout."""

    total: Tensor
    """float32 ``[T, N]``, what the learner maximises."""
    terms: dict[str, Tensor]
    """Every named part, ``[T, N]`` each; all are logged."""
    critic_features: Tensor | None = None
    """float32 ``[T+1, N, C]``: what the critic (not the actor) must know of s_0 ... s_T."""
    final_critic_features: Tensor | None = None
    """float32 ``[K, C]``: the same for the rows of ``final_observation``."""


@dataclass
class Episode:
    """One whole episode of L steps, as stored and scored. Arrays hold L+1 states, L steps."""

    info: EpisodeInfo
    observation: dict[str, Any]
    """Key to numpy ``[L+1, ...]``, s_0 ... s_L."""
    action: Any
    """numpy ``[L, ...]``."""
    reward: Any
    """numpy float32 ``[L]``, the environment's own."""
    success: bool
    """Whether the task was solved."""
    terminated: bool
    """Ended by success or failure; False for a time-out."""
    signals: dict[str, Any] = field(default_factory=dict)
    """Name to numpy float32 ``[L]``."""
    frames: dict[str, Any] = field(default_factory=dict)
    """Camera role to numpy uint8 ``[F, H, W, 3]``."""
    frame_step: Any = None
    """numpy int64 ``[F]``: the state index, 0 ... L, that each frame row shows."""
    keyframes: Mapping[str, int] = field(default_factory=dict)
    """Name of a subtask's end to state index, in order (0 and the last state not included)."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON values: versions, rendering profile, what acted."""

    def __len__(self) -> int:
        """Number of steps L."""
        return len(self.action)


def concatenate_frames(parts: list[Frames]) -> Frames | None:
    """Rows of several parts, sorted by (step, env, not final); None for an empty list."""
    import torch

    if not parts:
        return None
    joined = Frames(
        {name: torch.cat([part.views[name] for part in parts]) for name in parts[0].views},
        torch.cat([part.step for part in parts]),
        torch.cat([part.env for part in parts]),
        torch.cat([part.episode for part in parts]),
        torch.cat([part.final for part in parts]),
    )
    width = int(joined.env.max()) + 1 if len(joined) else 1
    order = torch.argsort(
        (joined.step * width + joined.env) * 2 + (~joined.final).long(), stable=True
    )
    return joined.rows(order)
