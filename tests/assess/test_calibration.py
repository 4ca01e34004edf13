"""Calibration agrees with scikit-learn, and its edges are defined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from robo.assess.calibration import brier_score, expected_calibration_error, reliability

ROWS = st.lists(
    st.tuples(st.floats(0, 1, allow_subnormal=False), st.booleans()), min_size=1, max_size=40
)


@given(ROWS)
def test_brier_agrees_with_sklearn(rows):
    predicted, outcome = zip(*rows, strict=True)
    expected = brier_score_loss(outcome, predicted, pos_label=True)
    assert brier_score(predicted, outcome) == pytest.approx(expected)


def test_bins_agree_with_sklearn():
    predicted = [0.03, 0.08, 0.31, 0.38, 0.39, 0.72, 0.97, 0.99]
    outcome = [False, True, False, False, True, True, True, True]
    observed, mean = calibration_curve(outcome, predicted, n_bins=10)
    found = reliability(predicted, outcome)
    assert [part.observed for part in found] == pytest.approx(list(observed))
    assert [part.predicted for part in found] == pytest.approx(list(mean))
    assert [part.count for part in found] == [2, 3, 1, 2]
    error = sum(p.count * abs(p.predicted - p.observed) for p in found) / 8
    assert expected_calibration_error(predicted, outcome) == pytest.approx(error)


def test_ideals_and_edges():
    assert brier_score([1, 0], [True, False]) == expected_calibration_error([1, 0], [1, 0]) == 0
    assert expected_calibration_error([1, 1], [False, False]) == 1
    assert brier_score([0.5], [True]) == 0.25
    assert reliability([1.0], [True])[0].high == 1
    assert len(reliability([0.5, 0.55], [True, True], bins=1)) == 1


def test_bad_input_is_named():
    for predicted in ([1.2], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match="outside"):
            brier_score(predicted, [True])
    with pytest.raises(ValueError, match="at least one"):
        expected_calibration_error([], [])
    with pytest.raises(ValueError, match="as many"):
        brier_score([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="bins is 0"):
        reliability([0.1], [True], bins=0)
