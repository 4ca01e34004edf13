"""Gated accumulation: dense rewards count only once the outcome passes a gate.

Source: Sun et al., "Stabilizing Long-term Multi-turn Reinforcement Learning with Gated Rewards",
arXiv 2508.10548 (G-RA). Here the gate is known when the episode ends, so that what was
accumulated is paid with its last step. Helps where a dense reward can be farmed without solving
the task; costs the dense reward's credit assignment, and gives nothing before the first success.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper, WrapperError
from robo.rewards.success import SuccessReward
from robo.rollout import RewardTerms, Rollout


def gate(accumulated: Tensor, outcome: Tensor, threshold: float) -> Tensor:
    """``accumulated`` where ``outcome`` reaches ``threshold``, otherwise 0; any shape."""
    return torch.where(outcome >= threshold, accumulated, torch.zeros_like(accumulated))


class GatedReward(RewardWrapper):
    """The outcome, and with an episode's last step its dense rewards if the outcome passed."""

    memory = {"accumulated": 0.0, "outcome": 0.0}  # noqa: RUF012

    def __init__(
        self,
        dense: Reward,
        outcome: Reward | None = None,
        threshold: float = 1.0,
        weight: float = 1.0,
        limit: float | None = None,
    ) -> None:
        """Gate ``dense``.

        Args:
            dense: what accumulates.
            outcome: whose undiscounted sum passes the gate; None for success.
            threshold: of that sum.
            weight: multiplies what was accumulated, at least 0.
            limit: the largest sum that is paid, before the weight. None pays all of it, and a
                slow success then earns more than a quick one.

        Raises:
            WrapperError: the weight is negative, or the rewards do not fit together.
        """
        if not weight >= 0:
            raise WrapperError(f"weight is {weight}, expected at least 0")
        super().__init__(dense=dense, outcome=outcome or SuccessReward())
        self.threshold, self.weight, self.limit = threshold, weight, limit

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms ``outcome`` and ``gated``."""
        outcome = inner["outcome"].total[step].double()
        memory["accumulated"] = memory["accumulated"] + inner["dense"].total[step].double()
        memory["outcome"] = memory["outcome"] + outcome
        due = memory["accumulated"]
        if self.limit is not None:
            due = due.clamp(max=self.limit)
        released = self.weight * gate(due, memory["outcome"], self.threshold)
        return {"outcome": outcome, "gated": released * rollout.done[step]}
