"""Filtering: samples whose reward is unreliable do not teach.

Source: Shen and Zhang, "Policy Filtration in RLHF to Fine-Tune LLM for Code Generation", arXiv
2409.06957 (PF-PPO): a reward model is most reliable at the ends of its range, so that samples
are kept by the rank of their reward. A reward cannot take a step out of a rollout; what it can do
is to pay the fallback there, the sparse success by default, which is right whatever the model says.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper, WrapperError
from robo.rewards.success import SuccessReward
from robo.rollout import RewardTerms, Rollout

Keep = Literal["best_and_worst", "best_and_random", "best"]


def keep_by_rank(
    reward: Tensor, share: float = 0.5, keep: Keep = "best_and_worst", seed: int = 0
) -> Tensor:
    """Which samples of a group PF-PPO learns from.

    Args:
        reward: ``[E]``, one reward per sample.
        share: how many to keep, in (0, 1]; at least one. Half of them, rounded up, are the best.
        keep: what the other half is: the worst (BW), random ones of the rest (BR), or also best.
        seed: of the random ones.

    Returns:
        bool ``[E]``. Ties are broken by order.

    Raises:
        WrapperError: the share is out of range, or an unknown rule.
    """
    if not 0 < share <= 1 or keep not in ("best_and_worst", "best_and_random", "best"):
        raise WrapperError(
            f"share is {share} and keep {keep!r}: expected a share in (0, 1] and best_and_worst, "
            "best_and_random or best"
        )
    order = torch.argsort(reward, descending=True, stable=True)
    count = max(1, round(share * len(reward)))
    best = count if keep == "best" else (count + 1) // 2
    chosen = order[:best].tolist()
    rest = order[best:].tolist()
    if keep == "best_and_worst":
        chosen += rest[len(rest) - (count - best) :]
    elif keep == "best_and_random":
        picked = np.random.default_rng(seed).choice(len(rest), count - best, replace=False)
        chosen += [rest[i] for i in picked]
    kept = torch.zeros(len(reward), dtype=torch.bool)
    kept[chosen] = True
    return kept


class FilteredReward(RewardWrapper):
    """A reward where it is reliable, and a fallback where it is not."""

    def __init__(
        self,
        reward: Reward,
        term: str,
        limit: float,
        fallback: Reward | None = None,
    ) -> None:
        """Filter ``reward`` by one of its own terms.

        Args:
            reward: for example an ensemble.
            term: its term that tells how unreliable a step is: an ensemble's ``inner.deviation``.
            limit: steps whose term exceeds it (or is NaN) pay the fallback.
            fallback: None for success.

        Raises:
            WrapperError: the two do not fit together.
        """
        super().__init__(reward=reward, fallback=fallback or SuccessReward())
        self.term, self.limit = term, limit

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Term ``filtered``; ``inner.reliable`` is 1 where the reward was paid.

        Raises:
            WrapperError: the reward has no such term.
        """
        terms = inner["reward"].terms
        if self.term not in terms:
            raise WrapperError(
                f"the filtered reward has no term {self.term!r} to judge its reliability by; it "
                f"has {sorted(terms)}"
            )
        reliable = terms[self.term][step] <= self.limit  # False for NaN
        paid = torch.where(reliable, inner["reward"].total[step], inner["fallback"].total[step])
        return {"filtered": paid.double(), "inner.reliable": reliable.double()}
