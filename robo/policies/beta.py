"""The Beta distribution over bounded actions, as CaRL and Roach use it.

alpha = softplus(a) + 1 and beta = softplus(b) + 1, so that every density has one peak. Densities,
entropies and divergences are those of x in (0, 1); an action is x mapped linearly to its range.
The Jacobian of that map is a constant: it changes no ratio, no gradient and no divergence.

Chou, Maturana and Scherer, "Improving Stochastic Policy Gradients in Continuous Control with Deep
Reinforcement Learning using the Beta Distribution", 2017.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import betaln
from torch import Tensor, nn

from robo.errors import RoboError

EDGE = 1e-7
"""x is kept in [EDGE, 1 - EDGE], where log densities are finite."""


class Beta:
    """Independent Beta distributions over the dimensions of a bounded Box."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        """``low`` and ``high [A]`` are the bounds of the action space.

        Raises:
            RoboError: where a bound is infinite.
        """
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise RoboError(
                f"a Beta distribution needs finite action bounds, but got {low.tolist()} to "
                f"{high.tolist()}: choose --network.distribution gaussian or bound the actions"
            )
        self.size = 2 * len(low)
        self.low = low.astype(np.float32)
        self.width = (high - low).astype(np.float32)
        self._bounds: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def output_of_mean(self, mean: np.ndarray, total: float = 4.0) -> Tensor:
        """The actor's output ``[2A]`` whose mean action is ``mean [A]`` and alpha + beta ``total``.

        Raises:
            RoboError: a mean so near a bound that no such distribution has one peak.
        """
        share = (np.asarray(mean, np.float64) - self.low) / self.width
        if share.shape != self.low.shape or (np.abs(share - 0.5) >= 0.5 - 1.0 / total).any():
            raise RoboError(
                f"the mean action before learning is {np.asarray(mean).tolist()}; expected "
                f"{len(self.low)} values in the middle half of {self.low.tolist()} to "
                f"{(self.low + self.width).tolist()}"
            )
        above_one = np.concatenate([share * total, (1 - share) * total]) - 1.0
        return torch.from_numpy(np.log(np.expm1(above_one))).float()

    @staticmethod
    def concentrations(output: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and beta ``[B, A]`` from the actor's output ``[B, 2A]``, each above 1."""
        wide = output if output.dtype == torch.float64 else output.float()
        alpha, beta = (nn.functional.softplus(wide) + 1.0).chunk(2, -1)
        return alpha, beta

    def log_prob(self, output: Tensor, log_std: Tensor | None, action: Tensor) -> Tensor:
        """Log density of ``action [B, A]`` in (0, 1) space, summed over A: ``[B]``."""
        alpha, beta = self.concentrations(output)
        low, width = self._bounds_on(action.device)
        x = ((action - low) / width).clamp(EDGE, 1.0 - EDGE)
        density = (alpha - 1.0) * x.log() + (beta - 1.0) * torch.log1p(-x) - _log_beta(alpha, beta)
        return density.sum(-1)

    def _bounds_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Lower bound and width of the actions ``[A]``, kept where they are used."""
        if device not in self._bounds:
            low, width = torch.from_numpy(self.low), torch.from_numpy(self.width)
            self._bounds[device] = (low.to(device), width.to(device))
        return self._bounds[device]

    def entropy(self, output: Tensor, log_std: Tensor | None) -> Tensor:
        """Differential entropy of x in nats, ``[B]``; at most 0, that of the uniform."""
        alpha, beta = self.concentrations(output)
        total = alpha + beta
        return (
            _log_beta(alpha, beta)
            - (alpha - 1.0) * torch.digamma(alpha)
            - (beta - 1.0) * torch.digamma(beta)
            + (total - 2.0) * torch.digamma(total)
        ).sum(-1)

    def kl(
        self,
        old_output: Tensor,
        old_log_std: Tensor | None,
        output: Tensor,
        log_std: Tensor | None,
    ) -> Tensor:
        """Exact KL(old || new) in nats, ``[B]``."""
        old = self.concentrations(old_output)
        return self.divergence(*old, *self.concentrations(output)).sum(-1)

    @staticmethod
    def divergence(old_alpha: Tensor, old_beta: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """KL(Beta(old_alpha, old_beta) || Beta(alpha, beta)) in nats, elementwise."""
        return (
            _log_beta(alpha, beta)
            - _log_beta(old_alpha, old_beta)
            + (old_alpha - alpha) * torch.digamma(old_alpha)
            + (old_beta - beta) * torch.digamma(old_beta)
            + (alpha - old_alpha + beta - old_beta) * torch.digamma(old_alpha + old_beta)
        )

    def sample(
        self, output: np.ndarray, log_std: np.ndarray | None, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw float32 actions ``[B, A]``; their log densities ``[B]``.

        Rows whose parameters are not finite come back as NaN.
        """
        alpha, beta = self._numpy(output)
        finite = np.isfinite(alpha) & np.isfinite(beta)
        draw = generator.beta(np.where(finite, alpha, 1.0), np.where(finite, beta, 1.0))
        return self._action(np.where(finite, draw, np.nan), alpha, beta)

    def mode(self, output: np.ndarray, log_std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The mean ``[B, A]`` (CaRL's choice for evaluation) and its log density ``[B]``."""
        alpha, beta = self._numpy(output)
        return self._action(alpha / (alpha + beta), alpha, beta)

    @staticmethod
    def _numpy(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(invalid="ignore"):  # NaN comes through, and is named by the policy
            both = np.logaddexp(0.0, output.astype(np.float64)) + 1.0
        half = both.shape[-1] // 2
        return both[..., :half], both[..., half:]

    def _action(
        self, x: np.ndarray, alpha: np.ndarray, beta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        x32 = np.clip(x, EDGE, 1.0 - EDGE).astype(np.float32)
        action = np.clip(self.low + self.width * x32, self.low, self.low + self.width)
        # Of the action as it is stored: a learner computes the same density from it.
        x = np.clip(((action - self.low) / self.width).astype(np.float64), EDGE, 1.0 - EDGE)
        density = (alpha - 1.0) * np.log(x) + (beta - 1.0) * np.log1p(-x) - betaln(alpha, beta)
        return action, density.sum(-1).astype(np.float32)


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
