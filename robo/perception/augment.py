"""Cheap image augmentation on a batch of multi-view frames: shift, colour, view dropout."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robo.perception.augment_config import AugmentConfig
from robo.perception.views import BLANK


def pad_edges(images: np.ndarray, margin: int) -> np.ndarray:
    """Repeat the edges of ``[..., H, W, 3]`` by ``margin`` pixels, once for a whole data set."""
    width = [(0, 0)] * (images.ndim - 3) + [(margin, margin), (margin, margin), (0, 0)]
    return np.pad(images, width, mode="edge")


def random_shift(
    padded: np.ndarray, rows: np.ndarray, margin: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of a padded data set, each view cropped at its own random place.

    One gather copies whole image windows: slicing frame by frame and stacking costs more than
    the network's own step.

    Args:
        padded: uint8 ``[F, V, H+2m, W+2m, 3]`` from :func:`pad_edges`.
        rows: int ``[M]``.
        margin: m, 0 for no shift.
        rng: source of the shifts.

    Returns:
        uint8 ``[M, V, H, W, 3]``.
    """
    if margin == 0:
        return padded[rows]
    height, width = padded.shape[2] - 2 * margin, padded.shape[3] - 2 * margin
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    windows = np.moveaxis(windows, 4, -1)  # [F, V, 2m+1, 2m+1, H, W, 3]
    count = (len(rows), padded.shape[1])
    down = rng.integers(0, 2 * margin + 1, count)
    right = rng.integers(0, 2 * margin + 1, count)
    return windows[rows[:, None], np.arange(count[1])[None], down, right]


def jitter(images: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Colour, brightness and contrast jitter and view dropout, folded into one affine map.

    Args:
        images: uint8 ``[M, V, H, W, 3]``.
        config: the strengths.
        rng: source of the randomness.

    Returns:
        float32 ``[M, V, H, W, 3]``, scaled as :func:`robo.perception.views.to_float` does (values
        may leave [-1, 1] a little); dropped views are exactly 0.
    """
    frames, views, height, width, _ = images.shape
    shape = (frames, views, 1, 1)
    scale = 1.0 + config.contrast * rng.uniform(-1, 1, (*shape, 1))
    scale = scale * (1.0 + config.colour * rng.uniform(-1, 1, (*shape, 3)))
    offset = 2.0 * config.brightness * rng.uniform(-1, 1, (*shape, 1))
    dropped = rng.random((frames, views)) < config.view_dropout
    dropped[np.arange(frames), rng.integers(0, views, frames)] = False
    kept = np.where(dropped, 0.0, 1.0)[:, :, None, None, None]
    scale, offset = scale * kept / 128.0, (offset - scale * BLANK / 128.0) * kept
    # One value per byte of an image row: a broadcast over 3 channels alone is 10 times slower.
    row = (frames, views, 1, 3 * width)
    scale_row = np.tile(scale.astype(np.float32), (1, 1, 1, width, 1)).reshape(row)
    offset_row = np.tile(offset.astype(np.float32), (1, 1, 1, width, 1)).reshape(row)
    flat = images.reshape(frames, views, height, 3 * width).float()
    flat.mul_(torch.from_numpy(scale_row).to(flat.device))
    flat.add_(torch.from_numpy(offset_row).to(flat.device))
    return flat.reshape(frames, views, height, width, 3)
