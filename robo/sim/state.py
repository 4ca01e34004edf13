"""Exact state of gymnasium's own environments, as tensors, numbers, strings, dicts and lists.

No pickle: ``torch.load(weights_only=True)`` reads what is returned here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from robo.sim.contract import StateNotSupportedError

if TYPE_CHECKING:
    import torch

_SKIPPED = frozenset({"metadata", "render_mode", "screen", "clock", "surf", "spec"})
_DERIVED = (
    "xpos",
    "xquat",
    "xmat",
    "xipos",
    "ximat",
    "xanchor",
    "xaxis",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "subtree_com",
    "cdof",
    "cinert",
    "cvel",
    "cacc",
    "cfrc_int",
    "cfrc_ext",
    "actuator_force",
    "qacc",
    "qfrc_actuator",
    "qfrc_bias",
    "qfrc_constraint",
    "qfrc_passive",
    "sensordata",
    "ten_length",
)


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch  # at use: worker processes that never save a state start without it

    return torch.from_numpy(array)


def encode(value: Any) -> Any:
    """``value`` as tensors, numbers, strings, dicts and lists; :func:`decode` is its inverse.

    Raises:
        TypeError: any other kind of object inside.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return {"numpy_scalar": _tensor(np.array(value))}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"numpy_array": _tensor(np.array(value))}
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"dict": {key: encode(item) for key, item in value.items()}}
    raise TypeError(f"cannot store a {type(value).__name__}")


def decode(value: Any) -> Any:
    """What :func:`encode` was given, types and bits included."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "numpy_scalar":
        return content.numpy()[()]
    if kind == "numpy_array":
        return content.numpy().copy()
    if kind == "tuple":
        return tuple(decode(item) for item in content)
    return {key: decode(item) for key, item in content.items()}


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """State of a numpy generator; its 128-bit numbers are kept as decimal strings."""
    state: Any = generator.bit_generator.state
    return {
        "bit_generator": state["bit_generator"],
        "state": {key: str(value) for key, value in state["state"].items()},
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def restore_generator(state: dict[str, Any]) -> np.random.Generator:
    """A generator that continues where :func:`generator_state` was taken."""
    bit_generator = getattr(np.random, state["bit_generator"])()
    bit_generator.state = {
        **state,
        "state": {key: int(value) for key, value in state["state"].items()},
    }
    return np.random.Generator(bit_generator)


def _family(core: gymnasium.Env) -> str | None:
    """Which kind of known environment ``core`` is; None for any other."""
    for family in ("classic_control", "mujoco"):
        if type(core).__module__.startswith(f"gymnasium.envs.{family}."):
            return family
    return None


def gymnasium_state(core: gymnasium.Env) -> dict[str, Any]:
    """Exact state of an unwrapped classic-control or MuJoCo environment of gymnasium.

    Raises:
        StateNotSupportedError: any other environment, or one that was never reset.
    """
    family = _family(core)
    generator = core._np_random
    if family is None:
        raise StateNotSupportedError(
            f"{type(core).__name__} cannot save its exact state: only gymnasium's classic-control "
            "and MuJoCo environments can"
        )
    if generator is None:
        raise StateNotSupportedError(f"{type(core).__name__} has no state before its first reset")
    attributes = {}
    for name, value in vars(core).items():
        if name in _SKIPPED:
            continue
        try:
            attributes[name] = encode(value)
        except TypeError:
            continue  # spaces, models, windows: constant, or no part of the state
    state = {"attributes": attributes, "generator": generator_state(generator)}
    if family == "mujoco":
        state["physics"] = _physics(core)
    return state


def restore_gymnasium_state(core: gymnasium.Env, state: dict[str, Any]) -> None:
    """Restore what :func:`gymnasium_state` returned into an environment of the same id."""
    for name, value in state["attributes"].items():
        setattr(core, name, decode(value))
    core._np_random = restore_generator(state["generator"])
    if "physics" in state:
        _restore_physics(core, state["physics"])


def _physics(core: Any) -> dict[str, Any]:
    """MuJoCo's state vector, and what its last step derived.

    Some environments read derived fields (a body's position, say) before they step; those lag
    the state by one substep, so that a forward pass on the restored state would not do.
    """
    mujoco: Any = importlib.import_module("mujoco")
    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    vector = np.empty(mujoco.mj_stateSize(core.model, signature))
    mujoco.mj_getState(core.model, core.data, vector, signature)
    derived = {name: _tensor(getattr(core.data, name).copy()) for name in _DERIVED}
    return {"integration": _tensor(vector), "derived": derived}


def _restore_physics(core: Any, physics: dict[str, Any]) -> None:
    mujoco: Any = importlib.import_module("mujoco")
    signature = mujoco.mjtState.mjSTATE_INTEGRATION
    mujoco.mj_resetData(core.model, core.data)
    vector = physics["integration"].numpy()
    mujoco.mj_setState(core.model, core.data, vector, signature)
    mujoco.mj_forward(core.model, core.data)
    mujoco.mj_setState(core.model, core.data, vector, signature)
    for name, value in physics["derived"].items():
        getattr(core.data, name)[...] = value.numpy()
