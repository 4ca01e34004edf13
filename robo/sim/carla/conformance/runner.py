"""Does a server answer the public client API as CARLA 0.9.16 does? For ours and for a real one.

:func:`run_conformance` goes through the checks of this folder in the process of the
caller. A layout that the client does not expect may abort that process, so
:func:`run_conformance_process` does the same in a child, and reports the check during which it
died. Nothing but the public client API is used. Whatever a check spawns it destroys; settings are
restored at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.sim.carla.conformance.session import Check, NotApplicableError, Session, open_session

TIMEOUT = 600.0


@dataclass(frozen=True)
class CheckResult:
    """What one call did."""

    name: str
    """The call, as ``Class.method``."""
    passed: bool
    """Whether it was made and did what CARLA 0.9.16 does."""
    expected: str
    """What was expected."""
    found: str
    """What came back, the error, or why it could not be made."""
    applicable: bool = True
    """Whether it could be made there: a map without traffic lights shows nothing of them."""

    @property
    def differs(self) -> bool:
        """Whether it was made and did something else."""
        return self.applicable and not self.passed


def all_checks() -> list[Check]:
    """Every check in the order in which they run."""
    from robo.sim.carla.conformance import actors, episodes, lights, sensors, vehicles, world

    parts = (world, actors, vehicles, lights, sensors, episodes)
    return [check for part in parts for check in part.CHECKS]


def run_conformance(
    host: str,
    port: int,
    *,
    change_world: bool = True,
    on_start: Callable[[str], None] = lambda name: None,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> list[CheckResult]:
    """Check a server against the public client API.

    Args:
        host: where it is.
        port: its RPC port.
        change_world: also reload the world and load maps, which ends other clients' episodes.
        on_start: called with each check's name before it runs.
        on_result: called with each result.

    Returns:
        A result per check, in order.

    Raises:
        RoboError: no server answers there, or ``carla`` is not installed.
    """
    results = []
    with open_session(host, port) as session:
        for check in all_checks():
            if check.changes_world and not change_world:
                continue
            on_start(check.name)
            results.append(run_check(check, session))
            on_result(results[-1])
    return results


def run_check(check: Check, session: Session) -> CheckResult:
    """One check; whatever it raises is its result."""
    try:
        with session.cleaned_up():
            passed, found = check.function(session)
    except NotApplicableError as reason:
        return CheckResult(check.name, False, check.expected, str(reason), applicable=False)
    except Exception as error:
        return CheckResult(check.name, False, check.expected, f"{type(error).__name__}: {error}")
    return CheckResult(check.name, bool(passed), check.expected, str(found))


def run_conformance_process(
    host: str,
    port: int,
    *,
    change_world: bool = True,
    timeout: float = TIMEOUT,
    prefix: tuple[str, ...] = (),
) -> list[CheckResult]:
    """As :func:`run_conformance`, in a child process that may die of a wrong layout.

    Args:
        host: where the server is.
        port: its RPC port.
        change_world: see :func:`run_conformance`.
        timeout: seconds until the child is ended.
        prefix: command before the interpreter, such as one that enters a network namespace.

    Returns:
        A result per check; where the child died, the last one says so.
    """
    command = [*prefix, sys.executable, "-m", "robo.sim.carla.conformance", host, str(port)]
    command += [] if change_world else ["--keep-world"]
    paths = [str(Path(__file__).parents[4]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
        output, ending = done.stdout, f"exit code {done.returncode}: {done.stderr[-300:].strip()}"
    except subprocess.TimeoutExpired as error:
        output, ending = _text(error.stdout), f"no end after {timeout:g} s"
    return list(_results(output, ending))


def _text(content: bytes | str | None) -> str:
    """Output of a child that was ended."""
    return content.decode(errors="replace") if isinstance(content, bytes) else content or ""


def _results(output: str, ending: str) -> Iterator[CheckResult]:
    """Results from the child's lines; a check without an end is a failed one."""
    running: str | None = "connect"
    finished = False
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        message: dict[str, Any] = json.loads(line)
        if "start" in message:
            running = message["start"]
        elif "done" in message:
            finished = True
        else:
            running = None
            yield CheckResult(**message)
    if not finished:
        name = running or "end of the client process"
        yield CheckResult(name, False, "the client process goes on", ending)
