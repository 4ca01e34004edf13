"""Settings of Stable-Baselines3's SAC, apart from SB3."""

from __future__ import annotations

from dataclasses import dataclass

from robo.errors import RoboError


@dataclass(frozen=True)
class SacConfig:
    """VLM-RL's settings of SAC."""

    learning_rate: float = 1e-4
    """At the start; falls to ``final_learning_rate`` with the square of what is left."""
    final_learning_rate: float = 5e-7
    """At the end."""
    buffer_size: int = 100_000
    """Steps that are kept, over all environments."""
    buffer_bytes: float = 12e9
    """Most bytes of images that are kept."""
    batch_size: int = 256
    """Steps of a gradient step."""
    gamma: float = 0.98
    """Discount."""
    tau: float = 0.02
    """Share by which the target critics follow."""
    train_freq: int = 64
    """Steps of each environment between two rounds of gradient steps, scored in one pass."""
    gradient_steps: int = 64
    """Gradient steps of a round."""
    learning_starts: int = 10_000
    """Random steps at the start."""
    hidden: tuple[int, ...] = (500, 300)
    """Layers of actor and critics."""
    features: int = 256
    """Size of what the convolutions give."""
    log_std: float = -3.0
    """Logarithm of the initial standard deviation of state-dependent exploration."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        names = ("buffer_size", "batch_size", "train_freq", "gradient_steps", "features")
        for name in names:
            if getattr(self, name) < 1:
                raise RoboError(f"SAC's {name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise RoboError(
                f"SAC's learning_rate {self.learning_rate} must be positive and at least "
                f"final_learning_rate {self.final_learning_rate}"
            )
