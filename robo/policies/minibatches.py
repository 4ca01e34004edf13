"""Which rows make a minibatch, over one process or several.

An epoch is one permutation of the rows of all ranks, drawn alike on each (their generators have
one seed); a rank works on those rows of a minibatch that its own environments made. So what a
minibatch holds does not depend on the number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from robo.policies import distributed
from robo.policies.distributed import Shard


class Epochs:
    """Draws the epochs of one update of a rollout."""

    def __init__(self, shape: tuple[int, int], valid: Tensor | None, minibatch_size: int) -> None:
        """For T steps of this rank's N environments.

        Args:
            shape: (T, N); T is the same on every rank.
            valid: bool ``[T, N]``: which slots are rows; None for all, on every rank then.
            minibatch_size: rows per gradient, over all ranks.
        """
        steps, envs = shape
        mask = None if valid is None else valid.cpu().numpy()
        self.shard = _shard(envs)
        self._ids: np.ndarray | None = None
        self._row: np.ndarray | None = None
        self.count = steps * self.shard.total
        """Rows of all ranks."""
        if mask is not None:
            self._ids = np.flatnonzero(self._of_all_ranks(mask).reshape(-1))
            self._row = np.cumsum(mask.reshape(-1)) - 1
            self.count = len(self._ids)
        self.bounds = minibatch_bounds(self.count, minibatch_size)

    def _of_all_ranks(self, mask: np.ndarray) -> np.ndarray:
        """``[T, total]`` of this rank's ``[T, N]``."""
        whole = np.zeros((len(mask), self.shard.total), np.int32)
        whole[:, self.shard.first : self.shard.stop] = mask
        return distributed.all_reduce_sum_(whole) > 0

    def draw(self, generator: np.random.Generator) -> tuple[np.ndarray, list[int]]:
        """One epoch.

        Returns:
            This rank's rows (among its valid ones) in order, and where minibatches begin and end
            among them, B + 1 numbers. A minibatch may hold no row of this rank.
        """
        order = generator.permutation(self.count)
        if len(self.shard) == self.shard.total:
            return order, self.bounds
        ids = order if self._ids is None else self._ids[order]
        position, rows = self.shard.rows(ids)
        if self._row is not None:
            rows = self._row[rows]
        return rows, np.searchsorted(position, self.bounds).tolist()


def _shard(envs: int) -> Shard:
    """This rank's slice of the environments of all ranks, in the order of ranks."""
    counts = np.zeros(distributed.world_size(), np.int64)
    counts[distributed.rank()] = envs
    distributed.all_reduce_sum_(counts)
    first = int(counts[: distributed.rank()].sum())
    return Shard(first, first + envs, int(counts.sum()))


def minibatch_bounds(count: int, size: int) -> list[int]:
    """Where minibatches begin and end, B + 1 numbers: sizes differ by at most one.

    A remainder is spread over all minibatches: a last one of a few rows would have a useless
    advantage scale.
    """
    parts = max(1, math.ceil(count / size))
    return [count * part // parts for part in range(parts + 1)]


def normalise_groups(values: np.ndarray, bounds: Sequence[int]) -> None:
    """Give each slice of ``values [B]`` zero mean and unit (unbiased) standard deviation.

    Over several ranks a slice is joined with those of the others: CaRL normalises so.
    """
    if distributed.is_distributed():
        groups = [values[start:end] for start, end in pairwise(bounds)]
        for group, count, mean, std in zip(groups, *distributed.group_moments(groups), strict=True):
            if count > 1:
                group[:] = (group - mean) / (std + 1e-8)
        return
    _normalise_here(values, np.asarray(bounds))


def _normalise_here(values: np.ndarray, bounds: np.ndarray) -> None:
    """The same in one process, all groups at once: an epoch may have hundreds."""
    counts = np.diff(bounds)
    several = counts > 1
    counts = counts[several]
    if len(counts) == 0:
        return
    inside = slice(None) if several.all() else np.repeat(several, np.diff(bounds))
    part = values[bounds[0] : bounds[-1]][inside].astype(np.float64)
    first = np.cumsum(counts) - counts
    part -= np.repeat(np.add.reduceat(part, first) / counts, counts)
    variance = np.add.reduceat(part * part, first) / (counts - 1)
    part /= np.repeat(np.sqrt(variance) + 1e-8, counts)
    values[bounds[0] : bounds[-1]][inside] = part
