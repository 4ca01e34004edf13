"""Roach's exploration loss: what ended an episode tells which actions to explore before it.

Zhang, Liniger, Dai, Yu and Van Gool, "End-to-End Urban Driving by Imitating a Reinforcement
Learning Coach", 2021, section 3.1. In the last steps before an infraction that ended the episode,
a KL term draws the policy towards a prior of that infraction: brake before collisions and lights,
drive on where the ego was blocked, steer anyhow before the route was left. Noise of single steps
alone hardly ever stops a car, so that PPO finds out late what stopping is worth.

The weight, constant in Roach, falls to 0 over a run here: in the end the reward alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.policies.beta import Beta
from robo.rollout import Rollout

STEER, ACCELERATION = 0, 1
"""Dimensions of a driving action."""


@dataclass(frozen=True)
class Prior:
    """A Beta distribution of one dimension of the action, in (0, 1) space."""

    dimension: int
    alpha: float
    beta: float


_SLOWER, _FASTER = Prior(ACCELERATION, 1.0, 2.5), Prior(ACCELERATION, 2.5, 1.0)
_ANYHOW = Prior(STEER, 1.0, 1.0)
PRIORS: dict[str, Prior] = {
    "collision": _SLOWER,
    "red_light": _SLOWER,
    "stop_sign": _SLOWER,
    "blocked": _FASTER,
    "route_deviation": _ANYHOW,
    "off_road": _ANYHOW,
}
"""Signal of what ended an episode, to Roach's prior (its p_z)."""


def exploration_priors(rollout: Rollout, actions: int, steps: int) -> Tensor:
    """Priors of the steps before infractions that ended an episode.

    Args:
        rollout: T steps of N environments, with at least one of the ``PRIORS`` among its signals.
            Steps of an episode that belong to the rollout before are left as they were.
        actions: dimensions A of the action.
        steps: how many steps before the end (Roach's N_z), the last one included.

    Returns:
        float32 ``[T, N, A, 2]``: alpha and beta; 0 where no prior draws.

    Raises:
        RoboError: none of the signals is known.
    """
    known = [name for name in PRIORS if name in rollout.signals]
    if not known:
        raise RoboError(
            f"the exploration loss reads one of the signals {', '.join(PRIORS)}, but the "
            f"environment has {', '.join(rollout.signals) or 'none'}: it is for driving tasks; "
            "set --ppo.exploration-coefficient 0"
        )
    priors = torch.zeros((*rollout.shape, actions, 2))
    for name in known:
        prior = PRIORS[name]
        ended = rollout.terminated & (rollout.signals[name] != 0)
        for end, env in ended.nonzero().tolist():
            first = max(end + 1 - steps, 0)
            rows = slice(first, end + 1)
            own = rollout.episode[rows, env] == rollout.episode[end, env]
            target = priors[rows, env, prior.dimension]
            target[own] = torch.tensor([prior.alpha, prior.beta])
    return priors


@dataclass(frozen=True)
class Exploration:
    """The exploration loss of rows of a rollout."""

    priors: Tensor
    """``[B, A, 2]``, see :func:`exploration_priors`."""
    weight: float
    """Of a nat of divergence, in the loss of a step."""

    @classmethod
    def of(cls, rollout: Rollout, weight: float, steps: int) -> Exploration:
        """That of all ``T * N`` slots; errors are those of :func:`exploration_priors`."""
        actions = int(rollout.action.shape[-1])
        return cls(exploration_priors(rollout, actions, steps).flatten(0, 1), weight)

    def rows(self, index: Tensor, device: torch.device) -> Exploration:
        """That of the slots ``index [b]``, on ``device``."""
        return Exploration(self.priors[index].to(device, non_blocking=True), self.weight)

    def loss(self, distribution: Beta, output: Tensor) -> Tensor:
        """Weight times KL(policy || prior), summed over rows and dimensions that have a prior.

        Args:
            distribution: the policy's.
            output: the actor's ``[B, 2A]``.
        """
        alpha, beta = distribution.concentrations(output)
        drawn = self.priors[..., 0] > 0
        there = torch.where(drawn[..., None], self.priors, 1.0)
        divergence = distribution.divergence(alpha, beta, there[..., 0], there[..., 1])
        return self.weight * torch.where(drawn, divergence, 0.0).sum()
