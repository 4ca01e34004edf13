"""PPO's loss on a minibatch of packed rows: what a learner is, and the one by autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.packing import CHUNK, Columns


@dataclass(frozen=True)
class LossConfig:
    """Numbers in PPO's loss (Schulman et al. 2017, equations 7 and 9)."""

    clip_range: float
    value_clip: float | None
    value_coefficient: float
    entropy_coefficient: float
    max_gradient_norm: float


STATISTICS: tuple[str, ...] = (
    "policy_loss",
    "value_loss",
    "entropy",
    "approximate_kl",
    "clip_fraction",
)
"""What :meth:`Learner.gradient` returns, each a mean over the minibatch, in this order."""


class Learner(Protocol):
    """Computes gradients of the loss and takes optimiser steps."""

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Leave the loss's gradient in the flat vector; the ``STATISTICS``, float64 ``[5]``."""
        ...

    def step(self, learning_rate: float) -> float:
        """Clip the gradient by its norm, take one Adam step; returns the norm before clipping."""
        ...


class EagerLearner:
    """The loss in torch, differentiated by autograd: for every network and device."""

    def __init__(
        self, policy: ActorCritic, adam: FlatAdam, columns: Columns, config: LossConfig
    ) -> None:
        """``adam`` owns the flat vector of which the policy's parameters are views."""
        self.policy, self.adam, self.columns, self.config = policy, adam, columns, config
        adam.attach(policy.parameters())

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Accumulate over chunks of the minibatch; see :class:`Learner`."""
        self.adam.gradient.zero_()
        statistics = np.zeros(len(STATISTICS))
        for start in range(0, len(rows), CHUNK):
            part = torch.from_numpy(rows[start : start + CHUNK]).to(self.adam.gradient.device)
            loss, sums = self._loss(part)
            (loss / len(rows)).backward()
            statistics += torch.stack(sums).detach().cpu().double().numpy()
        return statistics / len(rows)

    def _loss(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Sum of the loss over rows, and sums of the statistics."""
        columns, config = self.columns, self.config
        action = rows[:, columns.inputs : columns.log_prob]
        if self.policy.log_std is None:
            action = action[:, 0]
        old_log_prob, advantage, target, old_value = rows[:, columns.log_prob :].unbind(1)
        log_prob, entropy, value = self.policy.evaluate_inputs(rows[:, : columns.inputs], action)
        log_ratio = log_prob - old_log_prob
        ratio = log_ratio.exp()
        low, high = 1.0 - config.clip_range, 1.0 + config.clip_range
        surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(low, high))
        error = (value - target).square()
        if config.value_clip is not None:
            moved = (value - old_value).clamp(-config.value_clip, config.value_clip)
            error = torch.max(error, (old_value + moved - target).square())
        policy_loss, value_loss, total_entropy = -surrogate.sum(), error.sum(), entropy.sum()
        loss = policy_loss + config.value_coefficient * value_loss
        if config.entropy_coefficient != 0.0:
            loss = loss - config.entropy_coefficient * total_entropy
        with torch.no_grad():
            divergence = (ratio - 1.0 - log_ratio).sum()
            clipped = ((ratio - 1.0).abs() > config.clip_range).sum().to(loss)
        return loss, [policy_loss, value_loss, total_entropy, divergence, clipped]

    def step(self, learning_rate: float) -> float:
        """See :class:`Learner`."""
        norm = float(self.adam.gradient.norm())
        if norm > self.config.max_gradient_norm:
            self.adam.gradient.mul_(self.config.max_gradient_norm / (norm + 1e-6))
        self.adam.step(learning_rate)
        return norm
