"""Which (BEFORE, AFTER, START, GOAL) the GRM is trained on.

Robo-Dopamine balances the pairs of its data set over 25 score bins and 4 gap bins, adds 5 % of zero
hops and swaps the references of 75 % (section B.3.2 and released code). Here each training step
does so anew, over every pair of the frames that it has just encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from robo.errors import StoreError
from robo.rewards.grm.fit_config import PairConfig
from robo.rewards.progress import hop as signed_hop


@dataclass(frozen=True)
class FrameTable:
    """What is known of the F frames of one training step, and of its K reference sets."""

    label: np.ndarray
    """float ``[F]``: progress in [0, 1]."""
    episode: np.ndarray
    """int ``[F]``: any id of the episode."""
    step: np.ndarray
    """int ``[F]``: state index within the episode."""
    starts: np.ndarray
    """int ``[K, G]``: rows averaged into a START reference."""
    goals: np.ndarray
    """int ``[K, G]``: rows averaged into the GOAL reference of the same demonstrations."""

    def own_reference(self) -> np.ndarray:
        """Index ``[F]`` of the first reference set made of a row's own episode only, or -1."""
        own = np.full(len(self.label), -1)
        single = (self.goals == self.goals[:, :1]).all(axis=1)
        for index in np.flatnonzero(single)[::-1]:
            own[self.episode == self.episode[self.goals[index, 0]]] = index
        return own


@dataclass(frozen=True)
class Pairs:
    """P training pairs. Indices below F are frame rows; F + k is the GOAL of reference set k."""

    before: np.ndarray
    """int64 ``[P]``."""
    after: np.ndarray
    """int64 ``[P]``, always a frame row."""
    reference: np.ndarray
    """int64 ``[P]``: the reference set whose START and GOAL are shown."""
    hop: np.ndarray
    """float32 ``[P]``: the signed hop to predict."""
    gap: np.ndarray
    """int64 ``[P]``: distance in states; -1 for a BEFORE that is a GOAL reference."""


def hop_matrix(label: np.ndarray) -> np.ndarray:
    """``[F, F]`` of hops from row to column, by :func:`robo.rewards.progress.hop`."""
    value = torch.from_numpy(np.asarray(label, dtype=np.float32))
    return np.asarray(signed_hop(value[:, None], value[None, :]))


def score_bin(hop: np.ndarray, bins: int) -> np.ndarray:
    """Bin 0 ... bins-1 of hops in [-1, 1]."""
    return np.clip(((hop + 1.0) * 0.5 * bins).astype(np.int64), 0, bins - 1)


