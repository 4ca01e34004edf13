"""A gold reward without a simulator's success bit: the potential reaches the goal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.potential import Potential, episode_starts
from robo.rollout import CameraSchedule, RewardTerms, Rollout


class ThresholdError(RoboError, ValueError):
    """A threshold outside its range."""


class GRMThresholdReward:
    """1 on the first step of an episode whose next state has potential >= 1 - delta.

    Source: Robo-Dopamine, arXiv 2512.23703, equation 14 (delta 0.05), there paid on every such
    step; here once per episode, so that standing at the goal earns nothing. The potential is
    held between frames, so it is paid at the frame that shows it. The episode goes on: only
    the environment ends episodes. Invariance of shaping is then with respect to this proxy.
    """

    gamma: float | None = None
    timeout: str | None = None
    critic_feature_dim: int = 1

    def __init__(self, potential: Potential, delta: float = 0.05) -> None:
        """Pay where ``potential`` reaches ``1 - delta``.

        Args:
            potential: potential in [0, 1]; share it by
                :class:`robo.rewards.potential.SharedPotential` where a shaping term reads it
                too.
            delta: distance to the goal that counts as solved, in [0, 1).

        Raises:
            ThresholdError: delta is outside [0, 1).
        """
        if not 0 <= delta < 1:
            raise ThresholdError(f"gold threshold delta is {delta}, expected a value in [0, 1)")
        self.potential = potential
        self.delta = delta
        self.camera: CameraSchedule | None = potential.camera
        self.signals: tuple[str, ...] = potential.signals
        self._episode: Tensor | None = None
        self._paid: Tensor | None = None

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; term ``goal_reached``.

        The critic feature is whether the episode has been paid already.
        """
        track = self.potential(rollout)
        reached = track.of_next_state(rollout) >= 1 - self.delta
        if rollout.valid is not None:
            reached = reached & rollout.valid
        starts = episode_starts(rollout, self._episode)
        none = torch.zeros_like(reached[:1], dtype=torch.int64)
        count = torch.cat((none, reached.long().cumsum(dim=0)))  # before s_t, rollout only
        time = torch.arange(len(count), device=count.device)[:, None].expand(count.shape)
        begun = torch.where(starts, time, torch.zeros_like(time)).cummax(dim=0).values
        earlier = count - count.gather(0, begun)
        if self._paid is not None:
            earlier = earlier + (starts.cumsum(dim=0) == 0) * self._paid.to(earlier)
        paid = earlier > 0
        total = (reached & ~paid[:-1]).float()
        ended = rollout.final_observation
        final_paid = paid[ended.step, ended.env] | reached[ended.step, ended.env]
        unknown = -torch.ones_like(rollout.episode[-1])
        self._episode = torch.where(rollout.done[-1], unknown, rollout.episode[-1])
        self._paid = paid[-1].clone()
        return RewardTerms(
            total, {"goal_reached": total}, paid.float()[..., None], final_paid.float()[..., None]
        )

    def state_dict(self) -> dict[str, Any]:
        """Which open episodes have been paid, and the potential's state."""
        state: dict[str, Any] = {"potential": self.potential.state_dict()}
        if self._episode is not None and self._paid is not None:
            state |= {"episode": self._episode.clone(), "paid": self._paid.clone()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.potential.load_state_dict(state["potential"])
        self._episode, self._paid = state.get("episode"), state.get("paid")
