"""Clips: the frames of one rollout as an encoder reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.perception.views import stack_views

Clip: TypeAlias = Mapping[str, "Tensor | np.ndarray"]
"""Camera role to uint8 ``[F, H, W, 3]``: the frames of one rollout in order; F may be 0."""

FIRST_WINDOW = 2
"""Frames of the shortest growing video."""


def frame_indices(available: int, wanted: int) -> np.ndarray:
    """Which of ``available`` frames stand for a video, int64 ``[wanted]``.

    Evenly spread from the first to the last where there are enough, otherwise repeated in a
    circle (0, 1, 2, 0, 1 ...), as SRPO's released code samples for V-JEPA 2.

    Raises:
        RoboError: where either number is below 1.
    """
    if available < 1 or wanted < 1:
        raise RoboError(
            f"cannot sample {wanted} frames of {available}; expected at least one of each"
        )
    if available >= wanted:
        return np.linspace(0, available - 1, wanted).astype(np.int64)
    return np.resize(np.arange(available, dtype=np.int64), wanted)


def clip_length(clip: Clip, views: Sequence[str]) -> int:
    """Number of frames F of a clip; 0 where it has none of any view."""
    if not clip:
        return 0
    missing = [view for view in views if view not in clip]
    if missing:
        raise RoboError(
            f"a clip lacks the camera views {missing} (it has {sorted(clip)}); render them too, or "
            "choose an encoder made for the views that exist"
        )
    return len(clip[views[0]])


def window_ends(frames: int, windows: int) -> np.ndarray:
    """Lengths of the growing videos of a clip, int64, from ``FIRST_WINDOW`` to all frames."""
    first = min(FIRST_WINDOW, frames)
    return np.unique(np.linspace(first, frames, min(windows, frames)).round().astype(np.int64))


def stack_clip(clip: Clip, views: Sequence[str], frames: int) -> Tensor:
    """``frames`` sampled frames of every view, uint8 ``[V, frames, H, W, 3]``.

    Raises:
        RoboError: a missing view, or one of another size, type or length.
    """
    index = frame_indices(clip_length(clip, views), frames)
    parts = {view: torch.as_tensor(clip[view])[torch.from_numpy(index)] for view in views}
    return stack_views(parts, views).transpose(0, 1)
