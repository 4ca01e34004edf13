"""``robo fit clip``: a small image-text model of one domain, from episode stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from robo.perception.clip_config import ClipFitConfig

if TYPE_CHECKING:
    from robo.perception.clip_fit import ClipFitStep
    from robo.rollout import Episode


@dataclass(frozen=True)
class FitClip:
    """Fit an image-text model on stored frames, captioned from their episodes' signals."""

    stores: tuple[Path, ...]
    """Episode stores, or run folders of robo collect; with frames and signals."""
    captions: str = "driving"
    """What frames are called: driving, or lifting."""
    config: Annotated[ClipFitConfig, tyro.conf.arg(name="")] = field(default_factory=ClipFitConfig)
    """How it is fitted."""
    threads: int = 1
    """Threads of torch; more help only where the cores are idle."""
    out: Path = Path("runs/clip")
    """Run folder, which is the model's folder too: an ordinary open_clip checkpoint."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Fit and save; see :func:`robo.rewards.language_fit.fit_clip` for the result.

        Raises:
            RoboError: empty or unfit stores, missing views or signals, divergence, full disk.
        """
        import torch
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from robo.rewards.captions import caption_set
        from robo.rewards.language_fit import fit_clip

        captions, before = caption_set(self.captions), torch.get_num_threads()
        loss = TextColumn("{task.fields[loss]}")
        columns = (TextColumn("fit clip"), BarColumn(), loss, TimeRemainingColumn())
        console = Console(stderr=True)
        # Where there is no terminal, a transient bar would leave an empty line.
        quiet = not console.is_terminal
        torch.set_num_threads(self.threads)
        try:
            with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
                line = bar.add_task("fit", total=self.config.iterations, loss="")

                def show(step: ClipFitStep) -> None:
                    bar.update(line, completed=step.iteration, loss=f"loss {step.loss:.3f}")

                return fit_clip(self._episodes(), captions, self.config, self.out, show)
        finally:
            torch.set_num_threads(before)

    def _episodes(self) -> Iterator[Episode]:
        """The episodes of all stores, one in memory at a time."""
        from robo.data import open_store

        for path in self.stores:
            yield from open_store(path)
