"""Vectors of the paper, bounds, and inverse relations of the progress algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo.rewards.progress import advance, fuse, fuse_consistent, hop, subtask_progress

UNIT = st.floats(0, 1)
HOP = st.floats(-1, 1)
ANY = st.floats(-3, 3)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0.2, 0.6, 0.5), (0.6, 0.2, -2 / 3), (0.6, 0.8, 0.5), (0, 1, 1), (1, 0, -1)],
)
def test_hop_vectors(before, after, expected):
    assert float(hop(before, after)) == pytest.approx(expected, abs=1e-12)


def test_hop_over_eleven_states():
    before, after = torch.tensor([3, 7, 1, 11]), torch.tensor([7, 3, 6, 6])
    got = hop((before - 1) / 10, (after - 1) / 10)
    assert torch.allclose(got, torch.tensor([0.5, -2 / 3, 0.5, -0.5]))


def test_hop_of_nothing_is_zero():
    edges = torch.tensor([0.0, 1.0, 0.3])
    assert torch.equal(hop(edges, edges), torch.zeros(3))


@pytest.mark.parametrize("label", [-0.1, 1.1, math.nan])
def test_hop_refuses_labels_outside_the_unit_interval(label):
    with pytest.raises(ValueError, match="after"):
        hop(0.5, label)


def test_types_and_broadcasting():
    assert hop(0.2, 0.6).dtype == torch.float64
    assert hop(np.array([0.2], np.float32), 0.6).dtype == torch.float32
    assert advance(torch.zeros(3, 1), torch.zeros(4)).shape == (3, 4)
    assert fuse([0, 1], 0.5, torch.zeros(2)).shape == (2,)


def test_advance_vector():
    progress, seen = 0.0, []
    for value in (0.25, 0.5, -0.4, 1 / 3):
        progress = float(advance(progress, value))
        seen.append(progress)
    assert seen == pytest.approx([0.25, 0.625, 0.375, 0.58333333], abs=1e-8)


def test_fusion_vectors():
    incremental = advance(0.4, 0.25)
    assert float(fuse(incremental, 0.5, 0.55)) == pytest.approx(1.6 / 3, abs=1e-12)
    assert float(fuse_consistent(0.4, 0.25, 0.5, 0.55)) == pytest.approx(0.5147, abs=5e-5)
    assert float(fuse_consistent(0.4, 0.25, 0.2, 0.8)) == pytest.approx(0.4, abs=1e-12)


def test_agreeing_anchors_weigh_a_quarter_each():
    assert float(fuse_consistent(0.2, 0.5, 0.7, 0.7)) == pytest.approx(0.5 * 0.6 + 0.5 * 0.7)


def test_floor_keeps_progress_from_stalling_at_the_start():
    assert float(fuse_consistent(0.0, 0.0, 0.0, 0.01)) > 1e-3
    assert float(fuse_consistent(0.0, 0.0, 0.0, 0.01, floor=1e-6)) < 1e-9


@pytest.mark.parametrize(("alpha", "floor"), [(-1.0, 0.05), (20.0, 0.0), (math.nan, 0.05)])
def test_fuse_consistent_refuses_bad_settings(alpha, floor):
    with pytest.raises(ValueError, match="expected"):
        fuse_consistent(0.4, 0.25, 0.5, 0.5, alpha, floor)


@given(UNIT, UNIT)
def test_advance_inverts_hop(before, after):
    step = hop(before, after)
    assert -1 <= float(step) <= 1
    assert float(advance(before, step)) == pytest.approx(after, abs=1e-12)


@given(UNIT, HOP)
def test_hop_inverts_advance(progress, step):
    following = advance(progress, step)
    # Next to an end the step is lost to rounding; elsewhere it comes back.
    if 1e-6 < progress < 1 - 1e-6:
        assert float(hop(progress, following)) == pytest.approx(step, abs=1e-9)


@given(ANY, ANY, ANY, ANY)
def test_everything_stays_in_the_unit_interval(first, second, third, fourth):
    for value in (
        advance(first, second),
        fuse(first, second, third),
        fuse_consistent(first, second, third, fourth),
    ):
        assert 0 <= float(value) <= 1


def test_subtask_progress_gives_every_subtask_the_same_share():
    labels = subtask_progress([0, 2, 10], 11)
    assert labels.dtype == torch.float64
    assert labels[[0, 2, 10]].tolist() == [0.0, 0.5, 1.0]
    assert labels[1].item() == 0.25
    assert labels[6].item() == 0.75


@pytest.mark.parametrize("boundaries", [[0], [0, 5], [1, 10], [0, 4, 4, 10], [0, 6, 4, 10]])
def test_subtask_progress_refuses_bad_boundaries(boundaries):
    with pytest.raises(ValueError, match="begin at 0"):
        subtask_progress(boundaries, 11)
