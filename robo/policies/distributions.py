"""Action distributions: diagonal Gaussian and categorical (``robo.policies.beta`` has the Beta).

Each is described by what the actor's last layer puts out. Densities and entropies come twice:
for torch tensors (learning) and for numpy arrays (acting, where torch's dispatch would cost
more than the arithmetic).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

LOG_SQRT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Distribution(Protocol):
    """What an actor needs of its action distribution."""

    size: int
    """Width of the actor's last layer."""

    def log_prob(self, output: Tensor, log_std: Tensor | None, action: Tensor) -> Tensor:
        """Log density or probability of ``action``, ``[B]``."""
        ...

    def entropy(self, output: Tensor, log_std: Tensor | None) -> Tensor:
        """Differential or Shannon entropy in nats, ``[B]``."""
        ...

    def kl(
        self,
        old_output: Tensor,
        old_log_std: Tensor | None,
        output: Tensor,
        log_std: Tensor | None,
    ) -> Tensor:
        """Exact Kullback-Leibler divergence KL(old || new) in nats, ``[B]``."""
        ...

    def sample(
        self, output: np.ndarray, log_std: np.ndarray | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """An action per row and its log probability ``[B]``."""
        ...

    def mode(self, output: np.ndarray, log_std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The deterministic action per row and its log probability ``[B]``."""
        ...


class DiagonalGaussian:
    """Independent normals with a standard deviation that does not depend on the state."""

    def __init__(self, size: int) -> None:
        """``size`` is the number of action dimensions A."""
        self.size = size

    def log_prob(self, output: Tensor, log_std: Tensor | None, action: Tensor) -> Tensor:
        """Log density of ``action [B, A]`` with mean ``output [B, A]``, summed over A: ``[B]``."""
        assert log_std is not None
        scaled = (action - output) * torch.exp(-log_std)
        return -0.5 * scaled.square().sum(-1) - log_std.sum() - self.size * LOG_SQRT_TWO_PI

    def entropy(self, output: Tensor, log_std: Tensor | None) -> Tensor:
        """Differential entropy in nats, ``[B]``."""
        assert log_std is not None
        total = log_std.sum() + self.size * (0.5 + LOG_SQRT_TWO_PI)
        return total.expand(output.shape[:-1])

    def kl(
        self,
        old_output: Tensor,
        old_log_std: Tensor | None,
        output: Tensor,
        log_std: Tensor | None,
    ) -> Tensor:
        """KL(old || new) in nats, ``[B]``."""
        assert old_log_std is not None and log_std is not None
        moved = ((old_output - output) * torch.exp(-log_std)).square()
        ratio = 2.0 * (old_log_std - log_std)
        return 0.5 * (moved + ratio.exp() - 1.0 - ratio).sum(-1)

    def sample(
        self, output: np.ndarray, log_std: np.ndarray | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``[B, A]`` float32 actions; their log densities ``[B]``."""
        assert log_std is not None
        noise = generator.standard_normal(output.shape, np.float32)
        return output + np.exp(log_std) * noise, self._log_density(noise, log_std)

    def mode(self, output: np.ndarray, log_std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The mean ``[B, A]`` and its log density ``[B]``."""
        assert log_std is not None
        # output - output is 0, or NaN where the mean is not finite: the caller checks for that.
        return output.copy(), self._log_density(output - output, log_std)

    def _log_density(self, scaled: np.ndarray, log_std: np.ndarray) -> np.ndarray:
        constant = float(np.add.reduce(log_std)) + self.size * LOG_SQRT_TWO_PI
        density = np.add.reduce(scaled * scaled, axis=-1)
        density *= -0.5
        density -= constant
        return density


class Categorical:
    """A choice among ``size`` actions, described by unnormalised log probabilities."""

    def __init__(self, size: int) -> None:
        """``size`` is the number of choices."""
        self.size = size

    def log_prob(self, output: Tensor, log_std: Tensor | None, action: Tensor) -> Tensor:
        """Log probability of the choices ``action [B]`` (integers), ``[B]``."""
        chosen = action.long().unsqueeze(-1)
        return torch.log_softmax(output, -1).gather(-1, chosen).squeeze(-1)

    def entropy(self, output: Tensor, log_std: Tensor | None) -> Tensor:
        """Shannon entropy in nats, ``[B]``."""
        log_probability = torch.log_softmax(output, -1)
        return -(log_probability.exp() * log_probability).sum(-1)

    def kl(
        self,
        old_output: Tensor,
        old_log_std: Tensor | None,
        output: Tensor,
        log_std: Tensor | None,
    ) -> Tensor:
        """KL(old || new) in nats, ``[B]``."""
        old = torch.log_softmax(old_output, -1)
        return (old.exp() * (old - torch.log_softmax(output, -1))).sum(-1)

    def sample(
        self, output: np.ndarray, log_std: np.ndarray | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw int64 ``[B]`` by the inverse of the cumulative sum; log probabilities ``[B]``."""
        log_probability = log_softmax(output)
        cumulative = np.cumsum(np.exp(log_probability), axis=-1)
        # The last sum may be 1 - 1e-7: scale the draw by it so that an index never overflows.
        draw = generator.random((*output.shape[:-1], 1), np.float32) * cumulative[..., -1:]
        action = np.minimum((cumulative <= draw).sum(-1), self.size - 1)
        return action, self._chosen(log_probability, action)

    def mode(self, output: np.ndarray, log_std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest choice, int64 ``[B]``, and its log probability ``[B]``."""
        action = output.argmax(-1)
        return action, self._chosen(log_softmax(output), action)

    @staticmethod
    def _chosen(log_probability: np.ndarray, action: np.ndarray) -> np.ndarray:
        return np.take_along_axis(log_probability, action[..., None], -1)[..., 0]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
