"""``robo tasks``: the ids that ``robo.make`` takes on this machine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import robo


@dataclass(frozen=True)
class Tasks:
    """The tasks that can be made here, by simulator."""

    contains: str = ""
    """Show only ids that contain this text, letter case aside."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the ids as one line of JSON, and no table."""

    def run(self) -> dict[str, Any]:
        """Print the ids as a table, a row per simulator; the result holds them as a list."""
        ids = [task for task in robo.tasks() if self.contains.lower() in task.lower()]
        if not self.json:
            _print(ids)
        return {"tasks": ids, "count": len(ids)}


def _print(ids: list[str]) -> None:
    """A row per simulator, its ids in columns."""
    from rich.columns import Columns
    from rich.console import Console
    from rich.table import Table

    simulators: dict[str, list[str]] = defaultdict(list)
    for task in ids:
        simulators[task.split("/", 1)[0]].append(task)
    table = Table(title=f"{len(ids)} tasks", title_justify="left", show_lines=True)
    table.add_column("simulator", style="bold")
    table.add_column("count", justify="right")
    table.add_column("ids: robo train --task ID")
    for simulator, names in simulators.items():
        table.add_row(simulator, str(len(names)), Columns(names, padding=(0, 2)))
    console = Console()
    console.print(table)
    console.print("Simulators that are not listed need an extra: see 'robo doctor'.")
