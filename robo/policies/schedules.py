"""The learning rate: its growth with the minibatch, and its course over a run."""

from __future__ import annotations

import math
from typing import Any

from robo.policies.learner_config import PPOConfig

EVENTS = 8
"""Updates ended by the KL divergence after which the kl_adaptive rate is halved (Roach)."""


class LearningRate:
    """Adam's step size of each update.

    Scaling: in proportion to the minibatch, as the noise of a mean over it allows for SGD (Goyal
    et al., "Accurate, Large Minibatch SGD", 2017), or to its square root, as it does for Adam
    (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022).
    """

    def __init__(self, config: PPOConfig) -> None:
        """See ``PPOConfig`` for the choices."""
        ratio = config.minibatch_size / config.reference_minibatch_size
        growth = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}
        self.schedule = config.learning_rate_schedule
        self.base = config.learning_rate * growth[config.learning_rate_scaling]
        self.factor = 1.0
        self.events = 0

    def __call__(self, progress_remaining: float) -> float:
        """The rate of an update; ``progress_remaining`` falls from 1 to 0 over training."""
        if self.schedule == "linear":
            return self.base * progress_remaining
        return self.base * self.factor

    def after(self, stopped: bool) -> None:
        """Take in whether the KL divergence ended an update."""
        if self.schedule != "kl_adaptive" or not stopped:
            return
        self.events += 1
        if self.events == EVENTS:
            self.events = 0
            self.factor *= 0.5

    def state_dict(self) -> dict[str, Any]:
        """What the next update depends on."""
        return {"factor": self.factor, "events": self.events}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.factor, self.events = float(state["factor"]), int(state["events"])
