"""Observation and action spaces as JSON, and what a policy can read of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from robo.errors import RoboError


def _bound(values: np.ndarray) -> Any:
    """A nested list, or one number where all are equal; infinities as text (JSON has none)."""
    if values.size and (values == values.flat[0]).all():
        number = values.flat[0].item()
        return number if np.isfinite(number) else str(number)
    return [_bound(row) if row.ndim else _bound(row.reshape(1)) for row in values]


def _array(bound: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if 0 in shape:  # np.stack takes no empty list
        return np.empty(shape, dtype)
    if isinstance(bound, list):
        return np.stack([_array(row, shape[1:], dtype) for row in bound])
    return np.full(shape, float(bound) if isinstance(bound, str) else bound, dtype)


def space_to_json(space: gymnasium.Space) -> dict[str, Any]:
    """A Box, Discrete or Dict space as JSON values.

    Raises:
        RoboError: for another kind of space.
    """
    if isinstance(space, gymnasium.spaces.Box):
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bound(space.low),
            "high": _bound(space.high),
        }
    if isinstance(space, gymnasium.spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, gymnasium.spaces.Dict):
        return {"type": "Dict", "spaces": {k: space_to_json(v) for k, v in space.items()}}
    raise RoboError(
        f"policies know Box, Discrete and Dict spaces, not {type(space).__name__}: "
        "wrap the environment"
    )


def space_from_json(value: dict[str, Any]) -> gymnasium.Space:
    """The space that :func:`space_to_json` described.

    Raises:
        KeyError, TypeError, ValueError: where the description is damaged.
    """
    kind = value["type"]
    if kind == "Box":
        shape, dtype = tuple(value["shape"]), np.dtype(value["dtype"])
        low, high = (_array(value[side], shape, dtype) for side in ("low", "high"))
        return gymnasium.spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return gymnasium.spaces.Discrete(value["n"], start=value["start"])
    if kind == "Dict":
        return gymnasium.spaces.Dict({k: space_from_json(v) for k, v in value["spaces"].items()})
    raise ValueError(f"unknown space type {kind!r}")
