"""PPO's gradient for policies that read images, accumulated over chunks of a minibatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.policies.adam import FlatAdam
from robo.policies.beta import Beta
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.image_rollout import Chunk, Minibatch
from robo.policies.learners import STATISTICS, LossConfig, TorchLearner, loss_sums


class ImageLearner(TorchLearner):
    """See :class:`~robo.policies.learners.Learner`; minibatches come by index.

    One instance serves a whole run, so that nothing is compiled twice. Its divergence is the
    exact KL of the old and the new distribution.
    """

    def __init__(
        self,
        policy: ImageActorCritic,
        adam: FlatAdam,
        config: LossConfig,
        chunk_size: int,
        compiled: bool = False,
        reference: ImageActorCritic | None = None,
    ) -> None:
        """``chunk_size`` images go through the network together.

        ``compiled`` runs the loss and its gradient through torch.compile; ``reference`` is the
        policy that the loss keeps near.
        """
        super().__init__(adam, config)
        self.policy, self.chunk_size, self.reference = policy, chunk_size, reference
        self._old_log_std = None if policy.log_std is None else policy.log_std.detach().clone()
        self._chunk_loss: Callable[..., Any] = torch.compile(self._loss) if compiled else self._loss

    def begin(self) -> None:
        """Take the policy as it is for the old one: an update starts."""
        self.adam.attach(self.policy.trained_parameters())
        if self._old_log_std is not None and self.policy.log_std is not None:
            self._old_log_std.copy_(self.policy.log_std.detach())

    def gradient(self, rows: Minibatch) -> np.ndarray:
        """Accumulate over chunks of the minibatch; see :class:`Learner`."""
        self.adam.gradient.zero_()
        statistics = torch.zeros(len(STATISTICS), dtype=torch.float64, device=self.policy.device)
        for chunk in rows.chunks(self.chunk_size):
            loss, sums = self._chunk_loss(chunk)
            (loss / len(rows)).backward()
            statistics += sums
        # The only wait for a GPU in a minibatch, beside that for the gradient's norm.
        return statistics.cpu().numpy() / max(len(rows), 1)

    def _loss(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Sum of the loss over rows, and sums of the statistics."""
        policy, distribution = self.policy, self.policy.distribution
        output, value = policy.outputs(chunk.observation, chunk.features)
        log_prob = distribution.log_prob(output, policy.log_std, chunk.action)
        entropy = distribution.entropy(output, policy.log_std)
        with torch.no_grad():
            kl = distribution.kl(chunk.old_output, self._old_log_std, output, policy.log_std)
        from_reference = None
        if self.reference is not None:
            with torch.no_grad():
                there, _ = self.reference.outputs(chunk.observation, chunk.features)
            from_reference = distribution.kl(output, policy.log_std, there, self.reference.log_std)
        now = (log_prob, entropy, value)
        loss, sums = loss_sums(now, chunk.before, self.config, kl, from_reference)
        if chunk.exploration is not None:
            assert isinstance(distribution, Beta)
            loss = loss + chunk.exploration.loss(distribution, output)
        return loss, sums
