"""Driving rewards to compare with CaRL's: Roach's, the additive one, and nuPlan's variants.

Source of all numbers: the configuration and code descriptions of CaRL (arXiv 2504.17838), whose
ablations these are; Roach is Zhang et al., "End-to-End Urban Driving by Imitating a
Reinforcement Learning Coach", 2021. Pure functions first, then the rewards that feed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from robo.rewards.progress import to_tensor
from robo.rewards.route_completion import (
    COMFORT_METRICS,
    SOFT_SIGNALS,
    DrivingRewardError,
    as_terms,
    ended_by_infraction,
    lane_centre_factor,
    outside_lanes_factor,
    speed_factor,
)
from robo.rewards.success import Memoryless
from robo.rollout import RewardTerms, Rollout

ROACH_SPEED = 6.0
"""m/s that Roach wants on a free road."""


def roach_desired_speed(
    vehicle_gap: Any, walker_gap: Any, red_light_gap: Any, stop_sign_gap: Any
) -> Tensor:
    """Roach's desired speed in m/s, the lowest that any hazard ahead allows.

    Args:
        vehicle_gap: m to the next vehicle ahead; a large number for none, as for all four.
        walker_gap: m to the next pedestrian ahead.
        red_light_gap: m to the next red or yellow light.
        stop_sign_gap: m to the next stop sign not yet served.
    """

    def allowed(gap: Any, keep: float, over: float) -> Tensor:
        return ROACH_SPEED * (to_tensor(gap) - keep).clamp(0, over) / over

    return torch.stack(
        torch.broadcast_tensors(
            allowed(vehicle_gap, 8.0, 5.0),
            allowed(walker_gap, 6.0, 5.0),
            allowed(red_light_gap, 5.0, 5.0),
            allowed(stop_sign_gap, 4.0, 4.0),
        )
    ).amin(0)


def additive_step_reward(
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
    """CaRL's additive ablation; arguments as :func:`~robo.rewards.route_completion.step_reward`.

    (5 p + 5 ttc + 4 speed + 2 comfort)/16 with p the completed percentage points, and each other
    part 100/2000 where it is not violated and 0 where it is. Leaving the lanes and driving off
    the centre still multiply, collisions and red lights still cost 1.
    """
    part = 100 / 2000
    ttc = part * (to_tensor(ttc_active) == 0)
    slow = part * (to_tensor(speed) <= to_tensor(speed_limit))
    comfort = part * (to_tensor(comfort_active) == 0)
    mixed = (5 * to_tensor(delta_route_completion) + 5 * ttc + 4 * slow + 2 * comfort) / 16
    factor = outside_lanes_factor(outside_lanes)
    factor = factor * lane_centre_factor(lateral_offset, lane_width, in_junction)
    return mixed * factor - ended_by_infraction(collision, red_light)


def nuplan_lane_distance(lateral_offset: Any, lane_width: Any, in_junction: Any) -> Tensor:
    """NuPlan's softener for the distance to the lane's centre; 1 in junctions.

    ``1 - 0.5 clip((d - 0.5)/(d + e - 0.5 + 1e-6), 0, 1)`` with d the distance to the centre and
    e that to the nearer edge, m.
    """
    offset = to_tensor(lateral_offset).abs()
    edge = (0.5 * to_tensor(lane_width) - offset).clamp(min=0)
    share = ((offset - 0.5) / (offset + edge - 0.5 + 1e-6)).clamp(0, 1)
    # A lane narrower than 1 m would flip the sign of the divisor: at its edge all is lost.
    share = torch.where(offset + edge <= 0.5, (offset > 0.5).to(share), share)
    return torch.where(to_tensor(in_junction) != 0, torch.ones_like(share), 1 - 0.5 * share)


def nuplan_step_reward(
    delta: Any,
    *,
    factor: Any,
    terminated: Any,
    variant: Literal["regular", "survival", "weighted"] = "regular",
    ttc: Any = 1.0,
    comfort: Any = 1.0,
    slow: Any = 1.0,
    survival_ratio: float = 0.2,
    steps: int = 150,
) -> Tensor:
    """CaRL's three rewards on nuPlan, of one step.

    Args:
        delta: route completed in this step as a share of the whole, 0 ... 1.
        factor: product of all softeners (regular, survival), or of leaving the route and the
            lane distance alone (weighted).
        terminated: bool, the episode ends by an infraction.
        variant: ``regular`` 100 delta factor; ``survival`` 100 ((1 - s) delta factor + s/steps);
            ``weighted`` 100 factor (5 delta + (5 ttc + 4 slow + 2 comfort)/steps)/16.
        ttc: weighted: 1 while the time to collision has been kept, otherwise 0.
        comfort: weighted: 1 while all comfort metrics have been kept, otherwise 0.
        slow: weighted: the speed factor.
        survival_ratio: s.
        steps: length of an episode in steps.

    Raises:
        DrivingRewardError: ``variant`` is none of the three.
    """
    delta, factor = to_tensor(delta), to_tensor(factor)
    if variant == "regular":
        paid = delta * factor
    elif variant == "survival":
        paid = (1 - survival_ratio) * delta * factor + survival_ratio / steps
    elif variant == "weighted":
        kept = 5 * to_tensor(ttc) + 4 * to_tensor(slow) + 2 * to_tensor(comfort)
        paid = factor * (5 * delta + kept / steps) / 16
    else:
        raise DrivingRewardError(
            f"nuPlan variant {variant!r}, expected regular, survival or weighted"
        )
    return 100 * paid * (to_tensor(terminated) == 0)


class RoachReward(Memoryless):
    """Roach's shaped, additive reward.

    Speed 1 - |v - v_desired|/6, minus half the distance to the route (m), minus the heading
    error (rad), minus 0.1 where the steering moved by more than 0.01; minus 1 where an
    infraction ends the episode, and minus the speed (m/s) on top for collisions, red lights and
    stop signs. Finishing the route costs nothing.
    """

    signals: tuple[str, ...] = (
        "speed",
        "vehicle_gap",
        "walker_gap",
        "red_light_gap",
        "stop_sign_gap",
        "route_offset",
        "heading_error",
        "steer_change",
        "collision",
        "red_light",
        "stop_sign",
    )

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``, and the five terms they sum."""
        signals = {name: rollout.signals[name].double() for name in self.signals}
        desired = roach_desired_speed(
            signals["vehicle_gap"],
            signals["walker_gap"],
            signals["red_light_gap"],
            signals["stop_sign_gap"],
        )
        ended = (rollout.terminated & ~rollout.success).double()
        violent = (signals["collision"] + signals["red_light"] + signals["stop_sign"]) > 0
        terms = {
            "speed": 1 - (signals["speed"] - desired).abs() / ROACH_SPEED,
            "route_offset": -signals["route_offset"].abs() / 2,
            "heading_error": -signals["heading_error"].abs(),
            "steering": -0.1 * (signals["steer_change"].abs() > 0.01),
            "terminal": -ended - ended * violent * signals["speed"],
        }
        return as_terms(terms, rollout)


