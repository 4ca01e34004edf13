"""One number per camera frame, held until the next: what a step is paid for what it led to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robo.rewards.holding import PotentialCarry, PotentialTrack, hold
from robo.rollout import Frames, Rollout


class FrameValues:
    """Scores the frame rows of rollouts, each once, and holds the newest between frames.

    Where a rollout is cut changes no number: an episode that goes on keeps its held value, and
    the frame at the cut is not scored twice.
    """

    def __init__(self, score: Callable[[Frames], Tensor]) -> None:
        """``score``: frame rows to float ``[M]``."""
        self.score = score
        self._carry: PotentialCarry | None = None

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        """Values of all states; an episode without a frame at its start begins at 0.

        Raises:
            PotentialError: the rollout has no frames.
        """
        frames = rollout.frames
        value = torch.zeros(0)
        if frames is not None:
            value = torch.full((len(frames),), torch.nan)
            new = ~self._known(frames)
            wanted = frames if bool(new.all()) else frames.rows(new)
            if len(wanted):
                value[new] = self.score(wanted).float().cpu()
        track, self._carry = hold(rollout, value, self._carry)
        return track

    def of_next_state(self, rollout: Rollout) -> Tensor:
        """Value of the state that each step led to, float ``[T, N]``."""
        return self(rollout).of_next_state(rollout)

    def _known(self, frames: Frames) -> Tensor:
        """Bool ``[M]``: the row shows the state at the cut, scored at the last rollout's end."""
        step, env, episode = frames.step.cpu(), frames.env.cpu(), frames.episode.cpu()
        if self._carry is None:
            return torch.zeros_like(step, dtype=torch.bool)
        carried = self._carry.episode.cpu()[env] == episode
        return (step == 0) & ~frames.final.cpu() & carried

    def state_dict(self) -> dict[str, Any]:
        """Held values of the open episodes."""
        return {} if self._carry is None else dict(self._carry.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._carry = PotentialCarry.from_state_dict(state) if state else None
