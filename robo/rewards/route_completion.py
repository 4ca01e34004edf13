"""CaRL's driving reward: the route completed in a step, reduced by soft infractions.

Source: Jaeger et al., "CaRL: Learning Scalable Planning Policies with Simple Rewards", arXiv
2504.17838, and the configuration that trained it. Pure arithmetic on numbers that the simulator
gives; detectors and their counters live there (``robo/sim/carla/infractions``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.progress import to_tensor
from robo.rewards.success import Memoryless
from robo.rollout import RewardTerms, Rollout

OVERSPEED = 2.23
"""m/s above the limit at which nothing is paid any more (nuPlan's overspeed threshold)."""
COMFORT_METRICS = 6
"""How many comfort metrics there are."""

SOFT_SIGNALS = (
    "delta_route_completion",
    "outside_lanes",
    "speed",
    "speed_limit",
    "ttc_active",
    "comfort_active",
    "lateral_offset",
    "lane_width",
    "in_junction",
)
"""Signals of progress and of what reduces it."""


class DrivingRewardError(RoboError, ValueError):
    """Settings of a driving reward that are out of range."""


def outside_lanes_factor(outside_lanes: Any) -> Tensor:
    """0 where the ego is outside its lanes (or in a wrong one), otherwise 1."""
    return 1.0 - (to_tensor(outside_lanes) != 0).double()


def speed_factor(speed: Any, speed_limit: Any) -> Tensor:
    """1 up to the limit, then linearly to 0 at 2.23 m/s above it.

    Args:
        speed: m/s.
        speed_limit: m/s.
    """
    excess = (to_tensor(speed) - to_tensor(speed_limit)).clamp(min=0)
    return (1 - excess / OVERSPEED).clamp(min=0)


def time_to_collision_factor(ttc_active: Any) -> Tensor:
    """0.5 while the time-to-collision counter runs, otherwise 1."""
    return 1.0 - 0.5 * (to_tensor(ttc_active) != 0).double()


def comfort_factor(comfort_active: Any) -> Tensor:
    """1 - 0.5 n/6 for n of the six comfort counters running."""
    return 1.0 - 0.5 * to_tensor(comfort_active) / COMFORT_METRICS


def lane_centre_factor(lateral_offset: Any, lane_width: Any, in_junction: Any) -> Tensor:
    """1 in the middle of the lane, 0 at its edge; 1 inside junctions.

    Args:
        lateral_offset: m from the centre of the ego's own lane (its magnitude counts).
        lane_width: m; where it is not positive there is no lane to keep, and the factor is 1.
        in_junction: bool.
    """
    half = 0.5 * to_tensor(lane_width)
    free = (to_tensor(in_junction) != 0) | (half <= 0)
    share = (to_tensor(lateral_offset).abs() / torch.where(half > 0, half, 1.0)).clamp(0, 1)
    return torch.where(free, torch.ones_like(share), 1 - share)


def step_reward(
    delta_route_completion: Any,
    *,
    outside_lanes: Any,
    speed: Any,
    speed_limit: Any,
    ttc_active: Any,
    comfort_active: Any,
    lateral_offset: Any,
    lane_width: Any,
    in_junction: Any,
    collision: Any,
    red_light: Any,
) -> Tensor:
    """CaRL's reward of one step; arguments are numbers, arrays or tensors that broadcast.

    Args:
        delta_route_completion: route completed in this step, percentage points.
        outside_lanes: bool, outside the route's lanes or in a wrong lane.
        speed: m/s.
        speed_limit: m/s.
        ttc_active: bool, the time-to-collision counter runs (now or within its 500 ticks).
        comfort_active: 0 ... 6, how many comfort counters run.
        lateral_offset: m from the centre of the ego's lane.
        lane_width: m.
        in_junction: bool.
        collision: bool, the episode ends by a collision.
        red_light: bool, the episode ends by running a red light.

    Returns:
        Completion times the five factors, minus 1 where a collision or a red light ended the
        episode. Finishing the route pays nothing of its own.
    """
    factors = _factors(
        outside_lanes=outside_lanes,
        speed=speed,
        speed_limit=speed_limit,
        ttc_active=ttc_active,
        comfort_active=comfort_active,
        lateral_offset=lateral_offset,
        lane_width=lane_width,
        in_junction=in_junction,
    )
    paid = to_tensor(delta_route_completion)
    for factor in factors.values():
        paid = paid * factor
    return paid - ended_by_infraction(collision, red_light)


def _factors(
    *,
    outside_lanes: Any,
    speed: Any,
    speed_limit: Any,
    ttc_active: Any,
    comfort_active: Any,
    lateral_offset: Any,
    lane_width: Any,
    in_junction: Any,
) -> dict[str, Tensor]:
    """The multipliers, in CaRL's order."""
    return {
        "outside_lanes": outside_lanes_factor(outside_lanes),
        "speed": speed_factor(speed, speed_limit),
        "time_to_collision": time_to_collision_factor(ttc_active),
        "comfort": comfort_factor(comfort_active),
        "lane_centre": lane_centre_factor(lateral_offset, lane_width, in_junction),
    }


def ended_by_infraction(collision: Any, red_light: Any) -> Tensor:
    """1 where a collision or a red light ends the episode, otherwise 0."""
    return ((to_tensor(collision) != 0) | (to_tensor(red_light) != 0)).double()


@dataclass(frozen=True)
class RouteCompletionConfig:
    """CaRL's settings; those that it left off are off here too."""

    terminal_hint: float = 1.0
    """Taken off where a collision or a red light ends the episode."""
    survival_reward: float = 0.0
    """Added every step; CaRL's ablation used 0.0001."""
    soft_infractions: bool = True
    """False drops the speed, time-to-collision, comfort and lane-centre factors."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.terminal_hint >= 0:
            raise DrivingRewardError(
                f"terminal_hint is {self.terminal_hint}, expected at least 0: it is subtracted"
            )


class RouteCompletionReward(Memoryless):
    """CaRL's reward on the signals of a rollout."""

    signals: tuple[str, ...] = (*SOFT_SIGNALS, "collision", "red_light")

    def __init__(self, config: RouteCompletionConfig | None = None) -> None:
        """``config`` None: exactly CaRL's."""
        self.config = config or RouteCompletionConfig()

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``.

        Terms: ``route_completion`` (percentage points), what each factor took from it (at most
        0 on forward progress), ``terminal_hint`` and ``survival``; their sum is the total.
        """
        signals = {name: rollout.signals[name].double() for name in self.signals}
        paid = signals["delta_route_completion"]
        terms: dict[str, Tensor] = {"route_completion": paid}
        names = ("delta_route_completion", "collision", "red_light")
        factors = _factors(**{k: v for k, v in signals.items() if k not in names})
        for name, factor in factors.items():
            if name != "outside_lanes" and not self.config.soft_infractions:
                continue
            terms[name] = paid * factor - paid
            paid = paid * factor
        ended = ended_by_infraction(signals["collision"], signals["red_light"])
        terms["terminal_hint"] = -self.config.terminal_hint * ended
        if self.config.survival_reward:
            terms["survival"] = torch.full_like(paid, self.config.survival_reward)
        return as_terms(terms, rollout)


def as_terms(terms: dict[str, Tensor], rollout: Rollout) -> RewardTerms:
    """Terms as float32 with idle slots at 0, and their sum as the total."""
    if rollout.valid is not None:
        terms = {name: term.where(rollout.valid, 0.0) for name, term in terms.items()}
    total = torch.stack(list(terms.values())).sum(0)
    return RewardTerms(total.float(), {name: term.float() for name, term in terms.items()})
