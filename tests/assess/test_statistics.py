"""Published values, coverage of edges, and symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from robo.assess.statistics import (
    barnard,
    bootstrap_interval,
    clopper_pearson,
    mcnemar,
    newcombe,
    wilson,
)


def test_wilson_and_clopper_pearson_of_nine_in_ten():
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert clopper_pearson(9, 10) == pytest.approx((0.5550, 0.9975), abs=1e-4)


def test_intervals_at_the_edges():
    for interval in (wilson, clopper_pearson):
        assert interval(0, 10)[0] == pytest.approx(0, abs=1e-12)
        assert interval(10, 10)[1] == pytest.approx(1)
    # The rule of three.
    assert clopper_pearson(100, 100)[0] == pytest.approx(0.9638, abs=1e-4)


@given(st.integers(1, 200), st.data())
def test_intervals_hold_the_rate_and_widen_with_confidence(trials, data):
    successes = data.draw(st.integers(0, trials))
    for interval in (wilson, clopper_pearson):
        low, high = interval(successes, trials)
        assert 0 <= low <= successes / trials + 1e-12
        assert successes / trials - 1e-12 <= high <= 1
        wide = interval(successes, trials, 0.99)
        assert wide[0] <= low
        assert high <= wide[1]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_intervals_are_their_closed_forms(confidence):
    z, tail = norm.ppf((1 + confidence) / 2), (1 - confidence) / 2
    for trials in (1, 7, 40, 500):
        for k in sorted({0, 1, trials // 3, trials - 1, trials}):
            centre = (k + z * z / 2) / (trials + z * z)
            half = np.sqrt(k * (trials - k) / trials + z * z / 4) * z / (trials + z * z)
            expected = (centre - half, centre + half)
            assert wilson(k, trials, confidence) == pytest.approx(expected, abs=1e-9)
            low = beta.ppf(tail, k, trials - k + 1) if k else 0.0
            high = beta.ppf(1 - tail, k + 1, trials - k) if k < trials else 1.0
            assert clopper_pearson(k, trials, confidence) == pytest.approx((low, high), abs=1e-9)


def coverage(interval, trials, rates):
    """Exact probability of an interval to hold the rate, per rate."""
    low, high = np.array([interval(k, trials) for k in range(trials + 1)]).T
    holds = (low <= rates[:, None]) & (rates[:, None] <= high)
    return (binom.pmf(np.arange(trials + 1), trials, rates[:, None]) * holds).sum(axis=1)


@pytest.mark.parametrize("trials", [10, 20, 40, 100])
def test_exact_coverage(trials):
    rates = np.linspace(0.0005, 0.9995, 999)
    assert coverage(clopper_pearson, trials, rates).min() >= 0.95
    found = coverage(wilson, trials, rates)
    print(f"Wilson, {trials} trials: mean {found.mean():.4f}, minimum {found.min():.4f}")
    assert abs(found.mean() - 0.95) < 0.01
    assert found.min() > 0.83  # near 0 and 1, as published (Agresti and Coull 1998)


def test_mcnemar():
    assert mcnemar(9, 1) == pytest.approx(22 / 1024, abs=1e-12)
    assert mcnemar(1, 9) == pytest.approx(22 / 1024, abs=1e-12)
    assert mcnemar(0, 0) == mcnemar(4, 4) == mcnemar(3, 4) == 1
    two_sided = 2 * binom.cdf(10, 40, 0.5)
    assert mcnemar(10, 30) == pytest.approx(two_sided, abs=1e-9)


def test_newcombe_matches_the_published_example():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10.
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert newcombe(10, 10, 0, 10) == pytest.approx((0.6075, 1.0), abs=1e-4)


def test_newcombe_is_antisymmetric():
    low, high = newcombe(7, 20, 12, 25)
    assert newcombe(12, 25, 7, 20) == pytest.approx((-high, -low))


def test_barnard():
    # scipy's own documented example: 7 of 15 against 12 of 15 infected.
    assert barnard(7, 15, 12, 15) == pytest.approx(0.0682, abs=2e-4)
    assert barnard(12, 15, 7, 15) == pytest.approx(0.0682, abs=2e-4)
    assert barnard(5, 10, 5, 10) == pytest.approx(1)
    assert barnard(10, 10, 10, 10) == 1
    assert barnard(0, 10, 0, 7) == 1
    assert barnard(20, 20, 2, 20) < 1e-6


def test_bootstrap_interval_repeats_and_holds_the_mean():
    samples = np.random.default_rng(1).normal(3, 1, 50)
    first = bootstrap_interval(samples)
    assert first == bootstrap_interval(samples)
    assert first[0] < samples.mean() < first[1]
    assert bootstrap_interval(samples, np.median) != first
    assert bootstrap_interval([0.5]) == (0.5, 0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: clopper_pearson(0, 0),
        lambda: wilson(1, 2, 1.0),
        lambda: newcombe(1, 2, 3, 2),
        lambda: barnard(1, 0, 1, 2),
        lambda: mcnemar(-1, 2),
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([1.0, float("inf")]),
        lambda: bootstrap_interval([1.0, 2.0], confidence=0.0),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(ValueError, match=r"expected|finite"):
        call()
