"""What the reward that is learned from has paid each episode, from its first step to its last."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.rollout import RewardTerms, Rollout

NO_EPISODE = -1
"""In place of an episode's id: nothing is open."""


class RewardReturns:
    """Sums a reward over whole episodes, which may stay open from one rollout to the next.

    An episode whose rollouts were not all seen (one that a restored environment dropped) has no
    sum; ids are never used twice, so it cannot be taken for another.
    """

    def __init__(self, num_envs: int) -> None:
        """Nothing is open in any of ``num_envs`` environments."""
        self._episode = np.full(num_envs, NO_EPISODE, np.int64)
        self._total = np.zeros(num_envs, np.float64)

    def add(self, rollout: Rollout, terms: RewardTerms) -> dict[int, float]:
        """Take in the next rollout.

        Args:
            rollout: of T steps of the N environments.
            terms: its rewards.

        Returns:
            Id to undiscounted sum of ``terms.total``, of each episode that ended in it.
        """
        paid = terms.total.detach().double().cpu().numpy()
        ended, ids = rollout.done.cpu().numpy(), rollout.episode.cpu().numpy()
        if rollout.valid is not None:
            valid = rollout.valid.cpu().numpy()
            paid, ended = np.where(valid, paid, 0.0), ended & valid
        carried = np.where(ids[0] == self._episode, self._total, 0.0)
        running = carried + paid.cumsum(axis=0)
        before = np.zeros(len(carried))  # paid to the environment's earlier episodes in here
        found = {}
        for step, env in np.argwhere(ended):
            found[int(ids[step, env])] = float(running[step, env] - before[env])
            before[env] = running[step, env]
        self._total = running[-1] - before
        self._episode = np.where(np.isin(ids[-1], list(found)), NO_EPISODE, ids[-1])
        return found

    def state_dict(self) -> dict[str, Any]:
        """The open sums, one row per environment."""
        return {"episode": self._episode.tolist(), "total": self._total.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._episode = np.array(state["episode"], np.int64)
        self._total = np.array(state["total"], np.float64)
