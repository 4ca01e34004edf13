"""CaRL's reward away from the road: any signal of progress as the route."""

from __future__ import annotations

import torch
from torch import Tensor

from robo.rewards.robust.wrapper import RewardWrapper
from robo.rewards.route_completion import step_reward
from robo.rollout import RewardTerms, Rollout


class ProgressRouteReward(RewardWrapper):
    """Percentage points of progress beyond the best so far, as route completion counts a route.

    For comparisons: what CaRL's idea (pay each part of the way once) amounts to on an arm, where
    there are no lanes and no traffic, so that no soft infraction reduces it. Reads the simulator's
    true progress, which no reward of a real task may.
    """

    memory = {"best": 0.0}  # noqa: RUF012

    def __init__(self, signal: str = "progress") -> None:
        """Take ``signal`` (values in [0, 1]; index t describes s_{t+1}) as the share completed."""
        super().__init__()
        self.signal = signal
        self.signals: tuple[str, ...] = (signal,)

    def pay(
        self, rollout: Rollout, inner: dict[str, RewardTerms], step: int, memory: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Term ``route_completion``."""
        completed = torch.maximum(memory["best"], rollout.signals[self.signal][step].double())
        gained = 100 * (completed - memory["best"])
        memory["best"] = completed
        paid = step_reward(
            gained,
            outside_lanes=False,
            speed=0.0,
            speed_limit=0.0,
            ttc_active=False,
            comfort_active=0,
            lateral_offset=0.0,
            lane_width=0.0,
            in_junction=False,
            collision=False,
            red_light=False,
        )
        return {"route_completion": paid}
