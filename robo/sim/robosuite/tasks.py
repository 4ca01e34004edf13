"""robosuite's single-arm tasks: their names, words and time limits."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from robo.errors import UnknownTaskError
from robo.sim.robosuite.compatibility import Version, version


@dataclass(frozen=True)
class Task:
    """One task of robosuite."""

    instruction: str
    """The task in words; robosuite has none of its own."""
    horizon: int
    """Time limit in control steps at 20 Hz: robosuite's demonstrations and robomimic's
    evaluations stay below it. robosuite's own default is 1000 for every task."""
    family: str
    """Class whose ``_check_success`` and cameras it shares."""
    since: Version = (1, 4)
    """Version of robosuite that first has it."""


_BIN = "pick up the {} and put it into its bin"

TASKS: dict[str, Task] = {
    "Lift": Task("lift the red cube off the table", 500, "Lift"),
    "Stack": Task("stack the red cube on the green cube", 500, "Stack"),
    "NutAssembly": Task("fit both nuts onto their pegs", 1000, "NutAssembly"),
    "NutAssemblySingle": Task("fit the nut onto its peg", 500, "NutAssembly"),
    "NutAssemblySquare": Task("fit the square nut onto the square peg", 500, "NutAssembly"),
    "NutAssemblyRound": Task("fit the round nut onto the round peg", 500, "NutAssembly"),
    "PickPlace": Task(
        "put the milk, the bread, the cereal and the can into their bins", 2000, "PickPlace"
    ),
    "PickPlaceSingle": Task(_BIN.format("object"), 500, "PickPlace"),
    "PickPlaceMilk": Task(_BIN.format("milk"), 500, "PickPlace"),
    "PickPlaceBread": Task(_BIN.format("bread"), 500, "PickPlace"),
    "PickPlaceCereal": Task(_BIN.format("cereal"), 500, "PickPlace"),
    "PickPlaceCan": Task(_BIN.format("can"), 500, "PickPlace"),
    "Door": Task("turn the handle and pull the door open", 500, "Door"),
    "Wipe": Task("wipe the dirt off the table", 500, "Wipe"),
    "ToolHang": Task(
        "fit the frame into the stand and hang the tool on it", 700, "ToolHang", (1, 5)
    ),
}
"""All tasks of robosuite 1.4 and 1.5 that one arm does."""


def installed() -> list[str]:
    """Names of the tasks that the installed robosuite has.

    Raises:
        MissingExtraError: it is not installed.
    """
    return [name for name, task in TASKS.items() if version() >= task.since]


def task(id: str) -> Task:
    """The task of a registry id or a bare name.

    Raises:
        UnknownTaskError: there is none.
    """
    name = name_of(id)
    return TASKS[name]


def name_of(id: str) -> str:
    """Name in robosuite of a registry id.

    Raises:
        UnknownTaskError: there is none, or the installed robosuite is too old for it.
    """
    name = id.removeprefix("robosuite/")
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean robosuite/{near[0]}? " if near else ""
        raise UnknownTaskError(
            f"task {id!r} does not exist; {hint}robosuite has "
            f"{[f'robosuite/{task}' for task in TASKS]}"
        )
    since = TASKS[name].since
    if since > (1, 4) and version() < since:
        raise UnknownTaskError(
            f"task {id!r} needs robosuite {'.'.join(map(str, since))}; run "
            '`pip install -e ".[robosuite15]"` in an environment of its own'
        )
    return name
