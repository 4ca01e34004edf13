"""What the registry asks of ``mujoco/...``: ids, single and vector environments."""

from __future__ import annotations

import inspect
from typing import Any

from robo.errors import RoboError, UnknownTaskError
from robo.sim.contract import Environment, VectorEnvironment
from robo.sim.mujoco.tasks import TASKS


def task_ids() -> list[str]:
    """``mujoco/Reach``, ``mujoco/Push``, ``mujoco/Lift``."""
    return [f"mujoco/{name}" for name in TASKS]


def _name(id: str) -> str:
    name = id.removeprefix("mujoco/")
    if name not in TASKS:
        raise UnknownTaskError(f"task {id!r} does not exist; mujoco has {task_ids()}")
    return name


def _check_options(id: str, made: type, options: dict[str, Any], own: int) -> None:
    """Refuse options that ``made`` does not take; its first ``own`` parameters are no options."""
    known = list(inspect.signature(made).parameters)[own:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise RoboError(f"{id} has no option {', '.join(unknown)}; expected some of {known}")


def make(id: str, **options: Any) -> Environment:
    """One environment; options as :class:`~robo.sim.mujoco.single.MujocoEnvironment`.

    Raises:
        RoboError: an option that it does not have.
    """
    from robo.sim.mujoco.single import MujocoEnvironment

    _check_options(id, MujocoEnvironment, options, own=1)
    return MujocoEnvironment(_name(id), **options)


def make_vec(
    id: str, num_envs: int, backend: str = "auto", **options: Any
) -> VectorEnvironment | None:
    """The native backend for "auto" and "native"; None leaves other backends to the registry.

    Raises:
        RoboError: an option that it does not have.
    """
    name = _name(id)
    if backend not in ("auto", "native"):
        return None
    from robo.sim.mujoco.vector import MujocoVectorEnvironment

    _check_options(id, MujocoVectorEnvironment, options, own=2)
    return MujocoVectorEnvironment(name, num_envs, **options)
