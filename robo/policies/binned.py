"""Continuous actions as bins: every dimension a choice among equal parts of its range.

As token policies act (RT-2, OpenVLA: 256 bins), with a temperature for exploration. The action
is the centre of the chosen bin, so that a rollout stores actions and no indices.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.policies.distributions import log_softmax


class Binned:
    """Independent choices in D dimensions, described by D * bins unnormalised log probabilities.

    Log probabilities, entropies and divergences are sums over the dimensions, and of the
    distribution at its temperature: what acted is what is learned from.
    """

    def __init__(
        self, low: np.ndarray, high: np.ndarray, bins: int, temperature: float = 1.0
    ) -> None:
        """For actions between ``low [D]`` and ``high [D]``.

        Raises:
            RoboError: fewer than 2 bins, a temperature of 0 or less, or a range without end.
        """
        if bins < 2 or not temperature > 0:
            raise RoboError(
                f"binned actions got {bins} bins and temperature {temperature}; expected at least "
                "2 and more than 0"
            )
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise RoboError("binned actions need a bounded action space: choose bins 0")
        self.bins, self.temperature = bins, temperature
        self.low, self.width = low.astype(np.float32), ((high - low) / bins).astype(np.float32)
        self.dimensions = len(low)
        self.size = self.dimensions * bins

    def centre(self, index: np.ndarray) -> np.ndarray:
        """Actions float32 ``[..., D]`` in the middle of bins ``index`` int ``[..., D]``."""
        return (self.low + (index + 0.5) * self.width).astype(np.float32)

    def index(self, action: Tensor) -> Tensor:
        """Bins int64 ``[..., D]`` that ``action [..., D]`` lies in; the ends count outside."""
        low, width = (torch.from_numpy(part).to(action) for part in (self.low, self.width))
        return ((action - low) / width).floor().long().clamp(0, self.bins - 1)

    def logits(self, output: Tensor) -> Tensor:
        """Normalised log probabilities ``[..., D, bins]`` of ``output [..., D * bins]``."""
        cut = output.unflatten(-1, (self.dimensions, self.bins)).float()
        return torch.log_softmax(cut / self.temperature, -1)

    def log_prob_each(self, output: Tensor, action: Tensor) -> Tensor:
        """Log probability of every dimension of ``action [..., D]``, ``[..., D]``."""
        return self.logits(output).gather(-1, self.index(action).unsqueeze(-1)).squeeze(-1)

    def log_prob(self, output: Tensor, log_std: Tensor | None, action: Tensor) -> Tensor:
        """Log probability of ``action [B, D]``, ``[B]``."""
        return self.log_prob_each(output, action).sum(-1)

    def entropy(self, output: Tensor, log_std: Tensor | None) -> Tensor:
        """Shannon entropy in nats, ``[B]``."""
        log_probability = self.logits(output)
        return -(log_probability.exp() * log_probability).sum((-2, -1))

    def kl(
        self,
        old_output: Tensor,
        old_log_std: Tensor | None,
        output: Tensor,
        log_std: Tensor | None,
    ) -> Tensor:
        """KL(old || new) in nats, ``[B]``."""
        old = self.logits(old_output)
        return (old.exp() * (old - self.logits(output))).sum((-2, -1))

    def sample(
        self, output: np.ndarray, log_std: np.ndarray | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw float32 ``[B, D]``; log probabilities ``[B]``."""
        log_probability = self._numpy(output)
        cumulative = np.cumsum(np.exp(log_probability), axis=-1)
        draw = generator.random((len(output), self.dimensions, 1), np.float32)
        index = (cumulative <= draw * cumulative[..., -1:]).sum(-1)
        return self._chosen(log_probability, np.minimum(index, self.bins - 1))

    def mode(self, output: np.ndarray, log_std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest bin of every dimension ``[B, D]`` and their log probability ``[B]``."""
        log_probability = self._numpy(output)
        return self._chosen(log_probability, log_probability.argmax(-1))

    def _numpy(self, output: np.ndarray) -> np.ndarray:
        cut = output.reshape(len(output), self.dimensions, self.bins)
        return log_softmax(cut / np.float32(self.temperature))

    def _chosen(
        self, log_probability: np.ndarray, index: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        each = np.take_along_axis(log_probability, index[..., None], -1)[..., 0]
        # A diverged network shows in the log probability: its bins are those of NaN.
        return self.centre(index), each.sum(-1).astype(np.float32)
