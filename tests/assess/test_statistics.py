"""Published values, coverage of edges, and symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.assess.statistics import barnard, bootstrap_interval, clopper_pearson, newcombe, wilson


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
        lambda: bootstrap_interval([]),
        lambda: bootstrap_interval([1.0, float("inf")]),
        lambda: bootstrap_interval([1.0, 2.0], confidence=0.0),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(ValueError, match=r"expected|finite"):
        call()
