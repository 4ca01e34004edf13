"""Checks of a batch of actions before any environment sees them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from robo.errors import RoboError


def checked_actions(actions: Any, space: spaces.Space, num_envs: int) -> np.ndarray:
    """A fresh array ``[num_envs, *space.shape]`` of the space's dtype.

    Box bounds are not enforced: clipping is the policy's choice, and what a simulator does
    beyond its bounds is its own.

    Raises:
        RoboError: wrong shape, NaN or infinite entries, or a discrete action that the space
            does not hold.
    """
    expected = (num_envs, *(space.shape or ()))
    kind = "f" if isinstance(space, spaces.Box) and np.dtype(space.dtype).kind == "f" else "iu"
    try:
        given = np.asarray(actions)
        if kind == "iu" and given.dtype.kind not in "iub":
            raise TypeError(f"dtype {given.dtype}")
        array = np.array(given, dtype=space.dtype)
    except (TypeError, ValueError) as error:
        raise RoboError(
            f"actions are not an array of {np.dtype(space.dtype)} ({error}); expected shape "
            f"{expected} for {space}"
        ) from error
    if array.shape != expected:
        raise RoboError(
            f"actions have shape {array.shape}, expected {expected}: one row per environment"
        )
    if kind == "f":
        # A sum of squares is the quicker look; one that overflows calls for the exact one.
        if not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).reshape(num_envs, -1).all(1))[0])
            raise RoboError(
                f"the action of environment {row} holds NaN or infinity ({array[row].tolist()}); "
                "the policy has probably diverged: lower its learning rate"
            )
    else:
        _check_integers(given, space)
    return array


def _check_integers(actions: np.ndarray, space: spaces.Space) -> None:
    """Refuse integer actions outside ``space``."""
    if isinstance(space, spaces.Discrete):
        low, high = np.asarray(space.start), np.asarray(space.start + space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = np.asarray(space.start), np.asarray(space.start + space.nvec)
    elif isinstance(space, spaces.MultiBinary):
        low, high = np.asarray(0), np.asarray(2)
    else:
        return
    outside = (actions < low) | (actions >= high)
    if outside.any():
        raise RoboError(
            f"action {actions[outside].ravel()[0]} is outside {space}: expected integers from "
            f"{low.tolist()} up to, not including, {high.tolist()}"
        )