class AdditiveReward(Memoryless):
    """CaRL's additive ablation, :func:`additive_step_reward`."""

    signals: tuple[str, ...] = (*SOFT_SIGNALS, "collision", "red_light")

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; one term, ``additive``."""
        signals = {name: rollout.signals[name].double() for name in self.signals}
        delta = signals.pop("delta_route_completion")
        return as_terms({"additive": additive_step_reward(delta, **signals)}, rollout)


@dataclass(frozen=True)
class NuplanConfig:
    """Which of CaRL's nuPlan rewards."""

    variant: Literal["regular", "survival", "weighted"] = "regular"
    """See :func:`nuplan_step_reward`."""
    survival_ratio: float = 0.2
    """Share of the survival bonus (survival only)."""
    steps: int = 150
    """Steps of a whole episode, over which bonuses are spread."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.survival_ratio <= 1:
            raise DrivingRewardError(
                f"survival_ratio is {self.survival_ratio}, expected a value from 0 to 1"
            )
        if self.steps < 1:
            raise DrivingRewardError(f"steps is {self.steps}, expected at least 1")


class NuplanReward(Memoryless):
    """CaRL's nuPlan rewards on the driving signals.

    A violated time to collision counts for the rest of the episode, and so does the worst
    comfort so far: both are remembered per environment while an episode is open.
    """

    signals: tuple[str, ...] = SOFT_SIGNALS

    def __init__(self, config: NuplanConfig | None = None) -> None:
        """``config`` None: the regular variant."""
        self.config = config or NuplanConfig()
        self._episode: Tensor | None = None
        self._worst: Tensor | None = None  # [2, N]: time to collision, comfort

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; one term, ``nuplan``."""
        signals = {name: rollout.signals[name].double() for name in self.signals}
        now = torch.stack([(signals["ttc_active"] != 0).double(), signals["comfort_active"]])
        ttc_violated, uncomfortable = self._so_far(rollout, now)
        slow = speed_factor(signals["speed"], signals["speed_limit"])
        factor = outside_lanes_factor(signals["outside_lanes"]) * nuplan_lane_distance(
            signals["lateral_offset"], signals["lane_width"], signals["in_junction"]
        )
        if self.config.variant != "weighted":
            factor = factor * slow * (1 - 0.5 * ttc_violated)
            factor = factor * (1 - uncomfortable / COMFORT_METRICS)
        reward = nuplan_step_reward(
            signals["delta_route_completion"] / 100,
            factor=factor,
            terminated=rollout.terminated & ~rollout.success,
            variant=self.config.variant,
            ttc=1 - ttc_violated,
            comfort=(uncomfortable == 0).double(),
            slow=slow,
            survival_ratio=self.config.survival_ratio,
            steps=self.config.steps,
        )
        return as_terms({"nuplan": reward}, rollout)

    def _so_far(self, rollout: Rollout, now: Tensor) -> Tensor:
        """The largest of ``now [2, T, N]`` in its episode up to each step."""
        worst = torch.zeros_like(now[:, 0]) if self._worst is None else self._worst.to(now)
        before = rollout.episode[0] if self._episode is None else self._episode
        found = torch.empty_like(now)
        for t in range(now.shape[1]):
            worst = torch.where(rollout.episode[t] == before, worst, torch.zeros_like(worst))
            worst = found[:, t] = torch.maximum(worst, now[:, t])
            before = rollout.episode[t]
        self._worst, self._episode = worst.clone(), before.clone()
        return found

    def state_dict(self) -> dict[str, Any]:
        """The worst so far of every open episode, ``[N, 2]``."""
        if self._worst is None or self._episode is None:
            return {}
        return {"so_far": self._worst.T.clone(), "episode": self._episode.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._episode = state["episode"].clone() if state else None
        self._worst = state["so_far"].T.clone() if "so_far" in state else state.get("worst")
