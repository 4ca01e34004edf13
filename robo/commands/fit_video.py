"""``robo fit video-encoder``: a compact video encoder from an episode store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robo.perception.compact_video_config import FitVideoConfig


@dataclass(frozen=True)
class FitVideoEncoder:
    """Train a compact video encoder by masked latent prediction on stored episodes."""

    store: Path
    """Episode store, or the run folder of robo collect; outcomes are read for --order alone."""
    config: Annotated[FitVideoConfig, tyro.conf.arg(name="")] = field(
        default_factory=FitVideoConfig
    )
    """How it is trained."""
    threads: int = 1
    """Threads of torch; more help only where the cores are idle."""
    out: Path = Path("runs/video-encoder")
    """Run folder, which is the encoder's folder too."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Train and save.

        Returns:
            ``encoder`` (folder), ``dim`` and the training summary.

        Raises:
            RoboError: empty or unfit store, missing views, divergence, full disk.
        """
        import torch
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from robo.data import open_store
        from robo.perception.compact_video_fit import fit_video_encoder

        loss = TextColumn("{task.fields[loss]}")
        columns = (TextColumn("fit video-encoder"), BarColumn(), loss, TimeRemainingColumn())
        console = Console(stderr=True)
        quiet = not console.is_terminal
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
                line = bar.add_task("fit", total=self.config.iterations, loss="")

                def show(step: int, value: float) -> None:
                    bar.update(line, completed=step, loss=f"loss {value:.4f}")

                encoder, summary = fit_video_encoder(open_store(self.store), self.config, show)
        finally:
            torch.set_num_threads(before)
        encoder.save(self.out)
        return {"encoder": str(self.out), "dim": encoder.dim, **summary}
