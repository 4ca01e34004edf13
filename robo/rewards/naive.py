"""Raw progress as the reward: the baseline that every assessment has to catch."""

from __future__ import annotations

from robo.rewards.base import Reward
from robo.rewards.potential import Potential, PotentialReward
from robo.rewards.success import SuccessReward
from robo.rollout import RewardTerms, Rollout


class NaiveProgressReward(PotentialReward):
    """Every step pays gold plus the progress of the state that it reaches. For comparisons only.

    Standing still at progress c pays c a step, and so does walking in a circle: near the goal, a
    policy that never finishes earns more than one that does. See
    :class:`robo.rewards.shaping.ShapedReward` for what to use.
    """

    gamma: float | None = None
    timeout: str | None = None

    def __init__(self, potential: Potential, gold: Reward | None = None) -> None:
        """Pay ``potential`` of the next state at every step, and ``gold`` (None: success)."""
        super().__init__(gold or SuccessReward(), potential)

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step; terms: gold's, ``raw_progress`` and ``potential`` (of s_t)."""
        return self.add(rollout, "raw_progress", lambda held, following: following)
