"""Anytime validity, exactly: type-1 error, power and sample number by dynamic programming."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.assess.sequential import (
    evidence,
    log_evidence,
    operating_characteristics,
    win_share_interval,
)
from robo.assess.trial_count import exact_power, required_trials

wins = st.integers(0, 200)


@given(wins, wins)
def test_evidence_is_its_closed_form_and_symmetric(a: int, b: int) -> None:
    pairs = a + b
    closed = pairs * math.log(2) - math.log(pairs + 1) - math.log(math.comb(pairs, a))
    assert log_evidence(a, b) == pytest.approx(closed, abs=1e-9)
    assert log_evidence(a, b) == pytest.approx(log_evidence(b, a), abs=1e-9)


@given(wins, wins)
def test_evidence_is_a_martingale_under_the_null(a: int, b: int) -> None:
    after = 0.5 * math.exp(log_evidence(a + 1, b) - log_evidence(a, b))
    after += 0.5 * math.exp(log_evidence(a, b + 1) - log_evidence(a, b))
    assert after == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.8, 0.95])
def test_type_1_error_with_a_look_after_every_pair(rate: float) -> None:
    assert operating_characteristics(rate, rate, max_pairs=300).power <= 0.05
    assert operating_characteristics(rate, rate, max_pairs=300, level=0.2).power <= 0.2


def test_type_1_error_where_every_pair_ends_differently() -> None:
    # The most looks that any paired experiment can take at the evidence.
    error = operating_characteristics(0.5, 0.5, 300).power
    assert 0.01 < error <= 0.05


def test_sample_number_at_a_half_against_four_fifths() -> None:
    design = operating_characteristics(0.5, 0.8, max_pairs=80)
    assert design.power >= 0.85 and design.mean_pairs <= 60
    assert design.correct == pytest.approx(design.power, abs=1e-3)
    # The fixed design of equal power, its number fixed beforehand, needs about as many.
    fixed = required_trials(0.5, 0.8, power=design.power)
    assert fixed is not None and 40 <= fixed <= 55
    assert exact_power(0.5, 0.8, fixed) >= design.power


def test_simulated_evaluations_agree_with_the_exact_figures() -> None:
    generator, pairs = np.random.default_rng(0), 80
    a, b = generator.random((2, 4000, pairs)) < np.array([0.5, 0.8])[:, None, None]
    only_a, only_b = np.cumsum(a & ~b, axis=1), np.cumsum(b & ~a, axis=1)
    table = [[log_evidence(i, j) for j in range(pairs + 1)] for i in range(pairs + 1)]
    stopped = np.array(table)[only_a, only_b] >= math.log(20)
    length = np.where(stopped.any(axis=1), stopped.argmax(axis=1) + 1, pairs)
    design = operating_characteristics(0.5, 0.8, pairs)
    assert stopped.any(axis=1).mean() == pytest.approx(design.power, abs=0.02)
    assert length.mean() == pytest.approx(design.mean_pairs, abs=1.2)


@given(wins, wins)
def test_interval_holds_the_share_and_decides_like_the_evidence(a: int, b: int) -> None:
    low, high = win_share_interval(a, b)
    assert 0 <= low <= high <= 1
    if a + b:
        assert low <= a / (a + b) <= high
    if not math.isclose(evidence(a, b), 20, rel_tol=1e-6):
        assert (evidence(a, b) > 20) == (not low < 0.5 < high)
    for bound in (low, high):
        if 1e-9 < bound < 1 - 1e-9:
            assert log_evidence(a, b, bound) == pytest.approx(math.log(20), abs=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: evidence(-1, 2),
        lambda: log_evidence(1, 2, 1.0),
        lambda: win_share_interval(1, 2, 1.0),
        lambda: operating_characteristics(0.5, 1.5, 10),
        lambda: operating_characteristics(0.5, 0.5, 0),
    ],
)
def test_impossible_numbers_are_refused(call) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()
