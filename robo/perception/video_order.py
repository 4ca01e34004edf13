"""One number more in a video's embedding: how much of a success has passed, as far as it shows.

Masked prediction orders videos by what they look like. By how far their task has come they are
ordered by a linear map of the same features, fitted to the growing videos of successes: time to
the goal as a measure of progress (as in Ma et al., "VIP", arXiv 2210.00030, and Sermanet et al.,
"Time-Contrastive Networks", arXiv 1704.06888, there as the objective of the whole network).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from robo.errors import StoreError
from robo.perception.clips import Clip, clip_length, window_ends

if TYPE_CHECKING:
    from robo.perception.video import VideoEncoder

WINDOWS = 12
"""Growing videos of each success."""
MOST = 200
"""Successes that are read at most."""
RIDGE = 0.3
"""Strength of the ridge, in mean squared norms of the features."""


def orderable(clips: Sequence[Clip], views: tuple[str, ...]) -> list[Clip]:
    """The clips that an order can be fitted to, ``MOST`` at most.

    Raises:
        StoreError: fewer than two clips of two frames or more.
    """
    long = [clip for clip in clips if clip_length(clip, views) > 1][:MOST]
    if len(long) < 2:
        raise StoreError(
            f"the order of a video encoder needs at least 2 successes with frames, got {len(long)}:"
            " collect demonstrations with robo collect, or leave it out (--order 0)"
        )
    return long


def order_direction(encoder: VideoEncoder, clips: Sequence[Clip], weight: float) -> Tensor:
    """The direction along which embeddings of growing successes move.

    Args:
        encoder: of the videos.
        clips: whole successes.
        weight: how far the end of a success is from its beginning, in root mean square norms of
            the embeddings around their mean.

    Returns:
        float32 ``[D]``; its product with an embedding is the number to append.

    Raises:
        StoreError: see :func:`orderable`.
    """
    long = orderable(clips, encoder.views)
    ends = [window_ends(clip_length(clip, encoder.views), WINDOWS).tolist() for clip in long]
    points = encoder.embed_windows(long, ends).double()
    share = np.concatenate([np.linspace(0.0, 1.0, len(each)) for each in ends])
    centred = points - points.mean(0)
    wanted = torch.from_numpy(share - share.mean())
    # Of rows by rows: there are fewer windows than dimensions.
    gram = centred @ centred.T
    scale = float(gram.diagonal().mean())
    if scale <= 0:
        return torch.zeros(points.shape[1])
    ridge = RIDGE * scale * torch.eye(len(gram), dtype=torch.float64)
    direction = centred.T @ torch.linalg.solve(gram + ridge, wanted)
    return (weight * scale**0.5 * direction).float()
