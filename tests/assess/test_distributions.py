"""Distances of two samples of scores: known values, bounds, degenerate samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robo.assess.distributions import (
    jensen_shannon,
    maximum_mean_discrepancy,
    standardised_difference,
)
from robo.errors import RoboError


def test_equal_samples_are_at_no_distance():
    scores = np.random.default_rng(0).normal(size=50)
    for measure in (maximum_mean_discrepancy, jensen_shannon, standardised_difference):
        assert measure(scores, scores[::-1]) == pytest.approx(0, abs=1e-12)
        assert measure([0.3, 0.3], [0.3]) == 0


def test_samples_apart_reach_the_bounds():
    low, high = np.linspace(0, 0.1, 30), np.linspace(0.9, 1.0, 30)
    assert jensen_shannon(high, low) == pytest.approx(math.log(2))
    assert 0.5 < maximum_mean_discrepancy(high, low) <= 2
    assert standardised_difference(high, low) > 20
    assert standardised_difference([1.0, 1.0], [0.0]) == math.inf
    assert standardised_difference([0.0], [1.0, 1.0]) == -math.inf


def test_by_hand():
    # Two points each, kernel width the median of the distances 1, 1, 2, 2, 2, 2, 3 ... : 1.
    assert standardised_difference([2.0, 4.0], [0.0, 2.0]) == pytest.approx(2 / math.sqrt(2))
    kernel = {d: math.exp(-0.5 * d * d) for d in (0, 1)}
    assert maximum_mean_discrepancy([0.0], [1.0]) == pytest.approx(2 * kernel[0] - 2 * kernel[1])


def test_empty_and_nan_are_refused():
    for bad in ([], [float("nan")]):
        with pytest.raises(RoboError, match="empty or not finite"):
            jensen_shannon([1.0], bad)
