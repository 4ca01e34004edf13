"""Any gymnasium observation space as ours: a float32 ``state`` vector, and images by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten, flatten_space

from robo.errors import RoboError

Converter = Callable[[Any], dict[str, np.ndarray]]


def is_image(space: spaces.Space) -> bool:
    """Whether ``space`` is a uint8 image ``[H, W, C]``."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def adapted_observation(task: str, space: spaces.Space) -> tuple[spaces.Dict, Converter]:
    """Our observation space for ``space``, and the function that converts its observations.

    Converted arrays may share memory with the environment's: callers copy what they keep.

    Numbers become ``state``, float32: boxes flattened, discrete ones one-hot, dicts and tuples
    concatenated. uint8 images keep their key; a bare image is ``image`` beside an empty state.

    Raises:
        RoboError: a space of unbounded length (text, graphs, sequences).
    """
    if is_image(space):
        return _bare_image(space)
    if isinstance(space, spaces.Dict):
        images = {key: part for key, part in space.items() if is_image(part)}
        vectors = spaces.Dict({key: part for key, part in space.items() if key not in images})
        if images:
            state = _state_space(task, vectors)

            def convert_dict(observation: Any) -> dict[str, np.ndarray]:
                numbers = {key: observation[key] for key in vectors}
                return {
                    "state": np.array(flatten(vectors, numbers), dtype=np.float32),
                    **{key: observation[key] for key in images},
                }

            return spaces.Dict({"state": state, **images}), convert_dict
    state = _state_space(task, space)
    adapted = spaces.Dict({"state": state})
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return adapted, lambda observation: {"state": np.asarray(observation, dtype=np.float32)}
    return adapted, lambda observation: {
        "state": np.array(flatten(space, observation), dtype=np.float32)
    }


def _bare_image(space: spaces.Space) -> tuple[spaces.Dict, Converter]:
    empty = spaces.Box(-np.inf, np.inf, (0,), np.float32)

    def convert(observation: Any) -> dict[str, np.ndarray]:
        return {"state": np.zeros(0, np.float32), "image": observation}

    return spaces.Dict({"state": empty, "image": space}), convert


def _state_space(task: str, space: spaces.Space) -> spaces.Box:
    """``space`` flattened into one float32 vector, bounds kept."""
    if isinstance(space, spaces.Dict) and not space.spaces:
        return spaces.Box(-np.inf, np.inf, (0,), np.float32)
    try:
        flat = flatten_space(space)
    except (NotImplementedError, ValueError):
        flat = None
    if not isinstance(flat, spaces.Box):
        raise RoboError(
            f"{task} has observations {space}, which have no fixed length; robo needs boxes, "
            "discrete spaces, and dicts or tuples of them"
        )
    with np.errstate(over="ignore"):
        return spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32))
