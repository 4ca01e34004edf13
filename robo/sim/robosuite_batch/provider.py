"""What the registry asks of ``robosuite-batch/...``: ids, single and vector environments."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
from typing import Any

from robo.errors import RoboError, UnknownTaskError
from robo.sim.contract import Environment, VectorEnvironment

if importlib.util.find_spec("robosuite") is None:
    # The registry turns this into a sentence; importing robosuite itself takes seconds.
    raise ModuleNotFoundError("No module named 'robosuite'", name="robosuite")


ID = "robosuite-batch/Lift"


def task_ids() -> list[str]:
    """``robosuite-batch/Lift``, where MuJoCo has ``mujoco.batch`` (since 3.17)."""
    major, minor = importlib.metadata.version("mujoco").split(".")[:2]
    return [ID] if (int(major), int(minor)) >= (3, 17) else []


def check_id(id: str) -> None:
    """Accept the id whatever MuJoCo is installed; making it tells what is missing.

    Raises:
        UnknownTaskError: any other id.
    """
    if id != ID:
        raise UnknownTaskError(f"task {id!r} does not exist; robosuite-batch has {[ID]}")


def _check_options(id: str, made: type, options: dict[str, Any], own: int) -> None:
    """Refuse options that ``made`` does not take; its first ``own`` parameters are no options."""
    known = list(inspect.signature(made).parameters)[own:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise RoboError(f"{id} has no option {', '.join(unknown)}; expected some of {known}")


def make(id: str, **options: Any) -> Environment:
    """One environment; see :class:`~robo.sim.robosuite_batch.single.RobosuiteBatchSingle`.

    Raises:
        RoboError: an option that it does not have, or versions that do not run together.
    """
    from robo.sim.robosuite_batch.single import RobosuiteBatchSingle

    _check_options(id, RobosuiteBatchSingle, options, own=0)
    return RobosuiteBatchSingle(**options)


def make_vec(
    id: str, num_envs: int, backend: str = "auto", **options: Any
) -> VectorEnvironment | None:
    """The native backend for "auto" and "native"; None leaves other backends to the registry.

    Raises:
        RoboError: as :func:`make`.
    """
    if backend not in ("auto", "native"):
        return None
    from robo.sim.robosuite_batch.vector import RobosuiteBatchEnvironment

    _check_options(id, RobosuiteBatchEnvironment, options, own=1)
    return RobosuiteBatchEnvironment(num_envs, **options)
