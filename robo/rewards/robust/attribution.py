"""Progress attribution: each step is paid its share of progress; shares sum to the outcome.

Source: Wang et al., "SPA-RL: Reinforcing LLM Agents via Stepwise Progress Attribution", arXiv
2505.20732; the idea of redistributing a return so that the sum stays is RUDDER's
(Arjona-Medina et al. 2019, arXiv 1806.07857). The papers train their estimator so that the sum
holds; here the last step settles the difference, which makes it hold for any progress model.
Helps where a progress model is right on average and wrong at the end: what it paid too much is
taken back. With gamma below 1, progress that comes early still pays.
"""

from __future__ import annotations

from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.potential import Potential, PotentialReward
from robo.rewards.robust.wrapper import RewardWrapper
from robo.rewards.success import NoReward, SuccessReward
from robo.rollout import RewardTerms, Rollout


class ProgressIncrement(PotentialReward):
    """The plain increment of progress of each step."""

    gamma: float | None = None
    timeout: str | None = None

    def __init__(self, potential: Potential) -> None:
        """Increments of ``potential``."""
        super().__init__(NoReward(), potential)

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Term ``increment``, and ``potential`` (of s_t) for the log."""
        return self.add(rollout, "increment", lambda held, following: following - held)


class AttributedReward(RewardWrapper):
    """Increments of progress, settled with the last step: an episode's sum is its outcome."""

    memory = {"paid": 0.0, "outcome": 0.0}  # noqa: RUF012

    def __init__(self, potential: Potential, outcome: Reward | None = None) -> None:
        """Attribute ``outcome`` (None: success) by the increments of ``potential``.

        Raises:
            WrapperError: the two want different frames.
        """
        super().__init__(progress=ProgressIncrement(potential), outcome=outcome or SuccessReward())

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Terms ``contribution`` and ``settlement`` (with the last step alone)."""
        share = inner["progress"].total[step].double()
        memory["paid"] = memory["paid"] + share
        memory["outcome"] = memory["outcome"] + inner["outcome"].total[step].double()
        owed = (memory["outcome"] - memory["paid"]) * rollout.done[step]
        return {"contribution": share, "settlement": owed}
