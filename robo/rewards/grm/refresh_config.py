"""What may be chosen about refreshing a GRM during training, apart from torch."""

from __future__ import annotations

from dataclasses import dataclass

from robo.errors import RoboError


@dataclass(frozen=True)
class RefreshConfig:
    """When and how the reward model learns from the policy's own episodes."""

    every_iterations: int = 4
    """PPO iterations between two refreshes; a policy finds a new flaw within a few."""
    capacity: int = 200
    """Episodes of the policy that are kept, the newest."""
    fewest_failures: int = 8
    """Failures that must have been seen before the first refresh."""
    steps: int = 60
    """Training steps of a refresh."""
    learning_rate: float = 1e-3
    """Of a refresh."""
    failure_ceiling: float = 0.5
    """Progress granted to a failure at most, and at most the share below."""
    discount: float = 0.5
    """A failure keeps this share of the progress that the model saw in it."""
    held_out_share: float = 0.25
    """Share of the policy's episodes that only judge; and of the demonstrations, where no others
    are held out."""
    tolerance: float = 0.1
    """A refreshed model may be behind the one that training began with by this much on held-out
    demonstrations, in the mean error of their progress and in its order in time, however many
    refreshes lie between."""
    seed: int = 0
    """Of batches and of which episodes judge."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("every_iterations", "capacity", "fewest_failures", "steps"):
            if getattr(self, name) < 1:
                raise RoboError(f"refresh {name} is {getattr(self, name)}, expected at least 1")
        for name in ("failure_ceiling", "discount"):
            if not 0 <= getattr(self, name) <= 1:
                raise RoboError(f"refresh {name} is {getattr(self, name)}, expected 0 to 1")
        if self.tolerance < 0:
            raise RoboError(f"refresh tolerance is {self.tolerance}, expected at least 0")
        if not 0 < self.held_out_share < 1:
            raise RoboError(
                f"refresh held_out_share is {self.held_out_share}, expected a share between 0 and 1"
            )
