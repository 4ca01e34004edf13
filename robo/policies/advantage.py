"""Advantages: generalised advantage estimation, and the group-relative advantage.

GAE: Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage
Estimation", 2016, equations 11-16. The loop over time runs in numpy: on a CPU it is several
times faster than the same loop in torch.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)


def _as_numpy(array: Tensor | np.ndarray) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)


def _like(array: np.ndarray, example: Array) -> Array:
    if isinstance(example, Tensor):
        return torch.from_numpy(array).to(example.device)
    return array


def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    gamma: float,
    lam: float,
) -> tuple[Array, Array]:
    """Generalised advantage estimation over a rollout, time first.

    The recursion is cut where an episode ends. V of the true next state is bootstrapped unless
    the episode terminated, so a time-out is not taken for a failure.

    Args:
        reward: ``[T, N]``, of the step s_t -> s_{t+1}; its float dtype is kept.
        value: ``[T, N]``, V(s_t).
        next_value: ``[T, N]``, V of the true next state: the final one at an episode's end,
            never that of the reset observation.
        terminated: bool ``[T, N]``, the task ended with this step.
        truncated: bool ``[T, N]``, a time-out.
        gamma: discount in [0, 1].
        lam: GAE's lambda in [0, 1].

    Returns:
        Advantage and return (advantage + value), ``[T, N]``, of the kind that came in.

    Raises:
        ValueError: where shapes differ, or gamma or lam is outside [0, 1].
    """
    if not (0.0 <= gamma <= 1.0 and 0.0 <= lam <= 1.0):
        raise ValueError(f"gamma {gamma} and lam {lam} must be in [0, 1]")
    rewards, values, following = (_as_numpy(a) for a in (reward, value, next_value))
    ended, cut = (_as_numpy(a).astype(bool) for a in (terminated, truncated))
    shapes = {a.shape for a in (rewards, values, following, ended, cut)}
    if len(shapes) != 1:
        raise ValueError(f"gae needs five arrays of one shape [T, N], got {sorted(shapes)}")
    dtype = np.result_type(rewards, values, following)
    if dtype.kind != "f":
        dtype = np.dtype(np.float32)
    # Python floats below: a numpy float64 scalar would promote float32 arrays.
    delta = rewards + float(gamma) * following * ~ended - values
    decay = float(gamma * lam) * ~(ended | cut)
    delta, decay = delta.astype(dtype, copy=False), decay.astype(dtype)
    advantage = np.empty_like(delta)
    running = np.zeros(delta.shape[1:], dtype)
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + decay[t] * running
        advantage[t] = running
    return _like(advantage, reward), _like(advantage + values.astype(dtype, copy=False), reward)


def group_advantage(reward: Array, group: Array) -> Array:
    """Group-relative advantage (r - mean)/(std + 1e-6), with the unbiased std of each group.

    Shao et al., "DeepSeekMath", 2024, section 4.1.2 (GRPO with outcome supervision).

    Args:
        reward: ``[E]`` one number per episode; its float dtype is kept.
        group: int ``[E]`` the group of each.

    Returns:
        ``[E]``; 0 for a group of one.
    """
    rewards, groups = _as_numpy(reward), _as_numpy(group)
    if rewards.shape != groups.shape or rewards.ndim != 1:
        raise ValueError(
            f"group_advantage needs reward and group of one shape [E], got {rewards.shape} "
            f"and {groups.shape}"
        )
    dtype = rewards.dtype if rewards.dtype.kind == "f" else np.dtype(np.float32)
    result = np.zeros(rewards.shape, dtype)
    for name in np.unique(groups):
        members = groups == name
        if members.sum() > 1:
            some = rewards[members].astype(np.float64)
            result[members] = (some - some.mean()) / (some.std(ddof=1) + 1e-6)
    return _like(result, reward)
