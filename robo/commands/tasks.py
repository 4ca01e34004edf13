"""``robo tasks``: the ids that ``robo.make`` takes on this machine."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import robo

SHOWN = 8
"""A simulator with more ids than this is summed up, unless it is asked for."""
EXAMPLES = 4


@dataclass(frozen=True)
class Tasks:
    """The tasks that can be made here, by simulator."""

    contains: str = ""
    """Show only ids that contain this text, letter case aside."""
    all: bool = False
    """Show every id, also of simulators that have very many."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the ids as one line of JSON, and no table."""

    def run(self) -> dict[str, Any]:
        """Print the ids as a table, a row per simulator; the result holds them all as a list."""
        ids = [task for task in robo.tasks() if self.contains.lower() in task.lower()]
        if not self.json:
            _print(ids, self.all or bool(self.contains))
        return {"tasks": ids, "count": len(ids)}


def _print(ids: list[str], everything: bool) -> None:
    """A row per simulator, its ids in columns."""
    from rich.columns import Columns
    from rich.console import Console, Group
    from rich.table import Table

    console = Console()
    if not ids:
        console.print("No task id contains that text: 'robo tasks' without --contains shows all.")
        return
    simulators: dict[str, list[str]] = defaultdict(list)
    for task in ids:
        simulators[task.split("/", 1)[0]].append(task)
    table = Table(
        title=f"{len(ids)} task{'s' * (len(ids) != 1)}", title_justify="left", show_lines=True
    )
    table.add_column("simulator", style="bold")
    table.add_column("count", justify="right")
    table.add_column("ids: robo train --task ID")
    for simulator, names in simulators.items():
        shown = names if everything else summary(names)
        cell: Any = Columns(shown, padding=(0, 2))
        if len(shown) < len(names):
            cell = Group(cell, f"[dim]... all {len(names)}: robo tasks --contains {simulator}/[/]")
        table.add_row(simulator, str(len(names)), cell)
    console.print(table)
    console.print("Simulators that are not listed need an extra: see 'robo doctor'.")


def summary(names: list[str]) -> list[str]:
    """``names`` where they are few, else examples spread over the folders that the ids name."""
    if len(names) <= SHOWN:
        return names
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rsplit("/", 1)[0]].append(name)
    share = max(1, EXAMPLES // len(folders))
    return [name for members in folders.values() for name in members[:share]][:SHOWN]
