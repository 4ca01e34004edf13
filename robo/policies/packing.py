"""A rollout as one float32 matrix, a row per step: shuffling an epoch is then one gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo.policies import networks
from robo.policies.actor_critic import ActorCritic
from robo.policies.targets import Targets, check_rewards, estimate_targets
from robo.rollout import RewardTerms, Rollout

CHUNK = 1024
"""Rows worked on at once: their activations stay in a core's cache."""


@dataclass(frozen=True)
class Columns:
    """Where things are in a packed row: state | critic features | action | four numbers."""

    state: int
    """Width D of the normalised state."""
    features: int
    """Width C of the critic features."""
    action: int
    """Width of the action: A, or 1 for a discrete one (its index, exact in float32)."""

    @property
    def inputs(self) -> int:
        """Width of what the critic reads; the actor reads its first ``state`` columns."""
        return self.state + self.features

    @property
    def log_prob(self) -> int:
        """Column of the acting policy's log probability; advantage, return, value follow."""
        return self.inputs + self.action

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.log_prob + 4


@dataclass(frozen=True)
class PackedRollout:
    """What an update reads of a rollout."""

    rows: np.ndarray
    """float ``[B, width]`` in the policy's precision, of valid steps only."""
    columns: Columns
    """Where things are in a row."""
    shuffled: np.ndarray
    """Room for the rows of an epoch, in its order."""

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.rows)

    @property
    def target(self) -> np.ndarray:
        """Returns that the value is fitted to, ``[B]``."""
        return self.rows[:, self.columns.log_prob + 2]

    @property
    def value(self) -> np.ndarray:
        """V before the update, ``[B]``."""
        return self.rows[:, self.columns.log_prob + 3]

    def shuffle(self, order: np.ndarray) -> np.ndarray:
        """Lay the rows out in ``order [B]``; a view of their advantages ``[B]`` in it."""
        np.take(self.rows, order, axis=0, out=self.shuffled, mode="clip")
        return self.shuffled[:, self.columns.log_prob + 1]

    def minibatch(self, start: int, end: int) -> np.ndarray:
        """Rows ``start`` ... ``end - 1`` of the epoch, ``[end - start, width]``."""
        return self.shuffled[start:end]


def critic_values(policy: ActorCritic, inputs: np.ndarray) -> np.ndarray:
    """V of normalised critic inputs ``[..., D + C]``, ``[...]`` of the same float type."""
    layers = networks.numpy_layers(policy.critic)
    rows = inputs.reshape(-1, inputs.shape[-1])
    value = np.empty(len(rows), inputs.dtype)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        output = networks.forward_numpy(layers, policy.config.activation, part)
        value[start : start + CHUNK] = output[:, 0]
    return value.reshape(inputs.shape[:-1])


def _inputs(policy: ActorCritic, state: Tensor, features: Tensor | None) -> np.ndarray:
    dtype = np.float64 if policy.flat.dtype == torch.float64 else np.float32
    normalised = policy.normaliser.numpy(state.detach().cpu().numpy(), dtype)
    policy.check_features(features)
    if features is None:
        return normalised
    return np.concatenate([normalised, features.detach().cpu().numpy()], -1, dtype=dtype)


def pack(
    policy: ActorCritic,
    rollout: Rollout,
    terms: RewardTerms,
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap_timeout: bool,
    recompute_log_prob: bool = False,
    targets: Targets | None = None,
) -> PackedRollout:
    """Evaluate the critic, estimate advantages, and lay the rollout out as rows.

    The critic is evaluated here and not while acting, because what it reads may be known only
    after the reward. Sets ``rollout.value``.

    Args:
        policy: whose critic and normaliser are used.
        rollout: T steps of N environments.
        terms: its rewards, with critic features where the policy reads some.
        gamma: discount.
        gae_lambda: GAE's lambda.
        bootstrap_timeout: False takes a time-out for the end of a finite-horizon task.
        recompute_log_prob: take log probabilities of the policy as it is now.
        targets: advantages known already; the critic is then not asked.

    Raises:
        RoboError: where rewards are not finite, or features have another width.
    """
    check_rewards(rollout, terms)
    state = torch.cat([rollout.observation["state"], rollout.last_observation["state"][None]])
    inputs = _inputs(policy, state, terms.critic_features)
    if targets is None:
        final = _inputs(
            policy, rollout.final_observation.observation["state"], terms.final_critic_features
        )
        targets = estimate_targets(
            rollout,
            terms,
            torch.from_numpy(critic_values(policy, inputs)),
            torch.from_numpy(critic_values(policy, final)),
            gamma=gamma,
            gae_lambda=gae_lambda,
            bootstrap_timeout=bootstrap_timeout,
        )
    log_prob = rollout.log_prob
    if recompute_log_prob:
        log_prob = _log_prob_now(policy, inputs[:-1], rollout.action)
    return _layout(policy, rollout, inputs[:-1], log_prob, targets)


def _log_prob_now(policy: ActorCritic, inputs: np.ndarray, action: Tensor) -> Tensor:
    """Log probability ``[T, N]`` of actions under the policy as it is now."""
    device = next(policy.parameters()).device
    with torch.no_grad():
        output = policy.actor(torch.from_numpy(inputs[..., : policy.state_dim]).to(device))
        return policy.distribution.log_prob(output, policy.log_std, action.to(device)).cpu()


def _layout(
    policy: ActorCritic,
    rollout: Rollout,
    inputs: np.ndarray,
    log_prob: Tensor,
    targets: Targets,
) -> PackedRollout:
    steps, envs = rollout.shape
    action = rollout.action.cpu().numpy().reshape(steps, envs, -1)
    columns = Columns(policy.state_dim, policy.critic_feature_dim, action.shape[-1])
    rows = np.empty((steps, envs, columns.width), inputs.dtype)
    rows[..., : columns.inputs] = inputs
    rows[..., columns.inputs : columns.log_prob] = action
    rows[..., columns.log_prob] = log_prob.cpu().numpy()
    numbers = (targets.advantage, targets.target, targets.value)
    for offset, array in enumerate(numbers, start=1):
        rows[..., columns.log_prob + offset] = array
    flat = rows.reshape(-1, columns.width)
    if rollout.valid is not None:
        flat = flat[rollout.valid.cpu().numpy().reshape(-1)]
    return PackedRollout(flat, columns, np.empty_like(flat))
