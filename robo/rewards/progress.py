"""Algebra of task progress: hops, reconstruction, fusion of perspectives, labels.

Progress is a number in [0, 1]: 0 at the start of the task, 1 at its goal. A *hop* in [-1, 1]
compares two states: the share of the *remaining* distance that was won, or the share of the
*elapsed* distance that was lost. Pure functions of tensors, numpy arrays or floats; they
broadcast, keep the dtype of floating tensors, and turn plain numbers into float64.

Source: Robo-Dopamine, arXiv 2512.23703, equations 2 and 4 to 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Labels computed in float32 may leave [0, 1] by a rounding error; more than this is a mistake.
_TOLERANCE = 1e-6


def to_tensor(value: Any) -> Tensor:
    """Turn a tensor, numpy array, sequence or number into a floating tensor.

    Args:
        value: anything that torch or numpy can read.

    Returns:
        The tensor itself where it is floating already; numbers and integers become float64.
    """
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.double()
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.as_tensor(np.asarray(value, order="C"))
    return torch.as_tensor(np.asarray(value, dtype=np.float64, order="C"))


def hop(before: Any, after: Any) -> Tensor:
    """Signed relative progress from one state to another (equation 2).

    Args:
        before: progress label of the BEFORE state, in [0, 1].
        after: progress label of the AFTER state, in [0, 1], any broadcastable shape.

    Returns:
        ``(after - before) / (1 - before)`` where after >= before, otherwise
        ``(after - before) / before``; in [-1, 1]. 0/0 is 0.

    Raises:
        ValueError: a label is outside [0, 1] or NaN.
    """
    before, after = _labels("before", before), _labels("after", after)
    difference = after - before
    distance = torch.where(difference >= 0, 1 - before, before)
    # Where the distance is 0 the difference is 0 too: dividing by 1 gives the 0 that we want.
    distance = torch.where(distance == 0, torch.ones_like(distance), distance)
    return (difference / distance).clamp(-1, 1)


def advance(progress: Any, hop: Any) -> Tensor:
    """Next global progress after a hop (equations 4 and 18); inverse of :func:`hop`.

    Args:
        progress: progress so far; clamped to [0, 1].
        hop: signed hop, as a model predicts it; clamped to [-1, 1].

    Returns:
        ``progress + hop * (1 - progress)`` where hop >= 0, otherwise ``progress * (1 + hop)``;
        in [0, 1]. NaN stays NaN.
    """
    progress, hop = to_tensor(progress).clamp(0, 1), to_tensor(hop).clamp(-1, 1)
    following = torch.where(hop < 0, progress * (1 + hop), progress + hop * (1 - progress))
    return following.clamp(0, 1)


def fuse(incremental: Any, forward: Any, backward: Any) -> Tensor:
    """Mean of the three perspectives (equation 8), each clamped to [0, 1].

    Args:
        incremental: progress that :func:`advance` gives from the previous fused progress.
        forward: ``H(start, state)``, the hop from the start.
        backward: ``1 + H(goal, state)``, one plus the (negative) hop from the goal.

    Returns:
        Fused progress in [0, 1].
    """
    parts = (to_tensor(part).clamp(0, 1) for part in (incremental, forward, backward))
    first, second, third = parts
    return ((first + second + third) / 3).clamp(0, 1)


def fuse_consistent(
    previous: Any,
    hop: Any,
    forward: Any,
    backward: Any,
    alpha: float = 20.0,
    floor: float = 0.05,
) -> Tensor:
    """Progress update that trusts the anchors only where they agree (equations 9 to 11).

    With ``mean = (forward + backward) / 2``, ``disagreement = |backward - forward| /
    max(mean, floor)`` and ``w = exp(-alpha * disagreement**2)``, the result is
    ``(1 - w) * previous + w * (mean + advance(previous, hop)) / 2``: frozen where the anchors
    contradict each other, weights 1/2, 1/4, 1/4 where they agree.

    Args:
        previous: fused progress of the previous state; clamped to [0, 1].
        hop: hop from the previous state to this one; clamped to [-1, 1].
        forward: ``H(start, state)``; clamped to [0, 1].
        backward: ``1 + H(goal, state)``; clamped to [0, 1].
        alpha: sharpness of the weight, at least 0 (20 in the paper's table 9).
        floor: smallest denominator, above 0. The paper's tiny epsilon lets progress stall at
            the start, where both anchors are near 0 and any difference looks huge.

    Returns:
        Fused progress in [0, 1].

    Raises:
        ValueError: alpha is negative, or floor is not positive.
    """
    if not alpha >= 0:
        raise ValueError(f"alpha is {alpha}, expected at least 0")
    if not floor > 0:
        raise ValueError(f"floor is {floor}, expected more than 0")
    previous = to_tensor(previous).clamp(0, 1)
    forward, backward = to_tensor(forward).clamp(0, 1), to_tensor(backward).clamp(0, 1)
    mean = (forward + backward) / 2
    disagreement = (backward - forward).abs() / mean.clamp(min=floor)
    weight = torch.exp(-alpha * disagreement**2)
    step = advance(previous, hop) - previous
    return (previous + weight / 2 * (mean - previous + step)).clamp(0, 1)


def subtask_progress(boundaries: Sequence[int], num_frames: int) -> Tensor:
    """Per-frame labels in which every subtask owns the same share of progress.

    Args:
        boundaries: frame indices ``0 = b_0 < b_1 < ... < b_N = num_frames - 1`` at which the N
            subtasks begin and end.
        num_frames: number of frames of the demonstration, at least 2.

    Returns:
        float64 ``[num_frames]``: i/N at frame b_i, linear in between.

    Raises:
        ValueError: the boundaries do not begin at 0, rise strictly and end at num_frames - 1.
    """
    indices = [int(index) for index in boundaries]
    rising = all(left < right for left, right in pairwise(indices))
    if len(indices) < 2 or indices[0] != 0 or indices[-1] != num_frames - 1 or not rising:
        raise ValueError(
            f"subtask boundaries {indices} must begin at 0, rise strictly and end at "
            f"{num_frames - 1}, the last of {num_frames} frames"
        )
    subtasks = len(indices) - 1
    labels = np.interp(np.arange(num_frames), indices, np.arange(subtasks + 1) / subtasks)
    return torch.from_numpy(labels)


def _labels(name: str, value: Any) -> Tensor:
    """Progress labels as a tensor in [0, 1], rounding errors removed."""
    labels = to_tensor(value)
    inside = (labels >= -_TOLERANCE) & (labels <= 1 + _TOLERANCE)
    if not bool(inside.all()):
        raise ValueError(
            f"progress label {name} holds {float(labels[~inside][0])}, expected values in [0, 1]"
        )
    return labels.clamp(0, 1)
