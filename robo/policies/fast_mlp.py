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
from torch import nn

from robo.policies import networks
from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.distributions import LOG_SQRT_TWO_PI, log_softmax
from robo.policies.learners import STATISTICS, LossConfig
from robo.policies.packing import CHUNK, Columns


def supports(policy: ActorCritic) -> bool:
    """Whether :class:`NumpyLearner` can train ``policy``: tanh networks on a CPU."""
    return policy.config.activation == "tanh" and next(policy.parameters()).device.type == "cpu"


class TanhNetwork:
    """Forward and backward pass of a tanh MLP over views of its parameters and gradients."""

    def __init__(self, network: nn.Sequential) -> None:
        """The parameters' ``grad`` must be set: gradients are added to them."""
        layers = networks.linear_layers(network)
        self.weights = [layer.weight.detach().numpy() for layer in layers]
        self.biases = [layer.bias.detach().numpy() for layer in layers]
        self.weight_gradients = [_gradient(layer.weight) for layer in layers]
        self.bias_gradients = [_gradient(layer.bias) for layer in layers]
        self.buffers = [np.empty((CHUNK, len(bias)), np.float32) for bias in self.biases]
        self.hidden: list[np.ndarray] = []

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """Output ``[B, out]`` for ``inputs [B, in]``, B <= ``CHUNK``; kept for the gradient."""
        self.hidden = [inputs]
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            output = self.buffers[index][: len(inputs)]
            np.matmul(self.hidden[-1], weight.T, out=output)
            output += bias
            if index < last:
                np.tanh(output, out=output)
            self.hidden.append(output)
        return self.hidden.pop()

    def backward(self, delta: np.ndarray) -> None:
        """Add the gradient for ``delta [B, out]``, the loss's gradient at the output."""
        ones = np.ones(len(delta), np.float32)
        for index in range(len(self.weights) - 1, -1, -1):
            hidden = self.hidden[index]
            self.weight_gradients[index] += delta.T @ hidden
            self.bias_gradients[index] += ones @ delta
            if index > 0:
                delta = delta @ self.weights[index]
                # tanh' = 1 - tanh^2; the activation is not needed again, so it makes room.
                np.multiply(hidden, hidden, out=hidden)
                np.subtract(1.0, hidden, out=hidden)
                delta *= hidden


def _gradient(parameter: torch.Tensor) -> np.ndarray:
    assert parameter.grad is not None
    return parameter.grad.numpy()