def gap_bin(gap: np.ndarray, longest: int, bins: int) -> np.ndarray:
    """Bin 0 ... bins-1 of gaps over [1, longest]."""
    return np.clip((gap - 1) * bins // max(longest, 1), 0, bins - 1)


def balanced_choice(
    candidates: np.ndarray,
    score: np.ndarray,
    gap: np.ndarray,
    count: int,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """``count`` of ``candidates``: a score bin at random, a gap bin within it, a pair within that.

    Bins without candidates take no part, so that their share falls to the others. Drawn with
    replacement.

    Args:
        candidates: int ``[C]``.
        score: int ``[C]``, score bin of each.
        gap: int ``[C]``, gap bin of each.
        count: how many to draw.
        shape: (score bins, gap bins).
        rng: source of the randomness.
    """
    if count == 0 or len(candidates) == 0:
        return candidates[:0]
    cell = score * shape[1] + gap
    order = np.argsort(cell, kind="stable")
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    first = (np.cumsum(counts) - counts.ravel()).reshape(shape)
    present = np.flatnonzero(counts.any(axis=1))
    row = present[rng.integers(0, len(present), count)]
    filled = counts[row] > 0
    nth = (rng.random(count) * filled.sum(axis=1)).astype(np.int64)
    column = (np.cumsum(filled, axis=1) > nth[:, None]).argmax(axis=1)
    within = (rng.random(count) * counts[row, column]).astype(np.int64)
    return candidates[order[first[row, column] + within]]


def zero_hops(table: FrameTable, count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Pairs of frames next to each other in the table and in one episode, in random direction."""
    order = np.lexsort((table.step, table.episode))
    left, right = order[:-1], order[1:]
    apart = np.abs(table.step[right] - table.step[left])
    change = np.abs(hop_matrix_of(table.label, left, right))
    fit = (table.episode[left] == table.episode[right]) & (apart > 0)
    # Neighbours in a sparse table may really differ: only such as changed little count as zero.
    near = np.flatnonzero(fit & (change <= 0.1))
    if len(near) == 0:
        still = rng.integers(0, len(table.label), count)
        return still, still.copy()
    chosen = near[rng.integers(0, len(near), count)]
    forward = rng.random(count) < 0.5
    before = np.where(forward, left[chosen], right[chosen])
    return before, np.where(forward, right[chosen], left[chosen])


def hop_matrix_of(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float32 ``[P]``: hops between listed rows."""
    value = np.asarray(label, dtype=np.float32)
    return np.asarray(signed_hop(torch.from_numpy(value[before]), torch.from_numpy(value[after])))


def sample_pairs(table: FrameTable, config: PairConfig, rng: np.random.Generator) -> Pairs:
    """Draw one training step's pairs; the same generator state gives the same pairs.

    Raises:
        StoreError: if the table has fewer than two frames or no reference set.
    """
    rows, sets = len(table.label), len(table.goals)
    if rows < 2 or sets < 1:
        raise StoreError(
            f"{rows} frames and {sets} reference sets are too few to draw pairs from; collect more "
            "demonstrations"
        )
    hops = hop_matrix(table.label).ravel()
    gaps = np.abs(table.step[:, None] - table.step[None, :]).ravel()
    same = (table.episode[:, None] == table.episode[None, :]).ravel()
    shape = (config.score_bins, config.gap_bins)
    score = score_bin(hops, config.score_bins)
    gap = gap_bin(gaps, int(gaps.max()), config.gap_bins)
    distinct = np.arange(rows * rows) // rows != np.arange(rows * rows) % rows
    pools = [np.flatnonzero(distinct & same), np.flatnonzero(~same)]

    zero = round(config.pairs * config.zero_hop)
    anchored = round(config.pairs * config.anchored)
    rest = config.pairs - zero - anchored
    within = round(rest * config.same_episode) if len(pools[1]) else rest
    within = within if len(pools[0]) else 0
    flat = np.concatenate(
        [
            balanced_choice(pool, score[pool], gap[pool], count, shape, rng)
            for pool, count in zip(pools, (within, rest - within), strict=True)
        ]
    )
    before, after = flat // rows, flat % rows
    zero_before, zero_after = zero_hops(table, zero, rng)
    # A uniform choice of rows would rarely show the few late frames: balance over the label too.
    everything = np.arange(rows)
    goal_after = balanced_choice(
        everything,
        score_bin(table.label * 2.0 - 1.0, config.score_bins),
        np.zeros(rows, dtype=np.int64),
        anchored,
        (config.score_bins, 1),
        rng,
    )
    goal_set = rng.integers(0, sets, anchored)
    reference = choose_references(table, np.concatenate([before, zero_before]), config, rng)
    return Pairs(
        np.concatenate([before, zero_before, rows + goal_set]),
        np.concatenate([after, zero_after, goal_after]),
        np.concatenate([reference, goal_set]),
        np.concatenate(
            [hops[flat], np.zeros(zero, dtype=np.float32), table.label[goal_after] - 1.0]
        ).astype(np.float32),
        np.concatenate(
            [gaps[flat], np.abs(table.step[zero_before] - table.step[zero_after]), [-1] * anchored]
        ).astype(np.int64),
    )


def choose_references(
    table: FrameTable, before: np.ndarray, config: PairConfig, rng: np.random.Generator
) -> np.ndarray:
    """Reference set ``[P]``: BEFORE's own, or (by the swap's chance, or for none) a random one."""
    own = table.own_reference()[before]
    swapped = rng.random(len(before)) < config.reference_swap
    return np.where(swapped | (own < 0), rng.integers(0, len(table.goals), len(before)), own)
