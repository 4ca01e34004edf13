"""``robo fit grm``: a compact General Reward Model from an episode store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from robo.rewards.grm.fit_config import FitConfig

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.rewards.grm.fit import FitProgress


@dataclass(frozen=True)
class FitGRM:
    """Fit a compact General Reward Model on stored demonstrations and failures."""

    store: Path
    """Episode store, or the run folder of robo collect."""
    config: Annotated[FitConfig, tyro.conf.arg(name="")] = field(default_factory=FitConfig)
    """How it is fitted."""
    threads: int = 1
    """Threads of torch; more help only where the cores are idle."""
    out: Path = Path("runs/grm")
    """Run folder, which is the GRM's folder too."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Fit and save.

        Returns:
            ``grm`` (folder) and the training summary.

        Raises:
            RoboError: empty or unfit store, missing views, divergence, full disk.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        loss = TextColumn("{task.fields[loss]}")
        columns = (TextColumn("fit grm"), BarColumn(), loss, TimeRemainingColumn())
        console = Console(stderr=True)
        # Where there is no terminal, a transient bar would leave an empty line.
        quiet = not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
            line = bar.add_task("fit", total=self.config.iterations, loss="")

            def show(step: FitProgress) -> None:
                bar.update(line, completed=step.iteration, loss=f"loss {step.loss:.4f}")

            return fit(self, show)


def fit(config: FitGRM, on_progress: Callable[[FitProgress], None] | None = None) -> dict[str, Any]:
    """Do what :meth:`FitGRM.run` says, calling ``on_progress`` after each training step."""
    import torch

    from robo.rewards.grm.fit import fit_grm

    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        grm, summary = fit_grm(open_store(config.store), config.config, on_progress)
    finally:
        torch.set_num_threads(before)
    grm.save(config.out)
    return {"grm": str(config.out), **summary}


def open_store(path: Path) -> EpisodeStore:
    """The store at ``path``, or at its folder ``episodes`` (what robo collect writes).

    Raises:
        StoreError: where there is none.
    """
    from robo.data import EpisodeStore

    inside = path / "episodes"
    return EpisodeStore(inside if inside.is_dir() else path, mode="r")
