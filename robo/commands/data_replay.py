"""``robo data replay``: render recorded episodes anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from robo.commands.data_stores import progress_bar
from robo.data.coding import Coding
from robo.policies.replay_config import ReplayConfig


@dataclass(frozen=True)
class DataReplay:
    """Render the episodes of a store anew, with other cameras, sizes or profiles.

    Simulator states are shown where the episodes hold them (HDF5 of robosuite and LIBERO);
    otherwise the episode is simulated again from its seed and checked against the recording.
    """

    path: tyro.conf.Positional[str]
    """The store to read."""
    to: str
    """The store to append to; what it holds already is not rendered again."""
    render: ReplayConfig = field(default_factory=ReplayConfig)
    """What to render."""
    workers: int = 1
    """Processes; each opens a scene of its own (robosuite and LIBERO: 1 to 2 GB)."""
    images: Coding = "lz4hc"
    """How camera frames are stored."""
    limit: int | None = None
    """The first so many episodes; all by default."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Render; ``ok`` is False where an episode could not be.

        Raises:
            RoboError: where a store cannot be opened, or a task is not installed.
        """
        from robo.data import EpisodeStore
        from robo.policies.replay import replay

        count = len(EpisodeStore(self.path, mode="r"))
        indices = range(min(count, self.limit or count))
        with progress_bar("replay", self.json) as progress:
            done = replay(
                self.path, self.to, self.render, self.workers, self.images, indices, progress
            )
        if not self.json:
            print(f"{self.to}: {done.episodes} episodes rendered, {done.earlier} were there")
            for index, reason in done.failed.items():
                print(f"episode {index}: {reason}")
        return {"ok": not done.failed, "path": self.path, "to": self.to, **vars(done)}
