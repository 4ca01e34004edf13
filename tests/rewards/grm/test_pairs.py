from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.errors import StoreError
from robo.rewards.grm.pairs import FrameTable, PairConfig, sample_pairs, score_bin
from robo.rewards.progress import hop


def make_table(episodes=8, rows=12, seed=0, demos=4):
    rng = np.random.default_rng(seed)
    step = np.sort(rng.permuted(np.tile(np.arange(40), (episodes, 1)), axis=1)[:, :rows], axis=1)
    label = step / 39.0 * np.where(np.arange(episodes) < demos, 1.0, 0.3)[:, None]
    label[:demos, 0], label[:demos, -1] = 0.0, 1.0
    first = np.arange(demos) * rows
    members = np.concatenate(
        [np.repeat(np.arange(demos)[:, None], 4, 1), [np.arange(4) % demos] * 2]
    )
    return FrameTable(
        label.ravel().astype(np.float32),
        np.repeat(np.arange(episodes), rows),
        step.ravel(),
        first[members],
        (first + rows - 1)[members],
    )


def test_hops_are_those_of_the_labels():
    table, config = make_table(), PairConfig(pairs=2000)
    pairs = sample_pairs(table, config, np.random.default_rng(1))
    label = np.append(table.label, np.ones(len(table.goals), np.float32))
    zero = slice(2000 - 400 - 100, 2000 - 400)
    expected = np.asarray(hop(label[pairs.before], label[pairs.after]))
    assert not pairs.hop[zero].any()
    expected[zero] = 0
    assert pairs.hop == pytest.approx(expected, abs=1e-6)
    assert np.abs(pairs.hop).max() <= 1


def test_shares_of_kinds():
    table, config = make_table(), PairConfig(pairs=2000)
    pairs = sample_pairs(table, config, np.random.default_rng(1))
    rows = len(table.label)
    assert (pairs.before >= rows).sum() == 400  # goal-anchored
    assert (pairs.before[-400:] == rows + pairs.reference[-400:]).all()
    same = table.episode[pairs.before[:1500]] == table.episode[pairs.after[:1500]]
    assert same.sum() == 750
    assert (pairs.before != pairs.after).all()
    zero = slice(1500, 1600)
    assert (table.episode[pairs.before[zero]] == table.episode[pairs.after[zero]]).all()


def test_score_bins_are_balanced_within_episodes_and_across():
    table, config = make_table(), PairConfig(pairs=20_000, zero_hop=0.0, anchored=0.0)
    pairs = sample_pairs(table, config, np.random.default_rng(2))
    per_score = np.bincount(score_bin(pairs.hop, config.score_bins), minlength=25)
    assert len(per_score) == 25 and per_score.sum() == 20_000
    assert per_score.min() > 0.5 * 20_000 / 25 and per_score.max() < 2 * 20_000 / 25
    uniform = np.random.default_rng(0).integers(0, len(table.label), (2, 20_000))
    value = np.asarray(hop(table.label[uniform[0]], table.label[uniform[1]]))
    plain = np.histogram(value, 25, (-1, 1))[0]
    assert per_score.std() < 0.5 * plain.std()


def test_own_references_and_swaps():
    table = make_table()
    unswapped = replace(PairConfig(pairs=1000, anchored=0.0), reference_swap=0.0)
    pairs = sample_pairs(table, unswapped, np.random.default_rng(3))
    own = table.episode[pairs.before] < 4  # demonstrations
    assert (pairs.reference[own] == table.episode[pairs.before][own]).all()
    assert len(np.unique(pairs.reference[~own])) > 1  # failures have no GOAL of their own
    always = replace(unswapped, reference_swap=1.0)
    pairs = sample_pairs(table, always, np.random.default_rng(3))
    share = (pairs.reference == table.episode[pairs.before])[own].mean()
    assert share < 0.4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), episodes=st.integers(1, 6), rows=st.integers(2, 6))
def test_reproducible_and_in_range_for_any_table(seed, episodes, rows):
    table = make_table(episodes, rows, seed, demos=1)
    table = replace(table, starts=table.starts[:1] * 0, goals=table.goals[:1] * 0 + rows - 1)
    config = PairConfig(pairs=100)
    first, second = (sample_pairs(table, config, np.random.default_rng(seed)) for _ in range(2))
    for name in ("before", "after", "reference", "hop", "gap"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
        assert len(getattr(first, name)) == 100
    assert first.after.max() < len(table.label) and first.before.max() <= len(table.label)
    assert np.isfinite(first.hop).all()


def test_bad_configurations_are_refused():
    with pytest.raises(StoreError, match="zero_hop"):
        PairConfig(zero_hop=-0.1)
    with pytest.raises(StoreError, match="more than 1"):
        PairConfig(zero_hop=0.6, anchored=0.6)
    table = make_table()
    with pytest.raises(StoreError, match="too few"):
        sample_pairs(replace(table, goals=table.goals[:0]), PairConfig(), np.random.default_rng(0))
