"""Rewards that the simulator gives by itself: the sparse success bit, and its own reward."""

from __future__ import annotations

from typing import Any

from robo.rollout import CameraSchedule, RewardTerms, Rollout


class Memoryless:
    """A reward that reads neither frames nor signals and fits every learner."""

    camera: CameraSchedule | None = None
    signals: tuple[str, ...] = ()
    critic_feature_dim: int = 0
    gamma: float | None = None
    timeout: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing: no episode needs memory."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class SuccessReward(Memoryless):
    """1 on the step on which the task is solved, otherwise 0; paid once, as success ends it."""

    failure_limit = 0.0
    """The most that an episode without success is paid, see :func:`robo.assess.probes.run_probes`.
    """

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; term ``success``."""
        total = rollout.success.float()
        if rollout.valid is not None:
            total = total * rollout.valid
        return RewardTerms(total, {"success": total})


class EnvironmentReward(Memoryless):
    """The environment's own reward, as it is."""

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, ``[T, N]``; term ``environment``."""
        total = rollout.env_reward
        if rollout.valid is not None:
            total = total.where(rollout.valid, 0.0)
        return RewardTerms(total, {"environment": total})


class NoReward(Memoryless):
    """Nothing for any step: the gold reward of a wrapper's dense part."""

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Zeros, float32 ``[T, N]``; no terms."""
        return RewardTerms(rollout.env_reward.new_zeros(rollout.shape), {})
