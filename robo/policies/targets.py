"""From rewards and values to what PPO's loss needs: advantages and returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from robo.errors import RoboError
from robo.policies.advantage import gae
from robo.rollout import RewardTerms, Rollout


@dataclass(frozen=True)
class Targets:
    """Arrays ``[T, N]``; slots that are not valid hold numbers of no meaning."""

    advantage: np.ndarray
    """Not normalised."""
    target: np.ndarray
    """Advantage plus value: what the value is fitted to."""
    value: np.ndarray
    """V(s_t)."""


def check_rewards(rollout: Rollout, terms: RewardTerms) -> np.ndarray:
    """The rewards ``[T, N]`` of a rollout.

    Raises:
        RoboError: where they have another shape, or a valid one is not finite.
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
    return reward


def estimate_targets(
    rollout: Rollout,
    terms: RewardTerms,
    at_state: Tensor,
    at_final: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap_timeout: bool,
) -> Targets:
    """Advantages by GAE and returns; sets ``rollout.value``.

    Args:
        rollout: T steps of N environments.
        terms: its rewards.
        at_state: V of s_0 ... s_T, CPU ``[T+1, N]``.
        at_final: V of the final observations, CPU ``[K]``.
        gamma: discount.
        gae_lambda: GAE's lambda.
        bootstrap_timeout: False takes a time-out for the end of a finite-horizon task.

    Raises:
        RoboError: where rewards are not finite.
    """
    reward = check_rewards(rollout, terms)
    valid = None if rollout.valid is None else rollout.valid.cpu().numpy()
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
    return Targets(advantage, target, value)
