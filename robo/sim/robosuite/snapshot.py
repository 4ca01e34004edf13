"""Exact state of a robosuite environment in mid-episode: physics, controllers, buffers.

What a reset decides (positions of fixed bodies, sizes, colours) comes back by repeating the
reset from its seed; what the steps since then changed is kept here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from robo.sim.robosuite.fresh import grippers_of
from robo.sim.state import decode, encode

_OWN = ("robosuite.controllers", "robosuite.utils.buffers", "robosuite.robots")
_CONFIGURATION = frozenset({"robot_configs", "robot_names", "controller_config", "task_config"})


def _is_own(value: Any) -> bool:
    return type(value).__module__.startswith(_OWN)


def _children(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Objects of robosuite inside ``value``: itself, or those in its dict or list."""
    if _is_own(value):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _children(f"{name}/{key}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _children(f"{name}/{index}", item)


def _parts(raw: Any) -> dict[str, Any]:
    """Path to object: robots, their controllers with interpolators, and their buffers."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting = list(_children("robots", raw.robots))
    while waiting:
        path, part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        found[path] = part
        for name, value in vars(part).items():
            waiting += _children(f"{path}/{name}", value)
    return found


def _attributes(part: Any) -> dict[str, Any]:
    kept = {}
    for name, value in vars(part).items():
        if name in _CONFIGURATION or isinstance(value, dict):
            continue
        try:
            kept[name] = encode(value)
        except TypeError:
            continue  # models, simulations: constant, or reached by a path of their own
    return kept


def take(raw: Any) -> dict[str, Any]:
    """State of ``raw`` as tensors, numbers, strings, lists and dicts."""
    mujoco: Any = importlib.import_module("mujoco")
    model, data = raw.sim.model._model, raw.sim.data._data
    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    physics = np.empty(mujoco.mj_stateSize(model, signature))
    mujoco.mj_getState(model, data, physics, signature)
    state = {
        "physics": encode(physics),
        "colours": encode(model.geom_rgba),
        "environment": _attributes(raw),
        "parts": {path: _attributes(part) for path, part in _parts(raw).items()},
        "grippers": {
            path: encode(np.asarray(gripper.current_action))
            for path, gripper in grippers_of(raw).items()
        },
    }
    state["observed"] = _observed(raw)
    if hasattr(raw, "wiped_markers"):
        state["wiped"] = [marker.name for marker in raw.wiped_markers]
    return state


def put(raw: Any, state: dict[str, Any]) -> None:
    """Restore what :func:`take` returned, after the same reset.

    Derived quantities (positions of bodies, contacts) are those of the state itself; right after
    a step, MuJoCo's own lag one physics step behind.
    """
    mujoco: Any = importlib.import_module("mujoco")
    model, data = raw.sim.model._model, raw.sim.data._data
    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    physics = decode(state["physics"])
    mujoco.mj_setState(model, data, physics, signature)
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, physics, signature)
    model.geom_rgba[:] = decode(state["colours"])
    _set(raw, state["environment"])
    for path, part in _parts(raw).items():
        _set(part, state["parts"].get(path, {}))
    for path, gripper in grippers_of(raw).items():
        gripper.current_action = decode(state["grippers"][path])
    if "wiped" in state:
        markers = {marker.name: marker for marker in raw.model.mujoco_arena.markers}
        raw.wiped_markers = [markers[name] for name in state["wiped"]]


def put_observed(raw: Any, state: dict[str, Any]) -> None:
    """Restore what observables remember of each other, after they were asked once.

    In robosuite 1.5 some are computed from others of the control step before.
    """
    raw._obs_cache.update({name: decode(value) for name, value in state["observed"].items()})


def _observed(raw: Any) -> dict[str, Any]:
    kept = {}
    for name, value in raw._obs_cache.items():
        if isinstance(value, (np.ndarray, float, int)):
            kept[name] = encode(np.asarray(value))
    return kept


def _set(part: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(part, name, decode(value))
