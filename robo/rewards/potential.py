"""Potentials: what gives every state of a rollout a number in [0, 1], and their plain uses."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch

from robo.rewards.base import Reward
from robo.rewards.holding import (
    PotentialCarry,
    PotentialError,
    PotentialTrack,
    episode_starts,
    hold,
    hold_known,
)
from robo.rollout import CameraSchedule, RewardTerms, Rollout

__all__ = [
    "Potential",
    "PotentialCarry",
    "PotentialError",
    "PotentialReward",
    "PotentialTrack",
    "ProgressDifferenceReward",
    "SharedPotential",
    "SignalPotential",
    "episode_starts",
    "hold",
    "joint_camera",
]


@runtime_checkable
class Potential(Protocol):
    """Anything that gives every state of a rollout a potential in [0, 1]."""

    camera: CameraSchedule | None
    """Frames that it reads; None where it reads none."""
    signals: tuple[str, ...]
    """Names of the rollout's signals that it reads."""
    stride: int
    """Steps between two readings, counted from the episode's start."""

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Potentials of one rollout; call it once per rollout, in order."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What open episodes need: tensors, numbers, strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


class SignalPotential:
    """A potential read from a signal of the simulator, sampled like camera frames.

    An upper bound for tests and benchmarks only: the signal is the simulator's true progress,
    which no reward of a real task may read. Sampled every ``stride`` steps since the episode's
    start and at its end, held in between, 0 at an episode's start.
    """

    camera: CameraSchedule | None = None

    def __init__(self, signal: str = "progress", stride: int = 1) -> None:
        """Read ``signal`` (values in [0, 1]; index t describes s_{t+1}) every ``stride`` steps.

        Raises:
            PotentialError: stride is below 1.
        """
        if stride < 1:
            raise PotentialError(f"stride is {stride}, expected at least 1")
        self.signal = signal
        self.signals: tuple[str, ...] = (signal,)
        self.stride = stride
        self._carry: PotentialCarry | None = None

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Potentials of one rollout.

        Raises:
            PotentialError: the rollout lacks the signal.
        """
        if self.signal not in rollout.signals:
            raise PotentialError(
                f"the rollout has no signal {self.signal!r}, only {sorted(rollout.signals)}: "
                "choose one of these or another task"
            )
        reading = rollout.signals[self.signal]
        starts = episode_starts(rollout, None if self._carry is None else self._carry.episode)
        time = torch.arange(starts.shape[0], device=starts.device)[:, None].expand(starts.shape)
        begun = torch.where(starts, time, torch.zeros_like(time)).cummax(dim=0).values
        elapsed = time - begun
        if self._carry is not None:
            # A held age equals the steps since the start, up to whole strides.
            continued = starts.cumsum(dim=0) == 0
            elapsed = elapsed + continued * self._carry.age.to(elapsed)
        unknown = torch.full_like(reading, torch.nan)
        due = (elapsed[1:] % self.stride == 0) & ~starts[1:]
        known = torch.cat((unknown[:1], torch.where(due, reading, unknown)))
        ended = rollout.done
        opened = torch.where(ended[-1], -torch.ones_like(rollout.episode[-1]), rollout.episode[-1])
        known_final = torch.where(ended, reading, unknown)
        track, self._carry = hold_known(rollout, known, known_final, opened, self._carry)
        return track

    def state_dict(self) -> dict[str, Any]:
        """Held potentials of the open episodes; empty before the first rollout."""
        return {} if self._carry is None else dict(self._carry.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._carry = PotentialCarry.from_state_dict(state) if state else None


class SharedPotential:
    """One evaluation per rollout for several rewards that read the same potential."""

    def __init__(self, potential: Potential) -> None:
        """Share ``potential``; only this object may call it from now on."""
        self.potential = potential
        self.camera = potential.camera
        self.signals = potential.signals
        self.stride = potential.stride
        self._seen: weakref.ref[Rollout] | None = None
        self._track: PotentialTrack | None = None

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Potentials of one rollout: computed at the first call, repeated at the next ones."""
        if self._track is None or self._seen is None or self._seen() is not rollout:
            self._track = self.potential(rollout)
            self._seen = weakref.ref(rollout)
        return self._track

    def state_dict(self) -> dict[str, Any]:
        """State of the shared potential."""
        return self.potential.state_dict()

    @property
    def counts(self) -> dict[str, int]:
        """Of the shared potential."""
        return dict(getattr(self.potential, "counts", {}))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._seen = self._track = None
        self.potential.load_state_dict(state)


