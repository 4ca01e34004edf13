"""Hierarchical preference of terms: order what matters, and learn a reward from the order.

Source: Bukharin et al., "Deep Reinforcement Learning from Hierarchical Preference Design", arXiv
2309.02632 (HERON). Trajectories are compared term by term in the order of importance, and the
first term that differs by more than its margin decides. A reward model is fitted to these
preferences (Bradley-Terry). Helps where terms conflict or their scales are unknown, so that no
weights of a sum are at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from robo.rewards.base import Reward
from robo.rewards.robust.wrapper import RewardWrapper, WrapperError
from robo.rollout import RewardTerms, Rollout


def prefer(first: Tensor, second: Tensor, margins: Sequence[float]) -> Tensor:
    """Compare by a decision tree over terms.

    Args:
        first: ``[..., F]``, an episode's sums of F terms, the most important first.
        second: ``[..., F]``.
        margins: F numbers of at least 0: a term decides where it differs by more than its margin.

    Returns:
        ``[...]``: 1 where the first is preferred, -1 for the second, 0 where no term decides.

    Raises:
        WrapperError: another number of margins than terms, or a negative one.
    """
    if len(margins) != first.shape[-1] or min(margins, default=0) < 0:
        raise WrapperError(
            f"margins {list(margins)} for {first.shape[-1]} terms: expected one of at least 0 each"
        )
    difference = first - second
    decides = difference.abs() > torch.as_tensor(list(margins), dtype=difference.dtype)
    place = decides.long().argmax(dim=-1, keepdim=True)
    sign = difference.gather(-1, place).squeeze(-1).sign()
    return torch.where(decides.any(dim=-1), sign, torch.zeros_like(sign))


def fit_weights(
    sums: Tensor, margins: Sequence[float], regularisation: float = 1e-2, iterations: int = 200
) -> Tensor:
    """Weights of the terms under which the preferences are most likely (Bradley-Terry).

    Args:
        sums: ``[E, F]``, episode sums of the terms, the most important first; E at least 2.
        margins: of each term, see :func:`prefer`.
        regularisation: L2 penalty on the weights of the standardised terms, above 0.
        iterations: of L-BFGS.

    Returns:
        float64 ``[F]``, for the terms as they are; a term that never varies weighs 0.

    Raises:
        WrapperError: no pair of episodes has a preference.
    """
    sums = sums.double()
    i, j = torch.triu_indices(len(sums), len(sums), 1)
    order = prefer(sums[i], sums[j], margins)
    if not bool((order != 0).any()):
        raise WrapperError("the margins leave no pair of episodes with a preference: lower them")
    spread = sums.std(dim=0, unbiased=False)
    scale = torch.where(spread > 0, spread, torch.inf)
    pairs = ((sums[i] - sums[j]) / scale)[order != 0] * order[order != 0][:, None]
    weights = torch.zeros(sums.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -logsigmoid(pairs @ weights).mean() + regularisation * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    return weights.detach() / scale


class HierarchicalReward(RewardWrapper):
    """The terms of a reward under the weights that a hierarchy of them implies."""

    def __init__(self, reward: Reward, names: Sequence[str], weights: Any) -> None:
        """Weigh terms.

        Args:
            reward: gives the terms.
            names: of F terms.
            weights: F numbers, as :func:`fit_weights` returns them.

        Raises:
            WrapperError: another number of weights than names.
        """
        super().__init__(reward=reward)
        self.names, self.weights = tuple(names), [float(value) for value in weights]
        if len(self.names) != len(self.weights):
            raise WrapperError(f"{len(self.weights)} weights for {len(self.names)} terms")

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Each named term times its weight.

        Raises:
            WrapperError: a term is missing.
        """
        terms = inner["reward"].terms
        if missing := [name for name in self.names if name not in terms]:
            raise WrapperError(f"the reward has no terms {missing}; it has {sorted(terms)}")
        return {
            name: weight * terms[name][step].double()
            for name, weight in zip(self.names, self.weights, strict=True)
        }
