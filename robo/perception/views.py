"""Camera views as tensors: one batch ``[M, V, H, W, 3]`` from named views, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError

BLANK = 128
"""Pixel value of a missing view: exactly 0 after :func:`to_float`."""


def stack_views(
    views: Mapping[str, Tensor | np.ndarray],
    names: Sequence[str],
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Named views in a fixed order as one batch.

    Args:
        views: camera role to uint8 ``[M, H, W, 3]``; roles not in ``names`` are ignored.
        names: the roles wanted, in order (V of them).
        size: the (height, width) wanted; None takes whatever the first view has.

    Returns:
        uint8 ``[M, V, H, W, 3]`` on the device of the views.

    Raises:
        RoboError: if a view is missing, is no uint8 RGB image, or has another size or number of
            rows than expected.
    """
    missing = [name for name in names if name not in views]
    if missing:
        raise RoboError(
            f"camera views {missing} are missing (there are {sorted(views)}); render them too, or "
            f"choose a model made for the views that exist"
        )
    parts = [torch.as_tensor(views[name]) for name in names]
    rows = int(parts[0].shape[0]) if parts[0].ndim else 0
    for name, part in zip(names, parts, strict=True):
        if part.dtype != torch.uint8 or part.ndim != 4 or part.shape[-1] != 3:
            raise RoboError(
                f"camera view {name!r} is {part.dtype} {tuple(part.shape)}, expected uint8 "
                "[rows, height, width, 3]; pass RGB images as rendered"
            )
        size = size or (int(part.shape[1]), int(part.shape[2]))
        if (int(part.shape[1]), int(part.shape[2])) != size:
            raise RoboError(
                f"camera view {name!r} is {part.shape[1]}x{part.shape[2]} pixels (height x width), "
                f"expected {size[0]}x{size[1]}; render at that size or fit the model again"
            )
        if int(part.shape[0]) != rows:
            raise RoboError(
                f"camera view {name!r} has {part.shape[0]} rows but {names[0]!r} has {rows}; "
                "every view needs a frame in every row"
            )
    return torch.stack(parts, dim=1)


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 ``[M, H, W, 3]`` to ``[M, 3, H, W]`` in [-1, 1), strided channels-last.

    The permuted view keeps the channels-last memory of camera images, so that the convolution
    behind it needs no copy.
    """
    scaled = images.to(dtype).sub_(BLANK).mul_(1.0 / 128.0)
    return scaled.permute(0, 3, 1, 2)


def blank_views(
    images: Tensor, names: Sequence[str], keep: Sequence[str], blank: float = BLANK
) -> Tensor:
    """A copy of ``images [M, V, H, W, 3]`` with the views not in ``keep`` set to ``blank``."""
    images = images.clone()
    images[:, [index for index, name in enumerate(names) if name not in keep]] = blank
    return images
