"""Proximal policy optimisation: one update from one rollout and its rewards.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017. What differs from common
implementations: values are computed here, not while acting (a reward may tell the critic more);
time-outs are bootstrapped from the true final observation; minibatches do not depend on the
number of environments.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from robo.errors import CheckpointError, RoboError
from robo.policies import fast_mlp
from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.learner_config import PPOConfig
from robo.policies.learners import STATISTICS, EagerLearner, Learner, LossConfig
from robo.policies.packing import Columns, PackedRollout, pack
from robo.rollout import RewardTerms, Rollout


class PPO:
    """Improves ``actor_critic`` in place. Deterministic for a given seed."""

    def __init__(self, config: PPOConfig, actor_critic: ActorCritic, seed: int = 0) -> None:
        """``seed`` draws the order of minibatches.

        Raises:
            RoboError: where ``config.implementation`` is numpy and the network is not its kind.
        """
        if config.implementation == "numpy" and not fast_mlp.supports(actor_critic):
            raise RoboError(
                "PPO's numpy implementation trains tanh networks on a CPU only: choose "
                "implementation 'auto' or 'torch'"
            )
        self.config = config
        self.actor_critic = actor_critic
        self.generator = np.random.default_rng(seed)
        self.adam = FlatAdam(actor_critic.flat, config.adam_epsilon)

    @property
    def implementation(self) -> str:
        """``numpy`` or ``torch``: what :meth:`update` runs."""
        if self.config.implementation != "auto":
            return self.config.implementation
        return "numpy" if fast_mlp.supports(self.actor_critic) else "torch"

    def update(
        self, rollout: Rollout, terms: RewardTerms, progress_remaining: float = 1.0
    ) -> dict[str, float]:
        """Learn from one rollout.

        Sets ``rollout.value``. Observation statistics take in the rollout at the end, so that
        the old and the new policy of an update read the same inputs (at the very first one they
        take it in at the start, and the log probabilities are recomputed).

        Args:
            rollout: T steps of N environments; steps that are not ``valid`` count nowhere.
            terms: its rewards ``[T, N]``, with critic features where the policy reads some.
            progress_remaining: 1 at the start of training, 0 at its end.

        Returns:
            policy_loss, value_loss, entropy (nats), approximate_kl, clip_fraction,
            explained_variance, gradient_norm (before clipping), epochs_run, learning_rate, std.

        Raises:
            RoboError: where rewards or gradients are not finite, or no step is valid.
        """
        config, policy = self.config, self.actor_critic
        fresh = config.normalise_observation and not policy.normaliser.active
        if fresh:
            self._observe(rollout)
        packed = pack(
            policy,
            rollout,
            terms,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            bootstrap_timeout=config.timeout == "bootstrap",
            recompute_log_prob=fresh,
        )
        if len(packed.rows) == 0:
            raise RoboError("the rollout holds no valid step: collect more before an update")
        learning_rate = config.learning_rate
        if config.learning_rate_schedule == "linear":
            learning_rate *= progress_remaining
        metrics = self._epochs(packed, learning_rate)
        if config.normalise_observation and not fresh:
            self._observe(rollout)
        columns = packed.columns
        target, value = packed.rows[:, columns.log_prob + 2], packed.rows[:, columns.log_prob + 3]
        metrics["explained_variance"] = explained_variance(value, target)
        metrics["learning_rate"] = learning_rate
        log_std = policy.log_std
        metrics["std"] = 0.0 if log_std is None else float(log_std.detach().exp().mean())
        return metrics

    def _observe(self, rollout: Rollout) -> None:
        state = rollout.observation["state"]
        rows = state if rollout.valid is None else state[rollout.valid]
        self.actor_critic.normaliser.update(rows)

    def _learner(self, columns: Columns) -> Learner:
        config = self.config
        if self.actor_critic.flat.data_ptr() != self.adam.parameter.data_ptr():
            raise RoboError("the policy's parameters were replaced since PPO was built: rebuild it")
        loss = LossConfig(
            config.clip_range,
            config.value_clip,
            config.value_coefficient,
            config.entropy_coefficient,
            config.max_gradient_norm,
        )
        kind = fast_mlp.NumpyLearner if self.implementation == "numpy" else EagerLearner
        return kind(self.actor_critic, self.adam, columns, loss)

    def _epochs(self, packed: PackedRollout, learning_rate: float) -> dict[str, float]:
        """All gradient steps of one update; means over the minibatches."""
        config, rows = self.config, packed.rows
        learner = self._learner(packed.columns)
        bounds = minibatch_bounds(len(rows), config.minibatch_size)
        shuffled = np.empty_like(rows)
        statistics: list[np.ndarray] = []
        norms: list[float] = []
        epochs_run = 0
        for _ in range(config.epochs):
            np.take(rows, self.generator.permutation(len(rows)), axis=0, out=shuffled, mode="clip")
            if config.normalise_advantage:
                normalise_groups(shuffled[:, packed.columns.log_prob + 1], bounds)
            for start, end in pairwise(bounds):
                found = learner.gradient(shuffled[start:end])
                statistics.append(found)
                if config.target_kl is not None and found[3] > 1.5 * config.target_kl:
                    break
                norms.append(self._step(learner, learning_rate))
            else:
                epochs_run += 1
                continue
            break
        means = np.mean(statistics, axis=0)
        metrics = dict(zip(STATISTICS, (float(mean) for mean in means), strict=True))
        metrics["gradient_norm"] = float(np.mean(norms)) if norms else 0.0
        metrics["epochs_run"] = float(epochs_run)
        return metrics

    @staticmethod
    def _step(learner: Learner, learning_rate: float) -> float:
        norm = learner.step(learning_rate)
        if not math.isfinite(norm):
            raise RoboError(
                "PPO's gradient is NaN or infinite: training has diverged; go back to an earlier "
                "checkpoint and lower the learning rate"
            )
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Optimiser moments and the generator; the policy's own state is not in it."""
        return {
            "optimiser": self.adam.state_dict(),
            "generator": self.generator.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            CheckpointError: where it belongs to a network of another shape.
        """
        try:
            self.adam.load_state_dict(state["optimiser"])
            self.generator.bit_generator.state = state["generator"]
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"PPO's saved state does not fit this policy ({error}): resume with the config "
                "that the run was started with"
            ) from error


def minibatch_bounds(count: int, size: int) -> list[int]:
    """Where minibatches begin and end, B + 1 numbers: sizes differ by at most one.

    A remainder is spread over all minibatches: a last one of a few rows would have a useless
    advantage scale.
    """
    parts = max(1, math.ceil(count / size))
    return [count * part // parts for part in range(parts + 1)]


def normalise_groups(values: np.ndarray, bounds: list[int]) -> None:
    """Give each slice of ``values [B]`` zero mean and unit (unbiased) standard deviation."""
    for start, end in pairwise(bounds):
        part = values[start:end].astype(np.float64)
        if len(part) > 1:
            values[start:end] = (part - part.mean()) / (part.std(ddof=1) + 1e-8)


def explained_variance(value: np.ndarray, target: np.ndarray) -> float:
    """1 - Var(target - value)/Var(target): 1 is perfect; 0 where targets do not differ."""
    spread = float(np.var(target, dtype=np.float64))
    if spread == 0.0:
        return 0.0
    return 1.0 - float(np.var(target.astype(np.float64) - value)) / spread
