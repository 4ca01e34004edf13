"""A fixed set of labelled pairs, in the proportions of the published data pipeline.

Stage A cuts every subtask of a demonstration into the same number of states, so that each owns
the same share of progress whatever its duration. Stage B draws pairs balanced over 25 bins of the
hop and 4 of the distance in time, with 5 % of zero hops. Stage C shows the references of another
demonstration of the same task in three of four pairs (Robo-Dopamine, arXiv 2512.23703, sections
3.1.1 and B.3.2, and its released code). Unlike there, one seed gives the same pairs every time,
and tasks are never mixed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robo.errors import StoreError
from robo.rewards.grm.fit_config import PairSetConfig
from robo.rewards.grm.labels import Labeller, boundaries
from robo.rewards.grm.pairs import gap_bin, hop_matrix_of, score_bin
from robo.rollout import Episode

NOTHING, START, GOAL = 0, 1, 2
"""What of the context is hidden."""


@dataclass(frozen=True)
class PairSet:
    """P labelled pairs of episodes in a list. Rows are frame rows of an episode."""

    episode: np.ndarray
    """int64 ``[P]``: index of the episode of BEFORE and AFTER."""
    before: np.ndarray
    """int64 ``[P]``."""
    after: np.ndarray
    """int64 ``[P]``."""
    reference: np.ndarray
    """int64 ``[P]``: index of the demonstration whose first and last frame are START and GOAL."""
    hop: np.ndarray
    """float32 ``[P]``, the label."""
    zero: np.ndarray
    """bool ``[P]``: a pair of frames with nothing between them worth the name."""
    hidden: np.ndarray
    """int8 ``[P]``: ``NOTHING``, ``START`` or ``GOAL``: the reference that is not shown."""
    dropped: np.ndarray
    """bool ``[P, 2]``: whether a side view of BEFORE, of AFTER, is not shown."""

    def __len__(self) -> int:
        """Number of pairs P."""
        return len(self.hop)

    def rows(self, index: np.ndarray) -> PairSet:
        """The pairs at ``index``."""
        return PairSet(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def sample_states(bounds: Sequence[int], chunk: int) -> np.ndarray:
    """Sorted states S of a demonstration: the same number of them in every subtask (stage A).

    Args:
        bounds: 0 = b0 < b1 < ... < bN, in frames.
        chunk: frames per state, on the average over the demonstration.

    Returns:
        int64 states; the i-th of M + 1 has progress i/M where no two fell together.
    """
    subtasks = len(bounds) - 1
    count = max(1, round((bounds[-1] - bounds[0]) / chunk / subtasks))
    parts = [
        np.linspace(left, right, count + 1).round().astype(np.int64)
        for left, right in itertools.pairwise(bounds)
    ]
    return np.unique(np.concatenate(parts))


def sample_pair_set(
    episodes: Sequence[Episode], labeller: Labeller, config: PairSetConfig
) -> PairSet:
    """Pairs of one task's episodes.

    Args:
        episodes: labelled demonstrations and failures, with frames.
        labeller: of their progress.
        config: proportions and seed.

    Raises:
        StoreError: no demonstration, episodes of several tasks, or too short to make a pair.
    """
    tasks = sorted({episode.info.task for episode in episodes})
    if len(tasks) > 1:
        raise StoreError(
            f"pairs show the references of other episodes of one task, but these are of {tasks}; "
            "give the episodes of one task"
        )
    rng = np.random.default_rng(config.seed)
    demos = [i for i, episode in enumerate(episodes) if episode.success]
    if not demos:
        raise StoreError("no demonstration to draw pairs from; give at least one success")
    parts = []
    for index, episode in enumerate(episodes):
        before, after, hop, zero = _episode_pairs(episode, labeller, config, rng)
        count = len(before)
        own = index if episode.success else int(rng.choice(demos))
        reference = np.full(count, own)
        swapped = rng.random(count) < config.reference_swap
        reference[swapped] = rng.choice(demos, int(swapped.sum()))
        hidden = np.where(
            rng.random(count) < config.context_dropout,
            np.where(rng.random(count) < 0.5, START, GOAL),
            NOTHING,
        )
        dropped = rng.random((count, 2)) < config.view_dropout
        parts.append(
            (
                np.full(count, index),
                before,
                after,
                reference,
                hop,
                zero,
                hidden.astype(np.int8),
                dropped,
            )
        )
    joined = PairSet(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if not len(joined):
        raise StoreError(
            "the episodes are too short to draw pairs from: at least 3 frames are needed; collect "
            "with a smaller --stride"
        )
    return joined.rows(rng.permutation(len(joined)))


def _episode_pairs(
    episode: Episode, labeller: Labeller, config: PairSetConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frame rows of BEFORE and AFTER, hops and zero marks of one episode."""
    step = np.asarray(episode.frame_step, dtype=np.int64)
    label = labeller.at_frames(episode)
    bounds = boundaries(episode) if episode.success else [0, len(episode)]
    states = sample_states(bounds, config.chunk)
    rows = np.unique(np.abs(step[:, None] - states[None]).argmin(axis=0))
    if len(rows) < 3:
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0, np.float32), np.zeros(0, bool)
    wanted = config.samples
    zeros = round(wanted * config.zero_hop)
    first, second = _candidates(len(rows), wanted - zeros, config, rng)
    hop = hop_matrix_of(label, rows[first], rows[second])
    chosen = balanced_rows(
        score_bin(hop, config.score_bins),
        gap_bin(np.abs(first - second), max(len(rows) - 2, 1), config.gap_bins),
        wanted - zeros,
        (config.score_bins, config.gap_bins),
        rng,
    )
    still, moved = _zero_pairs(rows, len(step), zeros, rng)
    return (
        np.concatenate([rows[first[chosen]], still]),
        np.concatenate([rows[second[chosen]], moved]),
        np.concatenate([hop[chosen], np.zeros(zeros, np.float32)]).astype(np.float32),
        np.repeat([False, True], [len(chosen), zeros]),
    )


