"""Progress within a rollout: how near its growing video comes to successful ones.

SRPO, arXiv 2511.15605, appendix B, with one change: there, a success is compared with its own
whole video, so that its last value is 1 by construction. Here, references are embeddings of
*other* successes, which the caller holds out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robo.perception.clips import Clip, clip_length, window_ends
from robo.perception.video import VideoEncoder
from robo.rewards.srpo import nearest_distance


def window_distances(
    encoder: VideoEncoder, clips: Sequence[Clip], centres: Tensor | np.ndarray, windows: int = 16
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each clip the lengths of its growing videos ``[W]`` and their distances to a reference.

    Args:
        encoder: of the videos.
        clips: with at least one frame each.
        centres: ``[C, D]``, references.
        windows: videos per clip at most.

    Returns:
        Per clip: int64 ``[W]`` frames, and float ``[W]`` L2 distance to the nearest centre.
    """
    ends = [window_ends(clip_length(clip, encoder.views), windows) for clip in clips]
    points = encoder.embed_windows(clips, [each.tolist() for each in ends]).double().numpy()
    references = torch.as_tensor(centres).double().numpy()
    distances = np.split(
        nearest_distance(points, references), np.cumsum([len(e) for e in ends])[:-1]
    )
    return list(zip(ends, distances, strict=True))


def progress_curve(distance: np.ndarray) -> np.ndarray:
    """Distances ``[W]`` of one rollout to progress in [0, 1]: its farthest 0, its nearest 1.

    Zeros where all are equal.
    """
    spread = float(np.ptp(distance)) if len(distance) else 0.0
    if spread <= 1e-12:
        return np.zeros(len(distance))
    return (distance.max() - distance) / spread


def progress_of_states(
    encoder: VideoEncoder,
    clip: Clip,
    frame_step: np.ndarray,
    states: int,
    centres: Tensor | np.ndarray,
    scale: float | None = None,
    windows: int = 16,
) -> np.ndarray:
    """Progress at every state of a rollout, float ``[states]``, linear between its windows.

    Args:
        encoder: of the videos.
        clip: frames of the rollout.
        frame_step: int ``[F]``, the state that each frame shows.
        states: L + 1.
        centres: ``[C, D]``, references.
        scale: distance that is progress 0, the same for all rollouts; None normalises this
            rollout by itself.
        windows: videos at most.
    """
    ((ends, distance),) = window_distances(encoder, [clip], centres, windows)
    value = progress_curve(distance) if scale is None else 1.0 - distance / scale
    return np.interp(np.arange(states), np.asarray(frame_step)[ends - 1], value)
