"""Clipping and delta: nothing is gained by repeating what a dense reward likes.

Source: Gao et al., "On Designing Effective RL Reward at Training Time for LLM Reasoning", arXiv
2410.15115. Clip bounds a step's reward from above by 0, so that more steps never pay more. Delta
pays differences, so that an episode's sum telescopes; the paper subtracts the next step's reward,
here the previous one is, which needs no look ahead. Both help against loops and idling; clip makes
every step cost something, which also hurries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper
from robo.rewards.success import SuccessReward
from robo.rollout import RewardTerms, Rollout


def clip(reward: Tensor, threshold: float) -> Tensor:
    """``min(reward, threshold) - threshold``: at most 0."""
    return reward.clamp(max=threshold) - threshold


class ClippedReward(RewardWrapper):
    """The outcome, and a dense reward clipped at a threshold that then counts 0."""

    def __init__(
        self, dense: Reward, threshold: float = 1.0, outcome: Reward | None = None
    ) -> None:
        """Clip ``dense`` at ``threshold`` and add ``outcome`` (None: success) as it is.

        Raises:
            WrapperError: the two do not fit together.
        """
        super().__init__(dense=dense, outcome=outcome or SuccessReward())
        self.threshold = threshold

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms ``outcome`` and ``clipped``."""
        return {
            "outcome": inner["outcome"].total[step].double(),
            "clipped": clip(inner["dense"].total[step].double(), self.threshold),
        }


class DeltaReward(RewardWrapper):
    """The outcome, and the change of a dense reward since the step before.

    The first step of an episode has nothing before it and pays no change, so that an episode's
    sum is the dense reward of its last step less that of its first.
    """

    memory = {"previous": 0.0, "begun": 0.0}  # noqa: RUF012

    def __init__(self, dense: Reward, outcome: Reward | None = None) -> None:
        """Difference ``dense`` and add ``outcome`` (None: success) as it is.

        Raises:
            WrapperError: the two do not fit together.
        """
        super().__init__(dense=dense, outcome=outcome or SuccessReward())

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms ``outcome`` and ``delta``."""
        now = inner["dense"].total[step].double()
        change = torch.where(memory["begun"] > 0, now - memory["previous"], 0.0)
        memory["previous"], memory["begun"] = now, torch.ones_like(now)
        return {"outcome": inner["outcome"].total[step].double(), "delta": change}
