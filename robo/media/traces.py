"""What a reward said about one episode, as a reward video shows it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.media.events import Event, HopTrack, episode_events
from robo.media.video import VideoError
from robo.rollout import Episode


@dataclass
class RewardTrace:
    """What a reward said about one episode of L steps."""

    total: np.ndarray
    """``[L]``, the reward of each step."""
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    """Name to ``[L]``: every named part. Those that add up to the total are stacked as bars, the
    others are drawn as lines; none is left out."""
    progress: np.ndarray | None = None
    """``[L+1]`` in 0 ... 1, of every state; None shows the return so far in its place."""
    success: bool = False
    """Whether the task was solved, with the last step."""
    instruction: str = ""
    """The task in words; empty takes the episode's."""
    title: str = ""
    """One line above the instruction, such as reward and task; empty takes the task's id."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Name to a value in 0 ... 1, a dashed line across the progress."""
    progress_name: str = "progress"
    """What the progress is called in the plot."""
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    """Name to ``[L+1]``: more numbers of the states, drawn beside the progress."""
    hops: HopTrack | None = None
    """Hops at frame rows, marked on the progress by triangles."""
    events: list[Event] = field(default_factory=list)
    """What is marked in time: infractions, ends of subtasks, success."""

    def check(self, steps: int) -> RewardTrace:
        """Return self if all parts fit an episode of ``steps`` steps.

        Raises:
            VideoError: naming the part whose length is off or that holds NaN or infinity.
        """
        if steps < 1:
            raise VideoError("the episode has no step, choose one that has at least 1")
        parts: dict[str, tuple[Any, int]] = {"total": (self.total, steps)}
        parts |= {f"terms[{name!r}]": (value, steps) for name, value in self.terms.items()}
        if self.progress is not None:
            parts["progress"] = (self.progress, steps + 1)
        parts |= {f"curves[{n!r}]": (value, steps + 1) for n, value in self.curves.items()}
        for name, (value, length) in parts.items():
            shape = np.shape(value)
            if shape != (length,):
                raise VideoError(
                    f"reward trace's {name} has shape {shape}, expected ({length},) for an "
                    f"episode of {steps} steps"
                )
            if not np.isfinite(value).all():
                raise VideoError(f"reward trace's {name} holds NaN or infinity, expected numbers")
        if self.hops is not None:
            at = np.asarray(self.hops.step)
            if np.shape(self.hops.value) != at.shape or ((at < 0) | (at > steps)).any():
                raise VideoError(
                    f"reward trace's hops are at steps {at.tolist()[:9]}, expected one value each "
                    f"and steps of 0 ... {steps}"
                )
        outside = [event for event in self.events if not 0 <= event.step <= steps]
        if outside:
            raise VideoError(
                f"reward trace's event {outside[0].name!r} is at step {outside[0].step}, expected "
                f"0 ... {steps}"
            )
        return self

    @property
    def stacked(self) -> tuple[str, ...]:
        """Names of the terms that add up to the total; empty where none do."""
        return summands(self.total, self.terms)


_MOST_SUBSETS = 4096


def summands(total: np.ndarray, terms: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The largest set of terms whose sum is the total at every step, in the order given.

    Rewards also return terms that are no payments, such as a potential, or that are multiplied.
    A picture that stacked those would lie.

    Args:
        total: ``[L]``.
        terms: name to ``[L]``.

    Returns:
        Names; empty where no set (of the 4096 largest) adds up.
    """
    names = tuple(terms)
    total = np.asarray(total, np.float64)
    size = max([1e-9, *(float(np.abs(v).max(initial=0)) for v in (total, *terms.values()))])
    whole = np.sum([np.asarray(terms[n], np.float64) for n in names], axis=0) if names else 0.0
    left_out = (
        subset for count in range(len(names)) for subset in itertools.combinations(names, count)
    )
    for subset in itertools.islice(left_out, _MOST_SUBSETS):
        rest = whole - np.sum([np.asarray(terms[n], np.float64) for n in subset], axis=0)
        if np.abs(rest - total).max(initial=0) <= 1e-5 * size:
            return tuple(name for name in names if name not in subset)
    return ()


def shaped_trace(
    episode: Episode, potential: Any, gamma: float, weight: float = 1.0, title: str = ""
) -> RewardTrace:
    """The trace of the sparse success shaped by a potential, as a policy is paid for it.

    Args:
        episode: of L steps.
        potential: ``[L+1]`` in 0 ... 1, of s_0 ... s_L, held between frames.
        gamma: the learner's discount, in [0, 1].
        weight: multiplies the potential, never the success.
        title: one line above the instruction.

    Returns:
        Terms ``success`` and ``shaping`` (weight included), their sum, and the potential as
        progress. A termination pays no potential after it, a time-out that of the last state.

    Raises:
        VideoError: if the potential is not ``[L+1]``.
        ValueError: if gamma is outside [0, 1].
    """
    from robo.rewards.shaping import policy_invariant

    steps = len(episode)
    potential = np.asarray(potential, dtype=np.float64)
    if potential.shape != (steps + 1,):
        raise VideoError(
            f"potential has shape {potential.shape}, expected ({steps + 1},), one for each state "
            f"of an episode of {steps} steps"
        )
    success, terminated = np.zeros(steps), np.zeros(steps, dtype=bool)
    success[-1:] = episode.success
    terminated[-1:] = episode.terminated
    weighted = weight * potential
    shaping = policy_invariant(np.zeros(steps), weighted[:-1], weighted[1:], terminated, gamma)
    terms = {"success": success, "shaping": np.asarray(shaping, dtype=np.float64)}
    return RewardTrace(
        total=success + terms["shaping"],
        terms=terms,
        progress=potential,
        success=episode.success,
        title=title,
        progress_name="potential",
        events=episode_events(episode),
    )
