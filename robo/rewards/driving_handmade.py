"""Hand-made and LLM-written driving rewards, with which VLM-RL is compared.

Source: descriptions of VLM-RL's released baselines (arXiv 2412.15544). Where those leave a sign
or a bound open, the choice made here is said beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robo.rewards.progress import to_tensor
from robo.rewards.route_completion import as_terms
from robo.rewards.success import Memoryless
from robo.rollout import RewardTerms, Rollout

REVOLVE_BOUNDS = (-100.0, 3.0)
"""Revolve's sum is clipped; the bounds are ours: one collision to all its terms at their best."""


def _beyond(value: Any, limit: float) -> Tensor:
    """1 where the magnitude is above the limit, otherwise 0."""
    return (to_tensor(value).abs() > limit).double()


def tirl(collision: Any) -> dict[str, Tensor]:
    """TIRL: -1 on a collision, otherwise 0."""
    return {"collision": -(to_tensor(collision) != 0).double()}


def gym_carla(
    collision: Any,
    speed_ahead: Any,
    speed: Any,
    route_offset: Any,
    steer: Any,
    collision_weight: float,
    fast: float,
    out: float,
    step_cost: float,
) -> dict[str, Tensor]:
    """The sum that Chen's and ChatScene's rewards share, term by term.

    Args:
        collision: bool.
        speed_ahead: m/s along the route.
        speed: m/s.
        route_offset: m.
        steer: command in [-1, 1].
        collision_weight: cost of a collision.
        fast: m/s ahead above which 10 are taken off.
        out: m from the route beyond which 1 is taken off.
        step_cost: taken off every step.
    """
    steer, speed = to_tensor(steer), to_tensor(speed)
    return {
        "collision": -collision_weight * (to_tensor(collision) != 0).double(),
        "speed": to_tensor(speed_ahead),
        "fast": -10 * (to_tensor(speed_ahead) > fast).double(),
        "out": -_beyond(route_offset, out),
        "steer": -5 * steer**2,
        "lateral": -0.2 * steer.abs() * speed**2,
        "step": torch.full_like(speed, -step_cost),
    }


def revolve(collision: Any, speed: Any, route_offset: Any) -> dict[str, Tensor]:
    """Revolve: -100 on a collision, -10 below 1.5 m/s, 1 in the band from 4 to 6 m/s.

    Outside the band the speed term falls linearly to 0 within 4 m/s; ``centring`` falls from 1
    to 0 at 3 m (both slopes are ours).
    """
    speed = to_tensor(speed)
    off_band = torch.maximum(4 - speed, speed - 6).clamp(min=0)
    return {
        "collision": -100 * (to_tensor(collision) != 0).double(),
        "idle": -10 * (speed < 1.5).double(),
        "speed": (1 - off_band / 4).clamp(min=0),
        "centring": (1 - to_tensor(route_offset).abs() / 3).clamp(min=0),
    }


def asap(distance: Any, success: Any, collision: Any) -> dict[str, Tensor]:
    """ASAP: a tenth of the metres driven, 1 at the destination, -5 on a collision.

    The released code pays the distance of the whole episode on every step; here it is that of
    the step. Its term for overtaking is 0.
    """
    return {
        "progress": to_tensor(distance) / 10,
        "destination": to_tensor(success).double(),
        "collision": -5 * (to_tensor(collision) != 0).double(),
    }


class TirlReward(Memoryless):
    """:func:`tirl` on the driving signals."""

    signals: tuple[str, ...] = ("collision",)

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``."""
        return as_terms(tirl(rollout.signals["collision"]), rollout)


class GymCarlaReward(Memoryless):
    """:func:`gym_carla` on the driving signals, with Chen's or ChatScene's numbers."""

    signals: tuple[str, ...] = ("collision", "speed", "heading_error", "route_offset", "steer")

    def __init__(self, collision_weight: float, fast: float, out: float, step_cost: float) -> None:
        """See :func:`gym_carla`."""
        self.numbers = (collision_weight, fast, out, step_cost)

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``, and the terms they sum."""
        signals = {name: rollout.signals[name].double() for name in self.signals}
        speed = signals["speed"]
        ahead = speed * signals["heading_error"].cos()
        parts = (signals["collision"], ahead, speed, signals["route_offset"], signals["steer"])
        return as_terms(gym_carla(*parts, *self.numbers), rollout)


def chen() -> GymCarlaReward:
    """Chen et al.: a collision costs 200, the limit is 8 m/s, a step costs 0.1; 2 m is out.

    (The description names no distance for out; 2 m is the published environment's default.)
    """
    return GymCarlaReward(200.0, 8.0, 2.0, 0.1)


def chatscene() -> GymCarlaReward:
    """ChatScene: a collision costs 1, the limit is 5.5 m/s, 4 m is out."""
    return GymCarlaReward(1.0, 5.5, 4.0, 0.0)


class RevolveReward(Memoryless):
    """:func:`revolve` on the driving signals, its sum clipped to ``REVOLVE_BOUNDS``."""

    signals: tuple[str, ...] = ("collision", "speed", "route_offset")

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; term ``clipped`` is what the clip took."""
        terms = revolve(*(rollout.signals[name].double() for name in self.signals))
        total = torch.stack(list(terms.values())).sum(0)
        terms["clipped"] = total.clamp(*REVOLVE_BOUNDS) - total
        return as_terms(terms, rollout)


class AsapReward(Memoryless):
    """:func:`asap` on the driving signals."""

    signals: tuple[str, ...] = ("distance", "collision")

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``."""
        signals = rollout.signals
        terms = asap(signals["distance"].double(), rollout.success, signals["collision"])
        return as_terms(terms, rollout)
