from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.errors import StoreError
from robo.rewards.grm.fit_config import PairSetConfig
from robo.rewards.grm.labels import Labeller
from robo.rewards.grm.pair_set import (
    GOAL,
    NOTHING,
    START,
    balanced_rows,
    sample_pair_set,
    sample_states,
)
from robo.rewards.grm.pairs import gap_bin, score_bin
from robo.rewards.grm.records import read_records, write_records
from robo.rewards.progress import hop, subtask_progress


@given(st.lists(st.integers(6, 80), min_size=1, max_size=5), st.integers(2, 10))
@settings(max_examples=40, deadline=None)
def test_every_subtask_owns_the_same_share_whatever_its_duration(durations, chunk):
    bounds = np.concatenate([[0], np.cumsum(durations)]).tolist()
    states = sample_states(bounds, chunk)
    inside = [
        int(((states >= left) & (states <= right)).sum())
        for left, right in itertools.pairwise(bounds)
    ]
    shortest = min(min(durations) + 1, max(inside))
    assert min(inside) >= shortest or len(set(inside)) == 1
    assert set(bounds) <= set(states.tolist())
    label = subtask_progress(bounds, bounds[-1] + 1)
    shares = np.diff(label[bounds].numpy())
    np.testing.assert_allclose(shares, 1 / len(durations))


def test_the_published_vectors_of_eleven_states():
    """dopamine.md 1.2: 1-based states of 11; progress i/M."""
    progress = np.arange(11) / 10
    for (before, after), wanted in {
        (3, 7): 0.5,
        (7, 3): -2 / 3,
        (1, 6): 0.5,
        (11, 6): -0.5,
    }.items():
        assert float(hop(progress[before - 1], progress[after - 1])) == pytest.approx(wanted)


@pytest.fixture
def episodes(synthetic):
    demos = [replace(synthetic.episode(i, steps=40)[0], keyframes={"near": 10 + i}) for i in (0, 1)]
    return [*demos, synthetic.episode(9, False, steps=40)[0]]


CONFIG = PairSetConfig(samples=200, chunk=1, view_dropout=0.1, context_dropout=0.2)


def test_same_seed_same_pairs_and_labels_are_hops(episodes):
    labeller = Labeller.of(episodes)
    pairs = sample_pair_set(episodes, labeller, CONFIG)
    again = sample_pair_set(episodes, labeller, CONFIG)
    other = sample_pair_set(episodes, labeller, replace(CONFIG, seed=1))
    for name in pairs.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(pairs, name), getattr(again, name))
    assert not np.array_equal(pairs.before, other.before)
    assert len(pairs) == 600
    for i in np.flatnonzero(~pairs.zero)[:60]:
        label = labeller.at_frames(episodes[pairs.episode[i]])
        wanted = float(hop(label[pairs.before[i]], label[pairs.after[i]]))
        assert pairs.hop[i] == pytest.approx(wanted, abs=1e-6)


def test_proportions_zero_hops_swaps_and_dropout(episodes):
    pairs = sample_pair_set(episodes, Labeller.of(episodes), replace(CONFIG, samples=1000))
    assert pairs.zero.mean() == pytest.approx(0.05, abs=0.002)
    assert (pairs.hop[pairs.zero] == 0).all()
    near = np.abs(pairs.before - pairs.after)[pairs.zero]
    assert near.min() >= 1 and near.max() <= 2
    demo = pairs.episode == 0
    # 3 of 4 references are drawn anew, and half of these are the pair's own again.
    assert (pairs.reference[demo] != 0).mean() == pytest.approx(0.375, abs=0.06)
    assert set(pairs.reference) == {0, 1}  # a failure is nobody's goal
    assert (pairs.hidden != NOTHING).mean() == pytest.approx(0.2, abs=0.04)
    assert set(pairs.hidden) == {NOTHING, START, GOAL}
    assert pairs.dropped.mean() == pytest.approx(0.1, abs=0.03)


def test_pairs_are_different_and_spread_over_the_bins(episodes):
    demos = [replace(episodes[0], keyframes={})]
    pairs = sample_pair_set(demos, Labeller.of(demos), PairSetConfig(samples=250, chunk=1))
    kept = ~pairs.zero
    assert len({(b, a) for b, a in zip(pairs.before[kept], pairs.after[kept], strict=True)}) == (
        kept.sum()
    )
    filled = np.bincount(score_bin(pairs.hop[kept], 25), minlength=25)
    every = np.array([(i, j) for i in range(41) for j in range(41) if i != j])
    label = Labeller.of(demos).at_frames(demos[0])
    there = np.bincount(
        score_bin(np.asarray(hop(label[every[:, 0]], label[every[:, 1]])), 25), minlength=25
    )
    # No bin is starved that had enough candidates for its quota.
    assert (filled >= np.minimum(there, kept.sum() // 25)).all()


@given(st.integers(0, 1000), st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_balanced_rows_take_what_was_asked_for_or_everything(seed, wanted):
    rng = np.random.default_rng(seed)
    score, gap = rng.integers(0, 25, 200), rng.integers(0, 4, 200)
    rows = balanced_rows(score, gap, wanted, (25, 4), rng)
    assert len(set(rows.tolist())) == len(rows) == min(wanted, 200)
    assert gap_bin(np.array([1, 100]), 100, 4).tolist() == [0, 3]


def test_too_short_or_missing_demonstrations_are_refused(episodes):
    labeller = Labeller.of(episodes)
    with pytest.raises(StoreError, match="no demonstration"):
        sample_pair_set(episodes[2:], labeller, CONFIG)
    short = replace(
        episodes[0],
        frames={view: image[[0, -1]] for view, image in episodes[0].frames.items()},
        frame_step=episodes[0].frame_step[[0, -1]],
    )
    with pytest.raises(StoreError, match="too short"):
        sample_pair_set([short], labeller, CONFIG)
    other = replace(episodes[1], info=replace(episodes[1].info, task="test/Other"))
    with pytest.raises(StoreError, match="episodes of one task"):
        sample_pair_set([episodes[0], other], labeller, CONFIG)
    for options in ({"zero_hop": 2.0}, {"samples": 0}):
        with pytest.raises(StoreError, match="expected"):
            PairSetConfig(**options)


def test_records_are_the_published_format_and_are_read_again(episodes, tmp_path):
    pairs = sample_pair_set(episodes, Labeller.of(episodes), replace(CONFIG, samples=20))
    path = write_records(tmp_path, episodes, pairs, slots=("front", "side", "wrist"))
    records = read_records(path)
    assert len(records) == len(pairs)
    for record, wanted in zip(records, pairs.hop, strict=True):
        assert set(record) == {"id", "image", "task", "conversations", "hop"}
        assert len(record["image"]) == 8
        assert all((tmp_path / name).is_file() for name in record["image"])
        human, gpt = record["conversations"]
        assert human["value"].count("<image>") == 8 and human["from"] == "human"
        assert gpt["from"] == "gpt" and record["hop"] == pytest.approx(float(wanted), abs=0.0006)
    (tmp_path / "bad.json").write_text('[{"id": 1, "image": [], "conversations": []}]')
    with pytest.raises(StoreError, match="no pair records"):
        read_records(tmp_path / "bad.json")
    with pytest.raises(StoreError, match="no pair records"):
        read_records(tmp_path / "none.json")