class NumpyLearner:
    """See :class:`~robo.policies.learners.Learner`; equal to ``EagerLearner`` up to rounding."""

    def __init__(
        self, policy: ActorCritic, adam: FlatAdam, columns: Columns, config: LossConfig
    ) -> None:
        """``adam`` owns the flat vector of which the policy's parameters are views."""
        self.adam, self.columns, self.config = adam, columns, config
        adam.attach(policy.parameters())
        self.actor = TanhNetwork(policy.actor)
        self.critic = TanhNetwork(policy.critic)
        self.log_std = None if policy.log_std is None else policy.log_std.detach().numpy()
        self.log_std_gradient = None if policy.log_std is None else _gradient(policy.log_std)
        self.flat_gradient = adam.gradient.numpy()

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Accumulate over chunks of the minibatch; see :class:`Learner`."""
        self.flat_gradient.fill(0.0)
        sums = [0.0] * len(STATISTICS)
        scale = 1.0 / len(rows)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            value_loss = self._critic(part, scale)
            policy_part = self._actor(part, scale)
            chunk = (policy_part[0], value_loss, *policy_part[1:])
            sums = [a + b for a, b in zip(sums, chunk, strict=True)]
        return np.array(sums) * scale

    def _critic(self, rows: np.ndarray, scale: float) -> float:
        """Add the value loss's gradient; its sum over rows."""
        columns, clip = self.columns, self.config.value_clip
        value = self.critic.forward(rows[:, : columns.inputs])[:, 0]
        target, old_value = rows[:, columns.log_prob + 2], rows[:, columns.log_prob + 3]
        error = value - target
        loss = error * error
        if clip is not None:
            moved = value - old_value
            clipped_error = old_value + np.clip(moved, -clip, clip) - target
            clipped_loss = clipped_error * clipped_error
            # The larger loss counts; where that is the clipped one it does not depend on value.
            error = np.where((loss < clipped_loss) & (np.abs(moved) > clip), 0, error)
            loss = np.maximum(loss, clipped_loss)
        error *= 2.0 * self.config.value_coefficient * scale
        self.critic.backward(error[:, None])
        return float(loss.sum())

    def _actor(self, rows: np.ndarray, scale: float) -> tuple[float, float, float, float]:
        """Add the policy loss's gradient; sums of loss, entropy, divergence, clipped rows."""
        columns = self.columns
        output = self.actor.forward(rows[:, : columns.state])
        action = rows[:, columns.inputs : columns.log_prob]
        part = self._gaussian if self.log_std is not None else self._categorical
        return part(output, action, rows[:, columns.log_prob], rows[:, columns.log_prob + 1], scale)

    def _surrogate(
        self, log_prob: np.ndarray, old: np.ndarray, advantage: np.ndarray, scale: float
    ) -> tuple[np.ndarray, float, float, float]:
        """Gradient of the clipped loss in log_prob ``[B]``; sums of loss, divergence, clipped."""
        clip = self.config.clip_range
        log_ratio = log_prob - old
        ratio = np.exp(log_ratio)
        unclipped = advantage * ratio
        clipped = advantage * np.clip(ratio, 1.0 - clip, 1.0 + clip)
        surrogate = np.minimum(unclipped, clipped)
        slope = np.where(unclipped <= clipped, unclipped, 0)
        slope *= -scale
        excess = ratio - 1.0
        outside = float(np.count_nonzero(np.abs(excess) > clip))
        excess -= log_ratio
        return slope, -float(surrogate.sum()), float(excess.sum()), outside

    def _gaussian(
        self,
        mean: np.ndarray,
        action: np.ndarray,
        old: np.ndarray,
        advantage: np.ndarray,
        scale: float,
    ) -> tuple[float, float, float, float]:
        assert self.log_std is not None and self.log_std_gradient is not None
        size, count = mean.shape[1], len(mean)
        total_log_std = float(self.log_std.sum())
        inverse_std = np.exp(-self.log_std)
        scaled = (action - mean) * inverse_std
        square = scaled * scaled
        log_prob = -0.5 * square.sum(1) - (total_log_std + size * LOG_SQRT_TWO_PI)
        slope, loss, divergence, outside = self._surrogate(log_prob, old, advantage, scale)
        # d log_prob/d mean = scaled/std; d log_prob/d log_std = scaled^2 - 1; d H/d log_std = 1.
        self.log_std_gradient += slope @ square
        bonus = self.config.entropy_coefficient * scale * count
        self.log_std_gradient -= float(slope.sum()) + bonus
        scaled *= inverse_std
        scaled *= slope[:, None]
        self.actor.backward(scaled)
        entropy = total_log_std + size * (0.5 + LOG_SQRT_TWO_PI)
        return loss, entropy * count, divergence, outside

    def _categorical(
        self,
        logits: np.ndarray,
        action: np.ndarray,
        old: np.ndarray,
        advantage: np.ndarray,
        scale: float,
    ) -> tuple[float, float, float, float]:
        log_probability = log_softmax(logits)
        probability = np.exp(log_probability)
        chosen = action[:, 0].astype(np.int64)
        row = np.arange(len(chosen))
        slope, loss, divergence, outside = self._surrogate(
            log_probability[row, chosen], old, advantage, scale
        )
        # d log p_a/d logits = onehot(a) - p; d H/d logits = -p (log p + H).
        delta = probability * -slope[:, None]
        delta[row, chosen] += slope
        entropy = -(probability * log_probability).sum(1)
        if self.config.entropy_coefficient != 0.0:
            weight = self.config.entropy_coefficient * scale
            delta += weight * probability * (log_probability + entropy[:, None])
        self.actor.backward(delta)
        return loss, float(entropy.sum()), divergence, outside

    def step(self, learning_rate: float) -> float:
        """See :class:`~robo.policies.learners.Learner`."""
        norm = math.sqrt(float(self.flat_gradient @ self.flat_gradient))
        if norm > self.config.max_gradient_norm:
            self.flat_gradient *= self.config.max_gradient_norm / (norm + 1e-6)
        self.adam.step_numpy(learning_rate)
        return norm
