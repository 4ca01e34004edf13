"""Advantages by groups: each episode against the others from the same task and initial state.

Shao et al., "DeepSeekMath", 2024 (GRPO); SRPO, arXiv 2511.15605, section on the objective. There
is no critic: an episode's reward is the sum of its steps', its advantage is shared by all of its
steps, and a group whose rewards are all equal says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.policies import distributed
from robo.policies.advantage import group_advantage
from robo.policies.targets import Targets, check_rewards
from robo.rollout import RewardTerms, Rollout

NO_SPREAD = 1e-8
"""Rewards of a group that differ by less are equal."""


@dataclass(frozen=True)
class GroupTargets:
    """What a learner without a critic reads of a rollout."""

    targets: Targets
    """Advantages ``[T, N]``; its values and returns are 0."""
    valid: Tensor
    """bool ``[T, N]``: steps of the groups that have a signal."""
    metrics: dict[str, float]
    """``groups``, ``groups_used``, ``group_reward``, ``group_success``, over all ranks."""


def group_targets(
    rollout: Rollout, terms: RewardTerms, success_range: tuple[float, float] = (0.0, 1.0)
) -> GroupTargets:
    """Advantages of every step, and which steps count.

    Args:
        rollout: whole episodes, each with a group in its :class:`~robo.rollout.EpisodeInfo`;
            a group may be spread over several ranks.
        terms: its rewards.
        success_range: groups whose share of successes is outside are left out.

    Raises:
        RoboError: rewards that are not finite, an episode without a group, or one that has not
            ended.
    """
    reward = check_rewards(rollout, terms)
    valid = np.ones(reward.shape, bool)
    if rollout.valid is not None:
        valid = rollout.valid.cpu().numpy()
    ids = rollout.episode.cpu().numpy()[valid]
    episodes, place = np.unique(ids, return_inverse=True)
    total = np.zeros(len(episodes))
    np.add.at(total, place, reward[valid].astype(np.float64))
    ended, won = np.zeros((2, len(episodes)), bool)
    np.logical_or.at(ended, place, rollout.done.cpu().numpy()[valid])
    np.logical_or.at(won, place, rollout.success.cpu().numpy()[valid])
    group = _groups(rollout, episodes, ended)
    parts = distributed.gather_objects((total, group, won))
    first = sum(len(part[0]) for part in parts[: distributed.rank()])
    totals, groups, wins = (np.concatenate([part[i] for part in parts]) for i in range(3))
    advantage = group_advantage(totals, groups)
    used = _used(totals, groups, wins, success_range)
    mine = slice(first, first + len(episodes))
    spread = np.zeros(reward.shape, np.float32)
    spread[valid] = advantage[mine][place]
    kept = valid.copy()
    kept[valid] = used[mine][place]
    zero = np.zeros_like(spread)
    return GroupTargets(
        Targets(np.where(kept, spread, 0.0).astype(np.float32), zero, zero),
        torch.from_numpy(kept).to(rollout.episode.device),
        {
            "groups": float(len(np.unique(groups))),
            "groups_used": float(len(np.unique(groups[used]))),
            "group_reward": float(totals.mean()) if len(totals) else 0.0,
            "group_success": float(wins.mean()) if len(wins) else 0.0,
        },
    )


def _groups(rollout: Rollout, episodes: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """The group of each episode, int64."""
    found = []
    for episode, whole in zip(episodes.tolist(), ended.tolist(), strict=True):
        group = rollout.episodes[episode].group
        if group is None or not whole:
            raise RoboError(
                "group advantages need whole episodes in groups of one initial state: set "
                "--group-size, so that rollouts are collected that way"
            )
        found.append(group)
    return np.array(found, np.int64)


def _used(
    total: np.ndarray, group: np.ndarray, won: np.ndarray, success_range: tuple[float, float]
) -> np.ndarray:
    """Which episodes belong to a group with a signal, bool ``[E]``."""
    used = np.zeros(len(total), bool)
    low, high = success_range
    for name in np.unique(group):
        members = group == name
        share = won[members].mean()
        used[members] = np.ptp(total[members]) > NO_SPREAD and low <= share <= high
    return used
