"""PPO's update for tanh networks in numpy, with hand-written gradients.

For small networks torch spends most of an update on dispatch and on a slow tanh; the same
arithmetic in numpy takes a quarter to a tenth of the time (``benchmarks/ppo_throughput.py``).
Parameters, gradient and Adam's state are those of the torch twin
(:class:`~robo.policies.learners.EagerLearner`), which the tests hold equal to this one.

Only Python floats enter the arithmetic: a float64 scalar of numpy would promote the arrays.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.distributions import (
    LOG_SQRT_TWO_PI,
    Categorical,
    DiagonalGaussian,
    log_softmax,
)
from robo.policies.learners import STATISTICS, LossConfig
from robo.policies.packing import CHUNK, Columns
from robo.policies.policy import Policy
from robo.policies.tanh_networks import TanhPair


def supports(policy: Policy) -> bool:
    """Whether :class:`NumpyLearner` can train ``policy``: tanh networks in float32 on a CPU."""
    first = next(policy.parameters())
    return (
        isinstance(policy, ActorCritic)
        and policy.config.activation == "tanh"
        and len(policy.config.hidden) > 0
        and isinstance(policy.distribution, (DiagonalGaussian, Categorical))
        and first.device.type == "cpu"
        and first.dtype == torch.float32
    )


class NumpyLearner:
    """See :class:`~robo.policies.learners.Learner`; equal to ``EagerLearner`` up to rounding."""

    def __init__(
        self, policy: ActorCritic, adam: FlatAdam, columns: Columns, config: LossConfig
    ) -> None:
        """``adam`` owns the flat vector of which the policy's parameters are views."""
        self.adam, self.columns, self.config = adam, columns, config
        self.flat_gradient = adam.gradient.numpy()
        part = torch.zeros_like(adam.gradient)
        self._part = part.numpy()
        """Gradient of one chunk; every entry is written anew."""
        self.networks = TanhPair((policy.actor, policy.critic), adam.flat, part, CHUNK)
        self.log_std = None
        self._log_std_gradient = np.empty(0, np.float32)
        if policy.log_std is not None:
            self.log_std = policy.log_std.detach().numpy()
            start = policy.log_std.storage_offset()
            self._log_std_gradient = self._part[start : start + self.log_std.size]
        self._ones = np.ones(CHUNK, np.float32)
        self._minus_half = np.full(policy.distribution.size, -0.5, np.float32)
        self._terms = np.empty((len(STATISTICS), CHUNK), np.float32)

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Accumulate over chunks of the minibatch; see :class:`Learner`."""
        if len(rows) <= CHUNK and len(rows) > 0:
            sums = self._chunk(rows, 1.0 / len(rows))
            np.copyto(self.flat_gradient, self._part)
            return sums / len(rows)
        self.flat_gradient.fill(0.0)
        sums = np.zeros(len(STATISTICS))
        for start in range(0, len(rows), CHUNK):
            sums += self._chunk(rows[start : start + CHUNK], 1.0 / len(rows))
            self.flat_gradient += self._part
        return sums / max(len(rows), 1)

    def _chunk(self, rows: np.ndarray, scale: float) -> np.ndarray:
        """Write the gradient of some rows' loss, times ``scale``; sums of the ``STATISTICS``."""
        columns = self.columns
        by_column = rows.T
        output, value = self.networks.forward(
            (by_column[: columns.state], by_column[: columns.inputs])
        )
        old, advantage, target, old_value = by_column[columns.log_prob :]
        action = by_column[columns.inputs : columns.log_prob]
        terms = self._terms[:, : len(rows)]
        part = self._categorical if self.log_std is None else self._gaussian
        output_delta = part(output, action, old, advantage, scale, terms)
        value_delta = self._value(value[0], target, old_value, scale, terms)
        self.networks.backward((output_delta, value_delta[None]))
        return (terms @ self._ones[: len(rows)]).astype(np.float64)

    def _value(
        self,
        value: np.ndarray,
        target: np.ndarray,
        old_value: np.ndarray,
        scale: float,
        terms: np.ndarray,
    ) -> np.ndarray:
        """Gradient of the value loss at ``value [B]``; writes its term."""
        clip = self.config.value_clip
        error = value - target
        loss = np.multiply(error, error, out=terms[1])
        if clip is not None:
            moved = value - old_value
            clipped_error = old_value + np.clip(moved, -clip, clip) - target
            clipped_loss = clipped_error * clipped_error
            # The larger loss counts; where that is the clipped one it does not depend on value.
            error = np.where((loss < clipped_loss) & (np.abs(moved) > clip), 0, error)
            np.maximum(loss, clipped_loss, out=loss)
        error *= 2.0 * self.config.value_coefficient * scale
        return error

    def _surrogate(
        self,
        log_prob: np.ndarray,
        old: np.ndarray,
        advantage: np.ndarray,
        scale: float,
        terms: np.ndarray,
    ) -> np.ndarray:
        """Gradient of the clipped loss in log_prob ``[B]``; writes loss, divergence, clipped."""
        clip = self.config.clip_range
        loss, excess, outside = terms[0], terms[3], terms[4]
        log_ratio = log_prob - old
        ratio = np.exp(log_ratio)
        unclipped = advantage * ratio
        clipped = np.maximum(ratio, 1.0 - clip)
        np.minimum(clipped, 1.0 + clip, out=clipped)
        np.not_equal(ratio, clipped, out=outside)
        clipped *= advantage
        np.minimum(unclipped, clipped, out=loss)
        np.negative(loss, out=loss)
        np.subtract(ratio, 1.0, out=excess)
        excess -= log_ratio
        slope = unclipped * (unclipped <= clipped)
        slope *= -scale
        return slope

    def _gaussian(
        self,
        mean: np.ndarray,
        action: np.ndarray,
        old: np.ndarray,
        advantage: np.ndarray,
        scale: float,
        terms: np.ndarray,
    ) -> np.ndarray:
        """Gradient of the policy loss at ``mean [A, B]`` and, written, at the log std; terms."""
        assert self.log_std is not None
        size, count = mean.shape
        total_log_std = float(self.log_std.sum())
        inverse_std = np.exp(-self.log_std)[:, None]
        scaled = action - mean
        scaled *= inverse_std
        square = scaled * scaled
        log_prob = self._minus_half @ square
        log_prob -= total_log_std + size * LOG_SQRT_TWO_PI
        slope = self._surrogate(log_prob, old, advantage, scale, terms)
        terms[2] = total_log_std + size * (0.5 + LOG_SQRT_TWO_PI)
        # d log_prob/d mean = scaled/std; d log_prob/d log_std = scaled^2 - 1; d H/d log_std = 1.
        np.matmul(square, slope, out=self._log_std_gradient)
        bonus = self.config.entropy_coefficient * scale * count
        self._log_std_gradient -= float(slope @ self._ones[:count]) + bonus
        scaled *= inverse_std
        scaled *= slope
        return scaled

    def _categorical(
        self,
        logits: np.ndarray,
        action: np.ndarray,
        old: np.ndarray,
        advantage: np.ndarray,
        scale: float,
        terms: np.ndarray,
    ) -> np.ndarray:
        """Gradient of the policy loss at ``logits [A, B]``; writes the terms."""
        log_probability = log_softmax(logits.T).T
        probability = np.exp(log_probability)
        chosen = action[0].astype(np.int64)
        row = np.arange(len(chosen))
        slope = self._surrogate(log_probability[chosen, row], old, advantage, scale, terms)
        # d log p_a/d logits = onehot(a) - p; d H/d logits = -p (log p + H).
        delta = probability * -slope
        delta[chosen, row] += slope
        entropy = np.negative((probability * log_probability).sum(0), out=terms[2])
        if self.config.entropy_coefficient != 0.0:
            weight = self.config.entropy_coefficient * scale
            delta += weight * probability * (log_probability + entropy)
        return delta

    def step(self, learning_rate: float) -> float:
        """See :class:`~robo.policies.learners.Learner`."""
        norm = math.sqrt(float(self.flat_gradient @ self.flat_gradient))
        if norm > self.config.max_gradient_norm:
            self.flat_gradient *= self.config.max_gradient_norm / (norm + 1e-6)
        self.adam.step(learning_rate)
        return norm
