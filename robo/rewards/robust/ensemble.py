"""Ensembles with an uncertainty-aware lower bound: what members disagree on is worth less.

Source: Coste et al., "Reward Model Ensembles Help Mitigate Overoptimization", arXiv 2310.02743:
the mean, the worst member (WCO), and the mean less a multiple of the variance (UWO). Helps where
each member can be fooled, but not by the same pictures. Members that share their data share
their mistakes, and then agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper, WrapperError
from robo.rollout import RewardTerms, Rollout

Rule = Literal["mean", "worst", "variance"]


def lower_bound(members: Tensor, rule: Rule = "variance", penalty: float = 1.0) -> Tensor:
    """Combine the rewards of M members.

    Args:
        members: ``[M, ...]``, M at least 1.
        rule: ``mean``; ``worst``, the smallest (WCO); ``variance``, ``mean - penalty *
            variance`` with the population variance (UWO).
        penalty: at least 0, of ``variance`` only; in one over the unit of the rewards.

    Returns:
        ``[...]``.

    Raises:
        WrapperError: an unknown rule or a negative penalty.
    """
    if rule not in ("mean", "worst", "variance") or not penalty >= 0:
        raise WrapperError(
            f"ensemble rule {rule!r} with penalty {penalty}: expected mean, worst or variance, "
            "and a penalty of at least 0"
        )
    if rule == "worst":
        return members.min(dim=0).values
    if rule == "mean":
        return members.mean(dim=0)
    return members.mean(dim=0) - penalty * members.var(dim=0, unbiased=False)


class EnsembleReward(RewardWrapper):
    """A lower bound over the rewards of several members."""

    def __init__(
        self, members: Sequence[Reward], rule: Rule = "variance", penalty: float = 1.0
    ) -> None:
        """Combine ``members``; arguments as for :func:`lower_bound`.

        Raises:
            WrapperError: no member, members that do not fit together, an unknown rule.
        """
        if not members:
            raise WrapperError("an ensemble needs at least one member, got none")
        lower_bound(torch.zeros(1), rule, penalty)
        super().__init__(**{f"member{i}": member for i, member in enumerate(members)})
        self.rule: Rule = rule
        self.penalty = penalty

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Term ``ensemble``; ``inner.deviation`` is the members' standard deviation."""
        members = torch.stack([part.total[step].double() for part in inner.values()])
        return {
            "ensemble": lower_bound(members, self.rule, self.penalty),
            "inner.deviation": members.std(dim=0, unbiased=False),
        }