def _candidates(
    states: int, wanted: int, config: PairSetConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Different ordered pairs (i, j), i != j: all of them, or as many as are worth looking at."""
    every = states * (states - 1)
    most = min(config.most_candidates, max(wanted * config.oversample, wanted * 10))
    flat = np.arange(every) if every <= most else rng.choice(every, most, replace=False)
    first, second = flat // (states - 1), flat % (states - 1)
    return first, second + (second >= first)


def balanced_rows(
    score: np.ndarray,
    gap: np.ndarray,
    wanted: int,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Indices of ``wanted`` candidates, evenly over the bins, none twice.

    Each score bin is owed the same number (what does not divide goes to the central bins), and
    each gap bin the same share of it. What a gap bin lacks is taken from its score bin, and what a
    score bin lacks from anywhere.

    Args:
        score: int ``[C]``, score bin of each candidate.
        gap: int ``[C]``, gap bin.
        wanted: how many; all candidates where there are fewer.
        shape: (score bins, gap bins).
        rng: source of the randomness.
    """
    order = rng.permutation(len(score))
    taken = np.zeros(len(score), bool)
    quota = np.full(shape[0], wanted // shape[0])
    central = np.argsort(np.abs(np.arange(shape[0]) - (shape[0] - 1) / 2), kind="stable")
    quota[central[: wanted % shape[0]]] += 1
    for which in range(shape[0]):
        inside = order[score[order] == which]
        share = np.full(shape[1], quota[which] // shape[1])
        share[: quota[which] % shape[1]] += 1
        for part in range(shape[1]):
            taken[inside[gap[inside] == part][: share[part]]] = True
        rest = inside[~taken[inside]]
        taken[rest[: quota[which] - int(taken[inside].sum())]] = True
    rest = order[~taken[order]]
    taken[rest[: wanted - int(taken.sum())]] = True
    return order[taken[order]][:wanted]


def _zero_pairs(
    rows: np.ndarray, frames: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Frames next to a state, 7.5 % of the way to its neighbours and at least one."""
    at = rng.integers(0, len(rows), count)
    left, right = rows[np.maximum(at - 1, 0)], rows[np.minimum(at + 1, len(rows) - 1)]
    shift = np.maximum(1, np.floor(0.075 * (right - left)).astype(np.int64))
    sign = np.where(rng.random(count) < 0.5, -1, 1)
    moved = rows[at] + sign * shift
    moved = np.where((moved < 0) | (moved >= frames), rows[at] - sign * shift, moved)
    return rows[at], np.clip(moved, 0, frames - 1)
