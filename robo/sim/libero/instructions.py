"""The two wordings of a LIBERO task, and which of them is its instruction.

The benchmark makes words of a file's name ("pick up the black bowl ..."): published policies were
trained and tested with these. The problem file says it in its own way ("pick the akita black bowl
..."). In variants of the suites only the problem file is right: the task has been replaced there
and the file's name has not, or the name is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

from robo.sim.libero.options import Wording
from robo.sim.libero.suites import HORIZONS, Task

ORIGINAL = tuple(HORIZONS)
"""The suites of LIBERO itself, where the benchmark's words are right."""


@dataclass(frozen=True)
class Wordings:
    """One task in words, twice; both are recorded with the data."""

    benchmark: str
    """From the file's name, LIBERO's ``task.language``."""
    problem: str
    """From the problem file, LIBERO's ``env.language_instruction``; lower case."""

    def chosen(self, suite: str, wording: Wording) -> str:
        """The instruction: the asked wording, or with ``auto`` the right one for the suite."""
        if wording == "auto":
            wording = "benchmark" if suite in ORIGINAL else "problem"
        return self.benchmark if wording == "benchmark" else self.problem


def wordings(task: Task) -> Wordings:
    """Both wordings of ``task``."""
    from bddl.parsing import scan_tokens  # type: ignore[import-not-found]

    groups = scan_tokens(filename=str(task.problem))
    words = next((group[1:] for group in groups if group[0] == ":language"), [])
    return Wordings(task.language, " ".join(words))
