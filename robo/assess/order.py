"""How well predicted progress orders the frames of an episode.

Sources: VOC from GVL (arXiv 2411.04549) and Robo-Dopamine (arXiv 2512.23703, section 4.1.1);
monotonicity from SRPO. High order correlation does not make a reward useful for learning: also
measure it off the demonstrations, against true progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from robo.rewards.progress import advance, to_tensor


def value_order_correlation(progress: Any) -> Tensor:
    """Spearman correlation of predicted progress with time (VOC).

    Args:
        progress: ``[..., L]``, predicted progress of the frames of an episode in time order.

    Returns:
        float64 ``[...]`` in [-1, 1]. 0, never NaN, for a constant, for fewer than two frames,
        and for an episode that holds NaN (a failed prediction).
    """
    values = to_tensor(progress).detach().double()
    time = torch.arange(values.shape[-1], dtype=torch.float64).expand(values.shape)
    return spearman(values, time)


def spearman(first: Any, second: Any) -> Tensor:
    """Spearman rank correlation along the last axis, ties at their mean rank.

    Args:
        first: ``[..., L]``.
        second: ``[..., L]``.

    Returns:
        float64 ``[...]`` in [-1, 1]; 0 where either is constant, too short or holds NaN.

    Raises:
        ValueError: the lengths differ.
    """
    left, right = (to_tensor(part).detach().double().cpu().numpy() for part in (first, second))
    if left.shape[-1] != right.shape[-1]:
        raise ValueError(f"lengths differ: {left.shape[-1]} and {right.shape[-1]}")
    left, right = np.broadcast_arrays(left, right)
    if left.shape[-1] < 2:
        return torch.zeros(left.shape[:-1], dtype=torch.float64)
    return pearson(rankdata(left, axis=-1), rankdata(right, axis=-1))


def pearson(first: Any, second: Any) -> Tensor:
    """Pearson correlation along the last axis.

    Args:
        first: ``[..., L]``.
        second: ``[..., L]``.

    Returns:
        float64 ``[...]`` in [-1, 1]; 0 where either is constant, too short or holds NaN.
    """
    left, right = (to_tensor(part).detach().double().cpu() for part in (first, second))
    constant = (left == left[..., :1]).all(-1) | (right == right[..., :1]).all(-1)
    left, right = (part - part.mean(dim=-1, keepdim=True) for part in (left, right))
    scale = left.norm(dim=-1) * right.norm(dim=-1)
    value = ((left * right).sum(dim=-1) / scale).clamp(-1, 1)
    return torch.where(constant | ~value.isfinite(), torch.zeros_like(value), value)


def reconstruct(hops: Any) -> Tensor:
    """Progress of an episode from the hops between its consecutive frames, played forward.

    Args:
        hops: ``[L-1]``; entry i compares BEFORE = frame i with AFTER = frame i+1.

    Returns:
        ``[L]`` progress in time order, 0 at the first frame.
    """
    hops = to_tensor(hops)
    progress = [hops.new_zeros(())]
    for value in hops:
        progress.append(advance(progress[-1], value))
    return torch.stack(progress)


def reconstruct_swapped(hops: Any) -> Tensor:
    """Progress of an episode from swapped hops, played backward from the goal.

    Args:
        hops: ``[L-1]`` in time order; entry i compares BEFORE = frame i+1 with AFTER = frame i,
            so a good model answers with negative hops.

    Returns:
        ``[L]`` progress in time order, 1 at the last frame.
    """
    hops = to_tensor(hops)
    progress = [hops.new_ones(())]
    for value in hops.flip(0):
        progress.append(advance(progress[-1], value))
    return torch.stack(progress).flip(0)


def voc_plus(hops: Any) -> Tensor:
    """VOC of the forward reconstruction, see :func:`reconstruct`.

    Any model that always answers a positive hop reaches 1: report :func:`voc_minus` beside it.
    """
    return value_order_correlation(reconstruct(hops))


def voc_minus(hops: Any) -> Tensor:
    """VOC of the backward reconstruction from swapped hops; 1 is ideal here too.

    Args:
        hops: ``[L-1]``, as in :func:`reconstruct_swapped`.

    Returns:
        float64 scalar in [-1, 1]; 0 for a model that always answers a positive hop.
    """
    return value_order_correlation(reconstruct_swapped(hops))


def progress_error(predicted: Any, true: Any) -> Tensor:
    """Mean absolute error of progress.

    Args:
        predicted: ``[..., L]``.
        true: ``[..., L]``.

    Returns:
        float64 ``[...]``; NaN for an episode that holds NaN in either, or that has no frame.

    Raises:
        ValueError: the lengths differ.
    """
    left, right = (to_tensor(part).double() for part in (predicted, true))
    if left.shape[-1:] != right.shape[-1:]:
        raise ValueError(
            f"predicted and true progress have shapes {tuple(left.shape)} and "
            f"{tuple(right.shape)}, expected the same length L"
        )
    return (left - right).abs().mean(dim=-1)


def monotonicity(progress: Any) -> Tensor:
    """Share of steps on which progress rises.

    Args:
        progress: ``[..., L]`` with L at least 2.

    Returns:
        float64 ``[...]`` in [0, 1]. A step from or to NaN (a failed prediction) does not rise.

    Raises:
        ValueError: fewer than two frames.
    """
    values = to_tensor(progress)
    if values.shape[-1] < 2:
        raise ValueError(f"monotonicity needs two frames, got {values.shape[-1]}")
    return (values.diff(dim=-1) > 0).double().mean(dim=-1)


def pooled_spearman(predicted: Sequence[Any], true: Sequence[Any]) -> float:
    """Spearman correlation of predicted and true progress over all frames of many episodes.

    Meant for rollouts off the demonstrations, where time says nothing about progress.

    Args:
        predicted: one ``[L_i]`` per episode.
        true: the same lengths.

    Returns:
        Correlation in [-1, 1]; 0 where it is undefined.

    Raises:
        ValueError: the episodes do not match, or there are none.
    """
    return _pooled(spearman, predicted, true, lambda values: values)


def difference_correlation(predicted: Sequence[Any], true: Sequence[Any], k: int) -> float:
    """Pearson correlation of k-step differences of predicted and true progress, pooled.

    Learning sees differences of the potential, so this says more than the correlation of values.

    Args:
        predicted: one ``[L_i]`` per episode.
        true: the same lengths.
        k: number of frames between the two ends of a difference, at least 1. Episodes of k or
            fewer frames give none.

    Returns:
        Correlation in [-1, 1]; 0 where it is undefined.

    Raises:
        ValueError: k is below 1, the episodes do not match, or there are none.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    return _pooled(pearson, predicted, true, lambda values: values[k:] - values[:-k])


def _pooled(
    correlation: Callable[[Tensor, Tensor], Tensor],
    predicted: Sequence[Any],
    true: Sequence[Any],
    transform: Callable[[Tensor], Tensor],
) -> float:
    """Correlate the transformed values of all episodes at once."""
    left, right = ([to_tensor(part).double() for part in parts] for parts in (predicted, true))
    lengths = [[len(part) for part in parts] for parts in (left, right)]
    if not left or lengths[0] != lengths[1]:
        raise ValueError(
            f"predicted and true progress hold episodes of lengths {lengths[0]} and {lengths[1]}, "
            "expected the same and at least one"
        )
    joined = [torch.cat([transform(part) for part in parts]) for parts in (left, right)]
    if len(joined[0]) < 2:
        return 0.0
    return float(correlation(joined[0], joined[1]))
