"""``robo doctor``: what works on this machine, and the command that mends what does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.doctor import Check, run_checks


@dataclass(frozen=True)
class Doctor:
    """What works on this machine, and the command that mends what does not.

    Tries PyTorch, each GL backend (three cameras of 128 pixels), the simulators, video encoding
    and storage. The exit code is 0 where all that robo's core needs works.
    """

    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the checks as one line of JSON, and no table."""

    def run(self) -> dict[str, Any]:
        """Run every check and print the table; ``ok`` says whether the core works."""
        checks = list(run_checks()) if self.json else _with_progress()
        if not self.json:
            _print(checks)
        return {
            "ok": all(check.ok for check in checks if check.required),
            "checks": checks,
        }


def _with_progress() -> list[Check]:
    """Every check, with the one at work shown on a terminal."""
    from rich.console import Console

    checks = []
    with Console(stderr=True).status("checking this machine") as status:
        for check in run_checks():
            status.update(f"checked {check.part}: {check.detail}")
            checks.append(check)
    return checks


def _print(checks: list[Check]) -> None:
    """A row per check, then what to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title="robo doctor", title_justify="left")
    table.add_column("part", style="bold", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        failed = Text("broken", "bold red") if check.required else Text("missing", "yellow")
        state = Text("works", "green") if check.ok else failed
        table.add_row(check.part, state, Text(check.detail))
    console.print(table)
    # Commands are printed outside the table: no line of theirs is cut, so they can be copied.
    for check in checks:
        if not check.ok and check.mend:
            console.print(Text.assemble((f"{check.part}: ", "bold"), check.mend), soft_wrap=True)
    core = all(check.ok for check in checks if check.required)
    console.print("\nThe core works." if core else "\n[bold red]The core does not work yet.[/]")
