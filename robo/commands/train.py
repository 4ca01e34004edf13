"""``robo train``: a policy by PPO on any reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robo.policies.train_config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a policy by PPO on any reward."""

    out: Path
    """Run folder."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """The run."""
    resume: bool = False
    """Go on from the newest checkpoint in --out."""
    quiet: bool = False
    """Hide the progress display."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Train to the end; see :meth:`robo.policies.trainer.Trainer.run` for the result.

        Raises:
            RoboError: unknown task, parts that do not fit, damaged checkpoints, full disk.
        """
        # trainer imports torch._dynamo, which must come before the environment's GL context.
        from robo.policies.trainer import make_trainer

        trainer = make_trainer(self.config, self.out, show=not self.quiet)
        try:
            return trainer.run(resume=self.resume)
        finally:
            trainer.close()
