"""Policy-invariant shaping: gold reward plus gamma * potential' - potential, exactly.

Source: Ng, Harada and Russell 1999; Robo-Dopamine, arXiv 2512.23703, equations 13 to 17. With the
potential of the true next state (0 after a termination, the final frame's after a time-out),
GAE(shaped, V - potential) = GAE(gold, V) on any rollout.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.base import Reward
from robo.rewards.potential import Potential, PotentialReward
from robo.rewards.progress import to_tensor
from robo.rollout import RewardTerms, Rollout

TimeoutRule = Literal["bootstrap", "keep"]


class ShapingError(RoboError, ValueError):
    """Settings under which shaping would not mean what it says."""


def policy_invariant(
    reward: Any, potential: Any, next_potential: Any, terminated: Any, gamma: float
) -> Tensor:
    """Shape a reward without changing which policies are optimal.

    Args:
        reward: gold reward of the step s -> s', any broadcastable shape.
        potential: potential of s.
        next_potential: potential of the true next state s' (never of a reset state). Ignored,
            even where NaN, where ``terminated``.
        terminated: whether s' is terminal. A time-out is not a termination: False there.
        gamma: discount of the return that is maximised, in [0, 1]. With action chunks the chunk
            is the step and ``gamma**length`` its discount.

    Returns:
        ``reward + gamma * next_potential - potential``, with ``next_potential`` 0 where
        ``terminated``.

    Raises:
        ValueError: gamma is outside [0, 1].
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}, expected a discount in [0, 1]")
    reward, potential, next_potential = map(to_tensor, (reward, potential, next_potential))
    terminated = torch.as_tensor(terminated, dtype=torch.bool, device=next_potential.device)
    following = torch.where(terminated, torch.zeros_like(next_potential), next_potential)
    return reward + gamma * following - potential


class ShapedReward(PotentialReward):
    """A gold reward with the shaping term of a potential added to every step.

    Two time-out rules. Under ``bootstrap`` the learner bootstraps time-outs from V of the final
    observation and the optimal policies are those of the gold reward. Under ``keep`` a time-out
    ends the finite-horizon task and the learner does not bootstrap it, so that its potential is
    kept as a consolation: not policy-invariant, but any success still beats any failure (gold
    1, weight * potential <= 1, gamma <= 1). The rewards are the same under both; ``timeout``
    tells the learner which one is meant.
    """

    def __init__(
        self,
        gold: Reward,
        potential: Potential,
        gamma: float,
        timeout: TimeoutRule = "bootstrap",
        weight: float = 1.0,
    ) -> None:
        """Shape ``gold``.

        Args:
            gold: the reward that defines the task; never scaled.
            potential: potential of states, in [0, 1].
            gamma: the learner's discount, in (0, 1].
            timeout: "bootstrap" or "keep".
            weight: multiplies the potential, at least 0.

        Raises:
            ShapingError: a value is out of range, or the gold reward assumes another discount
                or time-out rule.
            PotentialError: gold and potential want different camera schedules.
        """
        if not 0 < gamma <= 1:
            raise ShapingError(f"gamma is {gamma}, expected a discount in (0, 1]")
        if timeout not in ("bootstrap", "keep"):
            raise ShapingError(f"timeout is {timeout!r}, expected 'bootstrap' or 'keep'")
        if not weight >= 0:
            raise ShapingError(f"shaping weight is {weight}, expected at least 0")
        if gold.gamma is not None and gold.gamma != gamma:
            raise ShapingError(
                f"the gold reward assumes gamma {gold.gamma}, but the learner uses {gamma}: "
                "set both to the same"
            )
        if gold.timeout is not None and gold.timeout != timeout:
            raise ShapingError(
                f"the gold reward assumes the time-out rule {gold.timeout!r}, but shaping is set "
                f"to {timeout!r}: set both to the same"
            )
        super().__init__(gold, potential)
        self.gamma: float | None = gamma
        self.timeout: str | None = timeout
        self.weight = weight
        self._gamma = gamma

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Shaped rewards of every step.

        Returns:
            ``total``: gold + shaping (0 shaping in slots that are not valid). ``terms``: gold's
            own, ``shaping`` (weight included), and ``potential``, the held potential at s_t
            without the weight, for the log only. Critic features: the held potential, the
            steps since its frame over the stride, then the gold reward's own.
        """

        def shaping(held: Tensor, following: Tensor) -> Tensor:
            """What each step is paid beside gold, ``[T, N]``."""
            return policy_invariant(
                torch.zeros_like(held),
                self.weight * held,
                self.weight * following,
                rollout.terminated,
                self._gamma,
            )

        return self.add(rollout, "shaping", shaping)