class PotentialReward:
    """A gold reward and a potential side by side: what rewards made of the two have in common."""

    def __init__(self, gold: Reward, potential: Potential) -> None:
        """Take over both.

        Raises:
            PotentialError: gold and potential want different camera schedules.
        """
        self.gold = gold
        self.potential = potential
        self.camera = joint_camera(gold, potential)
        self.signals = tuple(dict.fromkeys((*gold.signals, *potential.signals)))
        self.critic_feature_dim = 2 + gold.critic_feature_dim

    def add(
        self,
        rollout: Rollout,
        name: str,
        bonus: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> RewardTerms:
        """Gold plus ``bonus``.

        Args:
            rollout: T steps of N environments.
            name: of the term.
            bonus: potentials of s_t and of the true next state, ``[T, N]`` each, to its value;
                0 counts in slots that are not valid.

        Returns:
            ``terms``: gold's own, the bonus, and ``potential``, the held potential at s_t, for
            the log only. Critic features: the held potential, the steps since its frame over
            the stride, then the gold reward's own.
        """
        track = self.potential(rollout)
        gold = self.gold(rollout)
        held = track.at_state[:-1]
        value = bonus(held, track.of_next_state(rollout))
        if rollout.valid is not None:
            value = torch.where(rollout.valid, value, torch.zeros_like(value))
        features, final_features = track.critic_features(self.potential.stride)
        if gold.critic_features is not None and gold.final_critic_features is not None:
            features = torch.cat((features, gold.critic_features), dim=-1)
            final_features = torch.cat((final_features, gold.final_critic_features), dim=-1)
        terms = {**gold.terms, name: value, "potential": held}
        return RewardTerms(gold.total + value, terms, features, final_features)

    @property
    def counts(self) -> dict[str, int]:
        """What both count of themselves (rows scored, invalid answers, verdicts), for the log."""
        return {**getattr(self.gold, "counts", {}), **getattr(self.potential, "counts", {})}

    def state_dict(self) -> dict[str, Any]:
        """State of the gold reward and of the potential."""
        return {"gold": self.gold.state_dict(), "potential": self.potential.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.gold.load_state_dict(state["gold"])
        self.potential.load_state_dict(state["potential"])


class ProgressDifferenceReward(PotentialReward):
    """Baseline: gold plus the plain difference of potentials, NOT policy-invariant.

    Every step pays gold + potential' - potential, without gamma and without a terminal rule, as
    many reward models are used. The discounted sum pays for *staying* at high progress, so the
    optimal policy may change (the "semantic trap" of arXiv 2512.23703, appendix A). For
    comparisons only; use :class:`robo.rewards.shaping.ShapedReward`.
    """

    gamma: float | None = None
    timeout: str | None = None

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step; terms: gold's, ``difference`` and ``potential`` (of s_t)."""
        return self.add(rollout, "difference", lambda held, following: following - held)


def joint_camera(gold: Reward, potential: Potential) -> CameraSchedule | None:
    """The camera schedule that serves a gold reward and a potential at once.

    Raises:
        PotentialError: both read frames, by different schedules.
    """
    if gold.camera is not None and potential.camera is not None:
        if gold.camera != potential.camera:
            raise PotentialError(
                f"the gold reward wants frames by {gold.camera} and the potential by "
                f"{potential.camera}: give both the same schedule"
            )
        return gold.camera
    return gold.camera or potential.camera
