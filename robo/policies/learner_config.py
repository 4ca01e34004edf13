"""What may be chosen about the network and the learner, apart from torch.

Command lines read these without importing torch, so that ``--help`` comes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo.errors import RoboError


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the actor's and of the critic's network (two separate ones)."""

    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer."""
    activation: Literal["tanh", "relu", "elu"] = "tanh"
    """Between layers; tanh has the fast path on a CPU."""
    initial_std: float = 1.0
    """Standard deviation of continuous actions before any learning, in action units."""


@dataclass(frozen=True)
class PPOConfig:
    """How a rollout becomes a better policy."""

    learning_rate: float = 3e-4
    """Adam's step size."""
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    """linear: falls to 0 with the progress that remains."""
    epochs: int = 10
    """Passes over each rollout."""
    minibatch_size: int = 64
    """Steps per gradient, drawn from all environments and times alike."""
    gamma: float = 0.99
    """Discount per step, in [0, 1]; a reward with its own discount must agree."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation, in [0, 1]."""
    clip_range: float = 0.2
    """Probability ratios count up to 1 ± this."""
    value_clip: float | None = None
    """The value may move by this much per rollout; None for no limit."""
    value_coefficient: float = 0.5
    """Weight of the squared value error."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    max_gradient_norm: float = 0.5
    """Gradients longer than this are scaled down to it."""
    target_kl: float | None = None
    """The update stops before a step whose minibatch has moved by 1.5 times this; None: never."""
    normalise_advantage: bool = True
    """Zero mean and unit standard deviation per minibatch."""
    normalise_observation: bool = True
    """Learn the running mean and variance that the policy normalises observations by."""
    timeout: Literal["bootstrap", "keep"] = "bootstrap"
    """bootstrap: a time-out is no end of the task, V of its last state counts. keep: it ends the
    finite-horizon task, and shaping keeps its potential (not policy-invariant)."""
    adam_epsilon: float = 1e-5
    """Adam's epsilon."""
    implementation: Literal["auto", "numpy", "torch"] = "auto"
    """numpy: hand-written gradients for tanh networks on a CPU; auto: that where it can."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can use."""
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("epochs", "minibatch_size"):
            if getattr(self, name) < 1:
                raise RoboError(f"PPO's {name} is {getattr(self, name)}, expected at least 1")
