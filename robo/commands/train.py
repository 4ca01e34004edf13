"""``robo train``: a policy by PPO on any reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robo.policies.launcher import ProcessConfig
from robo.policies.train_config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a policy by PPO on any reward, with one process or many."""

    out: Path
    """Run folder."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """The run."""
    processes: Annotated[ProcessConfig, tyro.conf.arg(name="")] = field(
        default_factory=ProcessConfig
    )
    """Processes and machines; the result is that of one process, up to rounding."""
    resume: bool = False
    """Go on from the newest checkpoint in --out."""
    videos_every: int = 0
    """Updates between two reward videos of the policy, previewed in TensorBoard; 0 for none."""
    quiet: bool = False
    """Hide the progress display."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Train to the end; see :meth:`robo.policies.trainer.Trainer.run` for the result.

        Raises:
            RoboError: unknown task, parts that do not fit, damaged checkpoints, full disk.
        """
        from robo.commands.driving import with_server
        from robo.policies.launcher import run_in_processes, train_rank

        callbacks: tuple[Any, ...] = ()
        if self.videos_every:
            from robo.media.training_videos import TrainingVideos

            callbacks = (TrainingVideos(self.videos_every),)
        arguments = (self.config, self.out, self.resume, not self.quiet, callbacks)
        if self.processes.several:
            result = run_in_processes(self.processes, train_rank, *arguments)
        else:
            result = train_rank(*arguments)
        return with_server(result)
