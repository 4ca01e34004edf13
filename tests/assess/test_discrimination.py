"""Scores against outcomes, with ties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from robo.assess.discrimination import (
    false_positive_rate,
    kendall_tau_b,
    operating_threshold,
    success_auc,
)


def test_auc_counts_ties_half():
    assert success_auc([0.9, 0.8, 0.1], [True, True, False]) == 1
    assert success_auc([0.1, 0.9], [True, False]) == 0
    assert success_auc([0.5, 0.5], [True, False]) == 0.5
    assert success_auc(torch.tensor([0.5, 0.5, 0.1]), torch.tensor([True, False, False])) == 0.75


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auc_agrees_with_sklearn(rows):
    scores, outcomes = zip(*rows, strict=True)
    if len(set(outcomes)) == 2:
        assert success_auc(scores, outcomes) == pytest.approx(roc_auc_score(outcomes, scores))


def test_false_positive_rate_counts_failures_at_the_threshold():
    score, success = [0.95, 0.96, 0.2, 0.99], [False, False, False, True]
    assert false_positive_rate(score, success, 0.95) == pytest.approx(2 / 3)
    assert false_positive_rate(score, success, 1.0) == 0


def test_the_operating_threshold_lets_the_wanted_share_of_successes_pass():
    score = [0.1 * i for i in range(20)] + [99.0]  # the last one is a failure and does not count
    success = [True] * 20 + [False]
    assert operating_threshold(score, success) == pytest.approx(0.1)  # 19 of 20
    assert operating_threshold(score, success, 1.0) == 0
    assert operating_threshold(score, success, 0.05) == pytest.approx(1.9)
    assert operating_threshold(score, success, 0.051) == pytest.approx(1.8)  # at least the share
    assert operating_threshold([0.7, 0.2], [True, False]) == pytest.approx(0.7)
    assert operating_threshold([0.5, 0.5, 0.5], [True] * 3, 0.3) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least one success"):
        operating_threshold([0.5], [False])
    with pytest.raises(ValueError, match="recall is 0"):
        operating_threshold([0.5], [True], 0)
    with pytest.raises(ValueError, match="NaN"):
        operating_threshold([math.nan], [True])


def test_kendall_tau_b_with_ties():
    assert kendall_tau_b([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    # C = 2, D = 0, one tie in the first of three pairs: 2 / sqrt(2 * 3).
    assert kendall_tau_b([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))
    assert kendall_tau_b([1, 1, 1], [1, 2, 3]) == 0
    assert kendall_tau_b([1], [1]) == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one of each"):
        success_auc([0.1, 0.2], [True, True])
    with pytest.raises(ValueError, match="NaN"):
        success_auc([0.1, float("nan")], [True, False])
    with pytest.raises(ValueError, match="2 scores but 1"):
        false_positive_rate([0.1, 0.2], [True], 0.5)
    with pytest.raises(ValueError, match="at least one failure"):
        false_positive_rate([0.1], [True], 0.5)
    with pytest.raises(ValueError, match="lengths differ"):
        kendall_tau_b([1, 2], [1])
    for pair in (([1, math.nan, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, math.nan])):
        with pytest.raises(ValueError, match="NaN"):
            kendall_tau_b(*pair)
