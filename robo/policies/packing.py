"""A rollout as one float32 matrix, a row per step: shuffling an epoch is then one gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.policies import networks
from robo.policies.actor_critic import ActorCritic
from robo.policies.advantage import gae
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
    """float32 ``[B, width]``, of valid steps only."""
    columns: Columns
    """Where things are in a row."""


def critic_values(policy: ActorCritic, inputs: np.ndarray) -> np.ndarray:
    """V of normalised critic inputs ``[..., D + C]``, float32 ``[...]``."""
    layers = networks.numpy_layers(policy.critic)
    rows = inputs.reshape(-1, inputs.shape[-1])
    value = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        output = networks.forward_numpy(layers, policy.config.activation, part)
        value[start : start + CHUNK] = output[:, 0]
    return value.reshape(inputs.shape[:-1])


def _inputs(policy: ActorCritic, state: Tensor, features: Tensor | None) -> np.ndarray:
    normalised = policy.normaliser.numpy(state.detach().cpu().numpy())
    width = 0 if features is None else int(features.shape[-1])
    if width != policy.critic_feature_dim:
        raise RoboError(
            f"this critic reads {policy.critic_feature_dim} features from the reward, but got "
            f"{width}: build the policy with critic_feature_dim of the reward it trains on"
        )
    if features is None:
        return normalised
    return np.concatenate([normalised, features.detach().cpu().numpy()], -1, dtype=np.float32)


def pack(
    policy: ActorCritic,
    rollout: Rollout,
    terms: RewardTerms,
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap_timeout: bool,
    recompute_log_prob: bool = False,
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

    Raises:
        RoboError: where rewards are not finite, or features have another width.
    """
    reward = terms.total.detach().cpu().numpy()
    if tuple(reward.shape) != rollout.shape:
        raise RoboError(f"rewards have shape {reward.shape}, the rollout {rollout.shape}")
    valid = None if rollout.valid is None else rollout.valid.cpu().numpy()
    if not np.isfinite(reward if valid is None else reward[valid]).all():
        raise RoboError(
            "the reward holds NaN or infinity: look at the reward terms logged last and at the "
            "signals that they read"
        )
    state = torch.cat([rollout.observation["state"], rollout.last_observation["state"][None]])
    inputs = _inputs(policy, state, terms.critic_features)
    final = _inputs(
        policy, rollout.final_observation.observation["state"], terms.final_critic_features
    )
    at_state = torch.from_numpy(critic_values(policy, inputs))
    at_final = torch.from_numpy(critic_values(policy, final))
    next_value = rollout.of_next_state(at_state, at_final).numpy()
    rollout.value = at_state[:-1].clone()
    value = at_state[:-1].numpy()
    terminated = rollout.terminated.cpu().numpy()
    truncated = rollout.truncated.cpu().numpy()
    if not bootstrap_timeout:
        terminated, truncated = terminated | truncated, np.zeros_like(truncated)
    if valid is not None:
        # Idle slots add nothing to the recursion, whatever they hold.
        reward, value, next_value = (np.where(valid, a, 0) for a in (reward, value, next_value))
    advantage, target = gae(reward, value, next_value, terminated, truncated, gamma, gae_lambda)
    log_prob = rollout.log_prob
    if recompute_log_prob:
        log_prob = _log_prob_now(policy, inputs[:-1], rollout.action)
    return _layout(policy, rollout, inputs[:-1], log_prob, (advantage, target, value), valid)


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
    numbers: tuple[np.ndarray, np.ndarray, np.ndarray],
    valid: np.ndarray | None,
) -> PackedRollout:
    steps, envs = rollout.shape
    action = rollout.action.cpu().numpy().reshape(steps, envs, -1)
    columns = Columns(policy.state_dim, policy.critic_feature_dim, action.shape[-1])
    rows = np.empty((steps, envs, columns.width), np.float32)
    rows[..., : columns.inputs] = inputs
    rows[..., columns.inputs : columns.log_prob] = action
    rows[..., columns.log_prob] = log_prob.cpu().numpy()
    for offset, array in enumerate(numbers, start=1):
        rows[..., columns.log_prob + offset] = array
    flat = rows.reshape(-1, columns.width)
    return PackedRollout(flat if valid is None else flat[valid.reshape(-1)], columns)
