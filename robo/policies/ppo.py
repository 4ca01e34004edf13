"""Proximal policy optimisation: one update from one rollout and its rewards.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017. What differs from common
implementations: values are computed here, not while acting (a reward may tell the critic more);
time-outs are bootstrapped from the true final observation; minibatches do not depend on the
number of environments.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from itertools import pairwise
from typing import Any

import numpy as np

from robo.errors import CheckpointError, RoboError
from robo.policies import distributed, fast_mlp
from robo.policies.actor_critic import ActorCritic
from robo.policies.adam import FlatAdam
from robo.policies.beta import Beta
from robo.policies.exploration_loss import Exploration
from robo.policies.group_targets import GroupTargets, group_targets
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.image_learner import ImageLearner
from robo.policies.image_rollout import ImageRollout, prepare
from robo.policies.learner_config import PPOConfig
from robo.policies.learners import STATISTICS, EagerLearner, Learner, LossConfig
from robo.policies.minibatches import Epochs, minibatch_bounds, normalise_groups
from robo.policies.packing import PackedRollout, pack
from robo.policies.policy import Policy
from robo.policies.schedules import LearningRate
from robo.rollout import RewardTerms, Rollout

__all__ = ["PPO", "PPOConfig", "explained_variance", "minibatch_bounds", "normalise_groups"]

UNCHANGED = (*STATISTICS, "gradient_norm", "epochs_run", "explained_variance", "learning_rate")
"""Metrics that are 0 where no group of a rollout has a signal."""


def frozen(policy: Any) -> Any:
    """A copy of ``policy`` that nothing trains."""
    return copy.deepcopy(policy).requires_grad_(False)


class PPO:
    """Improves ``actor_critic`` in place. Deterministic for a given seed.

    Over several ranks each calls :meth:`update` with its own rollout (of equal length T) and the
    same ``seed``; all come to the same parameters.
    """

    def __init__(self, config: PPOConfig, actor_critic: Policy, seed: int = 0) -> None:
        """``seed`` draws the order of minibatches; the policy is on its device already.

        Raises:
            RoboError: where ``config.implementation`` is numpy and the network is not its kind,
                an exploration loss meets another distribution than the Beta, or a critic that
                shares layers with the actor is to learn apart from it.
        """
        if config.implementation == "numpy" and not fast_mlp.supports(actor_critic):
            raise RoboError(
                "PPO's numpy implementation trains tanh networks on a CPU only: choose "
                "implementation 'auto' or 'torch'"
            )
        if config.implementation == "numpy" and config.needs_torch:
            raise RoboError(
                "PPO's numpy implementation knows neither group advantages, a clip_range_high nor "
                "a reference_kl: choose implementation 'auto' or 'torch'"
            )
        if config.exploration_coefficient > 0 and not (
            isinstance(actor_critic, ImageActorCritic)
            and isinstance(actor_critic.distribution, Beta)
        ):
            raise RoboError(
                "PPO's exploration loss knows Beta distributions of image policies only: set "
                "--ppo.exploration-coefficient 0, or --network.kind carl_grid with "
                "--network.distribution beta"
            )
        apart = config.critic_warm_up > 0 or config.critic_learning_rate is not None
        if apart and not isinstance(actor_critic, ActorCritic):
            raise RoboError(
                "PPO's critic_warm_up and critic_learning_rate need a critic that shares no layers "
                "with the actor: leave them out, or set --network.kind mlp"
            )
        self.config = config
        self.actor_critic = actor_critic
        self.updates = 0
        self.reference = frozen(actor_critic) if config.reference_kl > 0 else None
        self.generator = np.random.default_rng(seed)
        self.adam = FlatAdam(actor_critic.flat, config.adam_epsilon, self._rates())
        self.learning_rate = LearningRate(config)
        # Kept for the whole run: a new one would be compiled again.
        self._torch_learner: EagerLearner | ImageLearner | None = None
        if config.compile and isinstance(actor_critic, ImageActorCritic):
            actor_critic.compile_acting()

    def _rates(self) -> list[tuple[slice, float]]:
        """Parts of the flat parameters with their factors on the learning rate; none: all 1."""
        own = self.config.critic_learning_rate
        if own is None:
            return []
        parts, start = [], 0
        for name, parameter in self.actor_critic.named_parameters():
            if parameter.requires_grad:
                factor = own / self.config.learning_rate if name.startswith("critic.") else 1.0
                end = start + parameter.numel()
                if parts and parts[-1][1] == factor:
                    start = parts.pop()[0].start
                parts.append((slice(start, end), factor))
                start = end
        return parts

    @property
    def implementation(self) -> str:
        """``numpy`` or ``torch``: what :meth:`update` runs."""
        if self.config.implementation != "auto":
            return self.config.implementation
        slow = self.config.compile or self.config.needs_torch
        fast = not slow and fast_mlp.supports(self.actor_critic)
        return "numpy" if fast else "torch"

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
            explained_variance, gradient_norm (before clipping), epochs_run, learning_rate, std;
            with group advantages those of :class:`~robo.policies.group_targets.GroupTargets` too.
            Means over all ranks, but for explained_variance, which is this rank's.

        Raises:
            RoboError: where rewards or gradients are not finite, or no step is valid.
        """
        config, policy, seen = self.config, self.actor_critic, rollout
        fresh = config.normalise_observation and not policy.normaliser.active
        if fresh:
            policy.observe(rollout.observation, rollout.valid)
        groups = None
        if config.advantage == "group":
            groups = group_targets(rollout, terms, config.group_success)
            rollout = dataclasses.replace(rollout, valid=groups.valid)
        batch = self._batch(rollout, terms, fresh, groups, progress_remaining)
        epochs = Epochs(rollout.shape, rollout.valid, config.minibatch_size)
        if epochs.count == 0:
            if groups is not None:
                return {**dict.fromkeys(UNCHANGED, 0.0), **groups.metrics}
            raise RoboError("the rollout holds no valid step: collect more before an update")
        learning_rate = self.learning_rate(progress_remaining)
        metrics = self._epochs(batch, epochs, learning_rate)
        self.updates += 1
        self.learning_rate.after(stopped=metrics["epochs_run"] < config.epochs)
        if config.normalise_observation and not fresh:
            policy.observe(rollout.observation, seen.valid)
        metrics["explained_variance"] = explained_variance(batch.value, batch.target)
        metrics["learning_rate"] = learning_rate
        log_std = policy.log_std
        metrics["std"] = 0.0 if log_std is None else float(log_std.detach().exp().mean())
        if groups is not None:
            metrics.update(groups.metrics)
        return metrics

    def _batch(
        self,
        rollout: Rollout,
        terms: RewardTerms,
        fresh: bool,
        groups: GroupTargets | None = None,
        progress_remaining: float = 1.0,
    ) -> PackedRollout | ImageRollout:
        config, policy = self.config, self.actor_critic
        options: dict[str, Any] = {
            "gamma": config.gamma,
            "gae_lambda": config.gae_lambda,
            "bootstrap_timeout": config.timeout == "bootstrap",
            "recompute_log_prob": fresh,
            "targets": None if groups is None else groups.targets,
        }
        if isinstance(policy, ImageActorCritic):
            exploration = None
            if config.exploration_coefficient > 0:
                weight = config.exploration_coefficient * progress_remaining
                exploration = Exploration.of(rollout, weight, config.exploration_steps)
            options |= {"chunk_size": config.chunk_size, "exploration": exploration}
            return prepare(policy, rollout, terms, **options)
        assert isinstance(policy, ActorCritic)
        return pack(policy, rollout, terms, **options)

    def _learner(self, batch: PackedRollout | ImageRollout) -> Learner:
        config, policy = self.config, self.actor_critic
        if policy.flat.data_ptr() != self.adam.parameter.data_ptr():
            raise RoboError("the policy's parameters were replaced since PPO was built: rebuild it")
        loss = LossConfig(
            config.clip_range,
            config.value_clip,
            0.0 if config.advantage == "group" else config.value_coefficient,
            config.entropy_coefficient,
            config.max_gradient_norm,
            config.clip_range_high,
            config.reference_kl,
        )
        if isinstance(batch, PackedRollout) and self.implementation == "numpy":
            assert isinstance(policy, ActorCritic)
            return fast_mlp.NumpyLearner(policy, self.adam, batch.columns, loss)
        if self._torch_learner is None:
            if isinstance(policy, ImageActorCritic):
                self._torch_learner = ImageLearner(
                    policy, self.adam, loss, config.chunk_size, config.compile, self.reference
                )
            else:
                assert isinstance(policy, ActorCritic) and isinstance(batch, PackedRollout)
                self._torch_learner = EagerLearner(
                    policy, self.adam, batch.columns, loss, config.compile, self.reference
                )
        self._torch_learner.begin()
        return self._torch_learner

    def _epochs(
        self, batch: PackedRollout | ImageRollout, epochs: Epochs, learning_rate: float
    ) -> dict[str, float]:
        """All gradient steps of one update; means over the minibatches."""
        config = self.config
        learner = self._learner(batch)
        several = distributed.is_distributed()
        limit = self._kl_limit()
        statistics: list[np.ndarray] = []
        norms: list[float] = []
        epochs_run = 0
        for _ in range(config.epochs):
            order, bounds = epochs.draw(self.generator)
            advantage = batch.shuffle(order)
            if self.updates < config.critic_warm_up:
                advantage[:] = 0  # no gradient for the actor
            elif config.normalise_advantage and config.advantage == "gae":
                normalise_groups(advantage, bounds)
            for start, end in pairwise(bounds):
                found = learner.gradient(batch.minibatch(start, end))
                if several:
                    distributed.average_gradients_(self.adam.gradient, end - start, found)
                statistics.append(found)
                if limit is not None and found[3] > limit:
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

    def _kl_limit(self) -> float | None:
        """Divergence of a minibatch that ends the update."""
        config = self.config
        if config.target_kl is None:
            return None
        return config.target_kl * (1.0 if config.learning_rate_schedule == "kl_adaptive" else 1.5)

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
        """Optimiser moments, schedule and generator; the policy's own state is not in it."""
        return {
            "optimiser": self.adam.state_dict(),
            "generator": self.generator.bit_generator.state,
            "schedule": self.learning_rate.state_dict(),
            "updates": self.updates,
            **({} if self.reference is None else {"reference": self.reference.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            CheckpointError: where it belongs to a network of another shape.
        """
        try:
            self.adam.load_state_dict(state["optimiser"])
            self.generator.bit_generator.state = state["generator"]
            if "schedule" in state:  # not in files of versions before 0.2
                self.learning_rate.load_state_dict(state["schedule"])
            # Older files know of no warm-up, so theirs is over.
            self.updates = int(state.get("updates", self.config.critic_warm_up))
            if self.reference is not None:
                self.reference.load_state_dict(state["reference"])
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"PPO's saved state does not fit this policy ({error}): resume with the config "
                "that the run was started with"
            ) from error


def explained_variance(value: np.ndarray, target: np.ndarray) -> float:
    """1 - Var(target - value)/Var(target): 1 is perfect; 0 where targets do not differ."""
    spread = float(np.var(target, dtype=np.float64)) if len(target) else 0.0
    if spread == 0.0:
        return 0.0
    return 1.0 - float(np.var(target.astype(np.float64) - value)) / spread
