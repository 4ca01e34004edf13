"""Task ids to environments. Simulators are imported when one of their ids is asked for."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from robo.errors import MissingExtraError, RoboError, UnknownTaskError
from robo.sim.contract import Environment, VectorEnvironment


@dataclass(frozen=True)
class Provider:
    """A module that offers the ids of one prefix.

    It has ``task_ids() -> list[str]``, ``make(id, **options) -> Environment`` and, where it can
    step many environments natively or gives them different options,
    ``make_vec(id, num_envs, backend, **options)``, which returns None for a backend that it
    leaves to the registry. ``check_id(id)``, where it has one, accepts more ids than
    ``task_ids`` lists, or raises UnknownTaskError with a sentence of its own.
    """

    module: str
    """Dotted module name."""
    extra: str | None = None
    """The extra of the distribution that installs its simulator."""


PROVIDERS = {
    "mujoco": Provider("robo.sim.mujoco.provider"),
    "gym": Provider("robo.sim.gym_adapter"),
    "robosuite": Provider("robo.sim.robosuite.provider", extra="libero"),
    "libero": Provider("robo.sim.libero.provider", extra="libero"),
    "robosuite-batch": Provider("robo.sim.robosuite_batch.provider", extra="libero"),
    "envpool": Provider("robo.sim.envpool_adapter", extra="envpool"),
    "carla": Provider("robo.sim.carla.provider", extra="carla"),
    "carla-standin": Provider("robo.sim.carla.provider", extra="carla"),
}
GENERIC_BACKENDS = ("in_process", "threads", "workers")


def make(id: str, **options: Any) -> Environment:
    """One environment.

    Args:
        id: such as ``mujoco/Lift`` or ``gym/Pendulum-v1``; :func:`tasks` lists them.
        options: the simulator's own.

    Raises:
        UnknownTaskError: no simulator offers the id; the sentence names the nearest ids.
        MissingExtraError: its simulator is not installed; the sentence says how to install it.
        RoboError: options that the simulator refuses.
    """
    return _module_of(id).make(id, **options)


def make_vec(id: str, num_envs: int, backend: str = "auto", **options: Any) -> VectorEnvironment:
    """``num_envs`` environments stepped together.

    Results do not depend on the backend: ``reset(seed=...)`` decides them.

    Args:
        id: see :func:`make`.
        num_envs: N, at least 1.
        backend: ``native`` (the simulator's own threads), ``in_process``, ``threads``,
            ``workers`` (processes), or ``auto``: native where there is one, else the fastest
            of a short measurement, kept in ``backend_measurements``.
        options: passed to every environment.

    Raises:
        RoboError: as :func:`make`; no such backend for this id; ``num_envs`` below 1.
    """
    module = _module_of(id)
    if num_envs < 1:
        raise RoboError(f"num_envs is {num_envs}, expected at least 1")
    if backend not in ("auto", "native", *GENERIC_BACKENDS):
        raise RoboError(
            f"unknown backend {backend!r}; expected auto, native, {', '.join(GENERIC_BACKENDS)}"
        )
    native = getattr(module, "make_vec", None)
    if native is not None:
        environment = native(id, num_envs, backend, **options)
        if environment is not None:
            return environment
    if backend == "native":
        raise RoboError(f"{id} has no native vector backend; use backend='auto'")
    from robo.sim import selection

    factories = [partial(make, id, **options)] * num_envs
    if backend == "auto":
        return selection.choose(factories)
    return selection.BACKENDS[backend](factories)


def tasks() -> list[str]:
    """Every id that can be made here; ids whose simulator is not installed are left out."""
    found: list[str] = []
    for prefix in PROVIDERS:
        try:
            ids = _provider_module(prefix).task_ids()
        except MissingExtraError:
            continue
        # A module may serve several prefixes.
        found += [id for id in ids if id.startswith(f"{prefix}/")]
    return found


def _module_of(id: str) -> ModuleType:
    """The provider of a known id."""
    prefix, _, name = id.partition("/")
    if prefix in PROVIDERS and name:
        module = _provider_module(prefix)
        if prefix == "gym" and _registered_in_gymnasium(name):
            return module
        if hasattr(module, "check_id"):
            module.check_id(id)
            return module
        if id in module.task_ids():
            return module
    known = tasks()
    near = difflib.get_close_matches(id, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UnknownTaskError(
        f"unknown task {id!r}; {hint}`robo tasks` lists the {len(known)} that can be made here"
    )


def _registered_in_gymnasium(name: str) -> bool:
    """Older versions are not listed, but can be made; ``module:id`` registers on import."""
    import gymnasium

    return name in gymnasium.registry or ":" in name


def _provider_module(prefix: str) -> ModuleType:
    """Import a provider.

    Raises:
        MissingExtraError: a package that it needs is not installed.
    """
    provider = PROVIDERS[prefix]
    try:
        return importlib.import_module(provider.module)
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        if package == "robo":
            raise
        install = f"-e '.[{provider.extra}]'" if provider.extra else "-e ."
        install = install.replace("'", '"')
        raise MissingExtraError(
            f"{prefix}/ environments need {package or 'a missing package'} ({error}); "
            f"run `pip install {install}`"
        ) from error
