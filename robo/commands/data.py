"""``robo data info|verify``: what an episode store holds, and whether it is whole."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from robo.data import EpisodeStore


@dataclass(frozen=True)
class _StoreCommand:
    """What the commands on one episode store are given."""

    path: tyro.conf.Positional[str]
    """Folder of the episode store, or an address that fsspec reaches."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""


@dataclass(frozen=True)
class DataInfo(_StoreCommand):
    """What an episode store holds."""

    def run(self) -> dict[str, Any]:
        """Count episodes, steps, frames and successes, from the manifest alone.

        Raises:
            StoreError: where there is no store, or its manifest is damaged.
        """
        from robo.data import EpisodeStore

        with EpisodeStore(self.path, mode="r") as store:
            result = summarise(store)
        if not self.json:
            _print_info(result)
        return result


@dataclass(frozen=True)
class DataVerify(_StoreCommand):
    """Check an episode store for damage: read everything and compare checksums."""

    def run(self) -> dict[str, Any]:
        """Verify every episode; the result names the damaged ones, and ``ok`` is whether none is.

        Raises:
            StoreError: where there is no store, or its manifest is damaged.
        """
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        from robo.data import EpisodeStore

        console = Console(quiet=self.json)
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with EpisodeStore(self.path, mode="r") as store:
            with Progress(*columns, console=console, transient=True) as bar:
                task = bar.add_task("verifying", total=len(store))
                damaged = store.verify(lambda done, _: bar.update(task, completed=done))
            episodes = len(store)
        for damage in damaged:
            line = f"episode {damage.episode} ({damage.file}): {damage.reason}"
            console.print(line, style="red", markup=False, soft_wrap=True)
        if damaged:
            advice = "restore their files from a copy, or take them out with `robo data repair`"
            line = f"{len(damaged)} of {episodes} episodes of {self.path} are damaged: {advice}"
        else:
            line = f"{episodes} episodes of {self.path}: all whole"
        console.print(line, markup=False, soft_wrap=True)  # a path is copied whole
        return {
            "ok": not damaged,
            "path": self.path,
            "episodes": episodes,
            "damaged": [vars(damage) for damage in damaged],
        }


def summarise(store: EpisodeStore) -> dict[str, Any]:
    """Counts over a whole store and by task, its cameras and sizes, its bytes on disk."""
    headers = [store.info(index) for index in range(len(store))]
    tasks: dict[str, dict[str, int]] = defaultdict(
        lambda: {"episodes": 0, "successes": 0, "steps": 0}
    )
    kinds: dict[str, int] = defaultdict(int)
    for header in headers:
        row = tasks[header.info.task]
        row["episodes"] += 1
        row["successes"] += header.success
        row["steps"] += header.length
        if "kind" in header.metadata:
            kinds[str(header.metadata["kind"])] += 1
    first = headers[0] if headers else None
    return {
        "path": store.path,
        "schema": store.schema,
        "episodes": len(headers),
        "successes": sum(header.success for header in headers),
        "steps": sum(header.length for header in headers),
        "frames": sum(header.frame_count * len(header.image_sizes) for header in headers),
        "bytes": store.bytes_on_disk(),
        "tasks": dict(sorted(tasks.items())),
        "kinds": dict(sorted(kinds.items())),
        "image_sizes": first.image_sizes if first else {},
        "observation": {key: list(shape[1:]) for key, shape in first.shapes("observation").items()}
        if first
        else {},
        "signals": list(first.signal_names) if first else [],
        "codings": sorted({s.coding for h in headers for s in h.arrays if "frames/" in s.name}),
        "versions": dict(first.versions) if first else {},
    }


def _print_info(result: dict[str, Any]) -> None:
    """A row per task, then what the episodes hold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['path']}: {result['episodes']} episodes", title_justify="left")
    table.add_column("task", style="bold")
    for name in ("episodes", "successes", "steps"):
        table.add_column(name, justify="right")
    for task, row in result["tasks"].items():
        table.add_row(task, *(f"{row[name]:,}" for name in ("episodes", "successes", "steps")))
    console = Console()
    console.print(table)
    cameras = ", ".join(f"{role} {h}x{w}" for role, (h, w) in result["image_sizes"].items())
    lines = {
        "frames": f"{result['frames']:,} ({cameras})" if cameras else "none",
        "observation": ", ".join(
            f"{key} {'x'.join(map(str, shape))}" for key, shape in result["observation"].items()
        ),
        "signals": ", ".join(result["signals"]) or "none",
        "kinds": ", ".join(f"{kind} {count}" for kind, count in result["kinds"].items()),
        "on disk": f"{result['bytes'] / 1e6:.1f} MB, schema {result['schema']}"
        + (f", images {', '.join(result['codings'])}" if result["codings"] else ""),
        "versions": ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
    }
    for name, text in lines.items():
        if text:
            console.print(f"{name}: {text}", markup=False, highlight=False)
