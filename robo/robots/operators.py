"""Who says when a trial begins and how it ended: a person, a script, or the simulator."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from robo.robots.robot import RobotError

Outcome = Literal["success", "partial", "failure", "invalid"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)

KEYS = {
    "g": "go",
    "s": "success",
    "p": "partial",
    "f": "failure",
    "i": "invalid",
    "x": "stop",
    "r": "restart",
    "q": "pause",
    "n": "note",
}
"""Keys of keyboard and browser, and what they mean."""


@dataclass(frozen=True)
class Judgement:
    """How a trial ended."""

    outcome: Outcome
    """"invalid" is repeated: the scene, the robot or the operator was at fault, not the policy."""
    by: str
    """Who judged: operator, script or simulator."""
    note: str = ""
    """In the judge's words."""


@dataclass(frozen=True)
class Request:
    """What an operator asked for."""

    name: str
    """A value of ``KEYS``."""
    note: str = ""
    """Text that came with it."""


class Console:
    """Where keyboard and browser leave what was pressed; safe from any thread."""

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        """``on_stop`` is called by the pressing thread at once: a stop waits for nobody."""
        self.on_stop = on_stop
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def press(self, key: str, note: str = "") -> bool:
        """Take a key of ``KEYS`` or the name of a request; False where it means nothing."""
        name = KEYS.get(key.lower(), key.lower())
        if name not in KEYS.values():
            return False
        if name == "stop" and self.on_stop is not None:
            self.on_stop()
        self._requests.put(Request(name, note[:2000]))
        return True

    def next(self, timeout: float) -> Request | None:
        """The oldest request, waiting up to ``timeout`` seconds."""
        try:
            return (
                self._requests.get(timeout=timeout) if timeout > 0 else self._requests.get_nowait()
            )
        except queue.Empty:
            return None

    def clear(self) -> None:
        """Forget what was pressed."""
        while self.next(0) is not None:
            pass


class Operator(Protocol):
    """Asked before, during and after each trial."""

    watches_success: bool
    """Whether a trial ends by itself once the robot's scene says that the task is solved."""

    def ready(self, number: int) -> bool:
        """Wait until trial ``number`` (from 1) may begin; False pauses the evaluation."""
        ...

    def ends(self) -> bool:
        """Whether the operator ends the running trial now; asked after each tick."""
        ...

    def judge(self, number: int, solved: bool | None) -> Judgement | None:
        """The judgement of trial ``number``; None pauses the evaluation, trial not counted.

        ``solved`` is the scene's own verdict, None where it has none.
        """
        ...


class SimulatorVerdict:
    """The simulator judges, nobody waits."""

    watches_success = True

    def ready(self, number: int) -> bool:
        """At once."""
        return True

    def ends(self) -> bool:
        """Never."""
        return False

    def judge(self, number: int, solved: bool | None) -> Judgement:
        """What the simulator says."""
        return Judgement("success" if solved else "failure", "simulator")


class ScriptedOperator:
    """Judgements from a file: unattended trials of the whole protocol."""

    watches_success = False

    def __init__(self, path: Path) -> None:
        """Read JSON lines ``{"trial": 1, "outcome": "success", "note": "..."}``.

        A trial that comes again (after "invalid") takes the next line of its number.

        Raises:
            RobotError: where the file cannot be read or a line is not as expected.
        """
        self.path = path
        self._lines: dict[int, list[Judgement]] = {}
        try:
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                if entry["outcome"] not in OUTCOMES:
                    raise ValueError(f"outcome {entry['outcome']!r} is none of {OUTCOMES}")
                judged = Judgement(entry["outcome"], "script", str(entry.get("note", "")))
                self._lines.setdefault(int(entry["trial"]), []).append(judged)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RobotError(
                f"cannot read the judgements in {path} ({error}): expected lines such as "
                '{"trial": 1, "outcome": "success"}'
            ) from error

    def ready(self, number: int) -> bool:
        """At once."""
        return True

    def ends(self) -> bool:
        """Never: the trial takes its time."""
        return False

    def judge(self, number: int, solved: bool | None) -> Judgement | None:
        """The next line of this trial; None (a pause) where there is none."""
        lines = self._lines.get(number, [])
        return lines.pop(0) if lines else None


class Person:
    """A person at the keyboard or the page; both leave keys in one console."""

    watches_success = False

    def __init__(self, console: Console, say: Callable[[str], None]) -> None:
        """``say`` shows a line to the person."""
        self.console, self.say = console, say
        self.meanwhile: Callable[[], None] = lambda: None  # what to do while waiting
        self._outcome: Request | None = None
        self._note = ""

    def ready(self, number: int) -> bool:
        """Wait for "go"."""
        self._outcome, self._note = None, ""
        self.console.clear()  # a key pressed twice must not start the next trial
        self.say(f"trial {number}: arrange the scene, then g (go); q pauses the evaluation")
        while True:
            request = self._next()
            if request.name in ("go", "pause"):
                return request.name == "go"
            self._take(request)
            self._outcome = None  # judged before it began

    def restarts(self, reason: str) -> bool:
        """Wait until someone has looked at the stopped robot; False pauses the evaluation."""
        self.say(f"the robot was stopped ({reason}): look at it, then r (restart); q pauses")
        while True:
            request = self._next()
            if request.name in ("restart", "pause"):
                return request.name == "restart"

    def ends(self) -> bool:
        """Whether an outcome, or stop, was pressed."""
        while (request := self.console.next(0)) is not None:
            self._take(request)
        return self._outcome is not None

    def judge(self, number: int, solved: bool | None) -> Judgement | None:
        """The outcome that was pressed, or the next one."""
        if self._outcome is None:
            self.say(f"trial {number} ended: s success, p partial, f failure, i invalid (repeat)")
        while self._outcome is None:
            request = self._next()
            if request.name == "pause":
                return None
            self._take(request)
        found, outcome = self._outcome, self._outcome.name
        note = " ".join(part for part in (self._note, found.note) if part)
        return Judgement("invalid" if outcome == "stop" else outcome, "operator", note)  # type: ignore[arg-type]

    def _next(self) -> Request:
        """The next key; meanwhile the page stays alive."""
        while (request := self.console.next(0.1)) is None:
            self.meanwhile()
        return request

    def _take(self, request: Request) -> None:
        if request.name == "note":
            self._note = f"{self._note} {request.note}".strip()
        elif request.name in (*OUTCOMES, "stop"):
            self._outcome = request
