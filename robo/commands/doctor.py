"""``robo doctor``: what works on this machine, and the command that mends what does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.doctor import Check, run_carla_checks, run_checks


@dataclass(frozen=True)
class Doctor:
    """What works on this machine, and the command that mends what does not.

    Tries PyTorch, each GL backend (three cameras of 128 pixels), the simulators, video encoding
    and storage. The exit code is 0 where all that robo's core needs works. With --carla it checks a
    CARLA server instead, call by call; the exit code is 0 where nothing differs from CARLA 0.9.16.
    """

    carla: str | None = None
    """HOST:PORT of a CARLA server, real or our own, to check instead of this machine."""
    keep_world: bool = False
    """With --carla: reload no world and load no map, which would end others' episodes."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the checks as one line of JSON, and no table."""

    def run(self) -> dict[str, Any]:
        """Run every check and print the table; ``ok`` says whether the core works."""
        running = run_checks()
        if self.carla is not None:
            running = run_carla_checks(self.carla, self.keep_world)
        checks = list(running) if self.json else _with_progress(running)
        if not self.json:
            _print(checks, "The core" if self.carla is None else "The server")
        return {
            "ok": all(check.ok for check in checks if check.required),
            "checks": checks,
        }


def _with_progress(running: Iterable[Check]) -> list[Check]:
    """Every check, with the newest shown on a terminal."""
    from rich.console import Console

    checks = []
    with Console(stderr=True).status("checking") as status:
        for check in running:
            status.update(f"checked {check.part}: {check.detail}")
            checks.append(check)
    return checks


def _print(checks: list[Check], subject: str) -> None:
    """A row per check, then what to do, and whether the subject works."""
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
    if all(check.ok for check in checks if check.required):
        console.print(f"\n{subject} works.")
    else:
        console.print(f"\n[bold red]{subject} does not work yet.[/]")
