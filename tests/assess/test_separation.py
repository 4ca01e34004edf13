"""Distributions of scores: hand-worked, against scipy, and where there is no spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy, ttest_ind
from sklearn.metrics.pairwise import rbf_kernel

from robo.assess.separation import (
    jensen_shannon,
    maximum_mean_discrepancy,
    standardised_mean_difference,
)

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(1, 0.3, 40), RNG.normal(0, 0.5, 25)


def test_smd_agrees_with_the_t_statistic():
    t = float(ttest_ind(FIRST, SECOND)[0])
    expected = t * math.sqrt(1 / len(FIRST) + 1 / len(SECOND))
    assert standardised_mean_difference(FIRST, SECOND) == pytest.approx(expected)
    assert standardised_mean_difference([1, 3], [0, 2]) == pytest.approx(1 / math.sqrt(2))


def test_smd_of_constants():
    assert standardised_mean_difference([1, 1], [1, 1, 1]) == 0
    assert standardised_mean_difference([1, 1], [0]) == math.inf
    assert standardised_mean_difference([0], [1]) == -math.inf
    rounded = 1 + 1e-8 * RNG.normal(size=5)  # sums of float32 rewards
    assert standardised_mean_difference(rounded, rounded - 1) == math.inf


def test_mmd_agrees_with_sklearns_kernel():
    b = 0.7

    def kernel(x, y):
        return rbf_kernel(x[:, None], y[:, None], gamma=1 / (2 * b * b)).mean()

    expected = kernel(FIRST, FIRST) + kernel(SECOND, SECOND) - 2 * kernel(FIRST, SECOND)
    assert maximum_mean_discrepancy(FIRST, SECOND, b) == pytest.approx(expected)


def test_mmd_edges():
    assert maximum_mean_discrepancy(FIRST, FIRST) == pytest.approx(0, abs=1e-12)
    assert maximum_mean_discrepancy([2, 2], [2]) == 0
    assert 0 < maximum_mean_discrepancy(FIRST, SECOND) < 2
    assert maximum_mean_discrepancy([0], [1]) == maximum_mean_discrepancy([0], [10])


def test_js_agrees_with_scipys_entropy():
    edges = np.linspace(-1, 2, 16)
    p, q = (np.histogram(x.clip(-1, 2), edges)[0] / len(x) for x in (FIRST, SECOND))
    expected = (entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2
    assert jensen_shannon(FIRST, SECOND, 15, (-1, 2)) == pytest.approx(expected)


def test_js_edges():
    assert jensen_shannon(FIRST, FIRST) == 0
    assert jensen_shannon([0, 0], [1]) == pytest.approx(math.log(2))
    assert jensen_shannon([1], [1, 1]) == 0


@pytest.mark.parametrize(
    "measure", [standardised_mean_difference, maximum_mean_discrepancy, jensen_shannon]
)
def test_empty_and_not_finite_samples_are_refused(measure):
    with pytest.raises(ValueError, match="at least one"):
        measure([], [1])
    with pytest.raises(ValueError, match="not finite"):
        measure([1, float("nan")], [1])
