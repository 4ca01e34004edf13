"""What the registry asks of ``robosuite/...``: ids and environments."""

from __future__ import annotations

import importlib.util
from typing import Any

from robo.sim.contract import Environment
from robo.sim.robosuite.tasks import installed, name_of

if importlib.util.find_spec("robosuite") is None:
    # The registry turns this into a sentence; importing robosuite itself takes seconds.
    raise ModuleNotFoundError("No module named 'robosuite'", name="robosuite")


def task_ids() -> list[str]:
    """``robosuite/Lift`` and robosuite's other single-arm tasks."""
    return [f"robosuite/{name}" for name in installed()]


def check_id(id: str) -> None:
    """Accept the ids of :func:`task_ids`.

    Raises:
        UnknownTaskError: no such task, or one that only another robosuite has.
    """
    name_of(id)


def make(id: str, **options: Any) -> Environment:
    """One environment; options as :class:`~robo.sim.robosuite.options.RobosuiteOptions`.

    Raises:
        UnknownTaskError: no such task.
        RoboError: an option that does not exist, or versions that do not run together.
    """
    from robo.sim.robosuite.options import RobosuiteOptions, checked_options

    name_of(id)
    checked = checked_options(id, RobosuiteOptions, options)
    from robo.sim.robosuite.manipulation import ManipulationEnvironment

    return ManipulationEnvironment(id, checked)
