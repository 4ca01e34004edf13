"""What a reward said about one episode, as a reward video shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.media.video import VideoError
from robo.rollout import Episode


@dataclass
class RewardTrace:
    """What a reward said about one episode of L steps."""

    total: np.ndarray
    """``[L]``, the reward of each step."""
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    """Name to ``[L]``: the parts of the reward, each drawn as its own line."""
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
        for name, (value, length) in parts.items():
            shape = np.shape(value)
            if shape != (length,):
                raise VideoError(
                    f"reward trace's {name} has shape {shape}, expected ({length},) for an "
                    f"episode of {steps} steps"
                )
            if not np.isfinite(value).all():
                raise VideoError(f"reward trace's {name} holds NaN or infinity, expected numbers")
        return self


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
    )
