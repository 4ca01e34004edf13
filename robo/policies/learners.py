"""PPO's loss on a minibatch of packed rows: what a learner is, and the one by autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.distributions import Categorical
from robo.policies.packing import CHUNK, Columns


@dataclass(frozen=True)
class LossConfig:
    """Numbers in PPO's loss (Schulman et al. 2017, equations 7 and 9)."""

    clip_range: float
    value_clip: float | None
    value_coefficient: float
    entropy_coefficient: float
    max_gradient_norm: float
    clip_range_high: float | None = None
    """None: as ``clip_range``."""
    reference_kl: float = 0.0
    """Weight of the divergence from the reference policy."""


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

    def gradient(self, rows: Any) -> np.ndarray:
        """Leave the loss's gradient in the flat vector; the ``STATISTICS``, float64 ``[5]``.

        Both are means over the minibatch, 0 for an empty one.
        """
        ...

    def step(self, learning_rate: float) -> float:
        """Clip the gradient by its norm, take one Adam step; returns the norm before clipping."""
        ...


@dataclass(frozen=True)
class Before:
    """What is known of a minibatch from before the update, ``[B]`` each."""

    log_prob: Tensor
    """Of the actions, under the policy that acted."""
    advantage: Tensor
    """Normalised or not."""
    target: Tensor
    """The return that the value is fitted to."""
    value: Tensor
    """V as it was."""


def loss_sums(
    now: tuple[Tensor, Tensor, Tensor],
    before: Before,
    config: LossConfig,
    kl: Tensor | None = None,
    from_reference: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """PPO's clipped loss.

    Args:
        now: log probability, entropy and value ``[B]`` under the policy as it is.
        before: the same rows before the update.
        config: numbers in the loss.
        kl: exact divergence ``[B]`` from the old policy; None estimates it from the actions
            (Schulman, "Approximating KL Divergence", 2020: ratio - 1 - log ratio).
        from_reference: divergence ``[B]`` from the reference policy, with its gradient.

    Returns:
        Sum of the loss over rows, and sums of the ``STATISTICS``, ``[5]``, without gradient.
    """
    log_prob, entropy, value = now
    log_ratio = log_prob - before.log_prob
    ratio = log_ratio.exp()
    above = config.clip_range if config.clip_range_high is None else config.clip_range_high
    low, high = 1.0 - config.clip_range, 1.0 + above
    surrogate = torch.min(before.advantage * ratio, before.advantage * ratio.clamp(low, high))
    error = (value - before.target).square()
    if config.value_clip is not None:
        moved = (value - before.value).clamp(-config.value_clip, config.value_clip)
        error = torch.max(error, (before.value + moved - before.target).square())
    policy_loss, value_loss, total_entropy = -surrogate.sum(), error.sum(), entropy.sum()
    loss = policy_loss + config.value_coefficient * value_loss
    if config.entropy_coefficient != 0.0:
        loss = loss - config.entropy_coefficient * total_entropy
    if from_reference is not None:
        loss = loss + config.reference_kl * from_reference.sum()
    with torch.no_grad():
        divergence = (ratio - 1.0 - log_ratio if kl is None else kl).sum()
        clipped = ((ratio < low) | (ratio > high)).sum().to(loss)
        sums = (policy_loss, value_loss, total_entropy, divergence, clipped)
        statistics = torch.stack([part.detach() for part in sums])
    return loss, statistics


class TorchLearner:
    """What learners by autograd share."""

    def __init__(self, adam: FlatAdam, config: LossConfig) -> None:
        """``adam`` owns the flat vector of which the policy's parameters are views."""
        self.adam, self.config = adam, config

    def step(self, learning_rate: float) -> float:
        """See :class:`Learner`."""
        norm = float(self.adam.gradient.norm())
        if norm > self.config.max_gradient_norm:
            self.adam.gradient.mul_(self.config.max_gradient_norm / (norm + 1e-6))
        self.adam.step(learning_rate)
        return norm


class EagerLearner(TorchLearner):
    """The loss in torch, differentiated by autograd: for every network and device."""

    def __init__(
        self,
        policy: ActorCritic,
        adam: FlatAdam,
        columns: Columns,
        config: LossConfig,
        compiled: bool = False,
        reference: ActorCritic | None = None,
    ) -> None:
        """``adam`` owns the flat vector of which the policy's parameters are views.

        ``compiled`` runs the loss and its gradient through torch.compile; ``reference`` is the
        policy that the loss keeps near.
        """
        super().__init__(adam, config)
        self.policy, self.columns, self.reference = policy, columns, reference
        self.begin()
        self._chunk_loss: Callable[..., Any] = torch.compile(self._loss) if compiled else self._loss

    def begin(self) -> None:
        """Make the policy's gradients views of the flat one: an update starts."""
        self.adam.attach(self.policy.parameters())

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Accumulate over chunks of the minibatch; see :class:`Learner`."""
        self.adam.gradient.zero_()
        statistics = np.zeros(len(STATISTICS))
        for start in range(0, len(rows), CHUNK):
            part = torch.from_numpy(rows[start : start + CHUNK]).to(self.adam.gradient.device)
            loss, sums = self._chunk_loss(part)
            (loss / len(rows)).backward()
            statistics += sums.cpu().double().numpy()
        return statistics / max(len(rows), 1)

    def _loss(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the loss over rows, and sums of the statistics."""
        columns = self.columns
        action = rows[:, columns.inputs : columns.log_prob]
        if isinstance(self.policy.distribution, Categorical):
            action = action[:, 0]
        before = Before(*rows[:, columns.log_prob :].unbind(1))
        now = self.policy.evaluate_inputs(rows[:, : columns.inputs], action)
        return loss_sums(now, before, self.config, None, self._from_reference(rows))

    def _from_reference(self, rows: Tensor) -> Tensor | None:
        policy, reference = self.policy, self.reference
        if reference is None:
            return None
        state = rows[:, : self.columns.state]
        with torch.no_grad():
            there = reference.actor(state)
        return policy.distribution.kl(policy.actor(state), policy.log_std, there, reference.log_std)
