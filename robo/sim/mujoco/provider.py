"""What the registry asks of ``mujoco/...``: ids, single and vector environments."""

from __future__ import annotations

from typing import Any

from robo.errors import UnknownTaskError
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


def make(id: str, **options: Any) -> Environment:
    """One environment; options as :class:`~robo.sim.mujoco.single.MujocoEnvironment`."""
    from robo.sim.mujoco.single import MujocoEnvironment

    return MujocoEnvironment(_name(id), **options)


def make_vec(
    id: str, num_envs: int, backend: str = "auto", **options: Any
) -> VectorEnvironment | None:
    """The native backend for "auto" and "native"; None leaves other backends to the registry."""
    name = _name(id)
    if backend not in ("auto", "native"):
        return None
    from robo.sim.mujoco.vector import MujocoVectorEnvironment

    return MujocoVectorEnvironment(name, num_envs, **options)
