"""Which axis of an image holds its channels: decided here, for whoever reads images."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np
from torch import Tensor

CHANNELS_FIRST = ("birdseye",)
"""Images of our own that are ``[C, H, W]`` whatever their size."""


def channels_last(name: str, shape: Sequence[int]) -> bool:
    """Whether the image ``name`` of ``shape`` (three axes, without a batch) is ``[H, W, C]``.

    ``views/<camera>`` are, ``birdseye`` is not. Other environments' images do not say: channels
    are fewer than pixels along a side, so that ``[96, 96, 3]`` is, and the stack of frames
    ``[4, 84, 84]`` is not; where first and last axis are equal, gymnasium's layout is taken.
    """
    if name.startswith("views/"):
        return True
    return name not in CHANNELS_FIRST and shape[-1] <= shape[0]


def image_shapes(space: gymnasium.spaces.Dict) -> dict[str, tuple[int, int, int]]:
    """(C, H, W) of each image in an observation space, uint8 of three axes, by name."""
    shapes: dict[str, tuple[int, int, int]] = {}
    for name, entry in space.spaces.items():
        if not isinstance(entry, gymnasium.spaces.Box) or entry.dtype != np.uint8:
            continue
        if len(entry.shape) != 3:
            continue
        first, second, third = entry.shape
        last = channels_last(name, entry.shape)
        shapes[name] = (third, first, second) if last else (first, second, third)
    return shapes


def channels_first(name: str, images: Tensor) -> Tensor:
    """A batch of images ``name``, ``[B, H, W, C]`` or ``[B, C, H, W]``: a view ``[B, C, H, W]``."""
    return images.permute(0, 3, 1, 2) if channels_last(name, images.shape[1:]) else images
