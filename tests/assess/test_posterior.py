"""Probability of the best policy against its closed form for two."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import beta

from robo.assess.posterior import posterior_interval, probability_of_best


def closed_form(successes: tuple[int, int], trials: tuple[int, int]) -> float:
    """P(rate 1 > rate 0), uniform priors: a finite sum (Miller 2015)."""
    a0, b0 = successes[0] + 1, trials[0] - successes[0] + 1
    a1, b1 = successes[1] + 1, trials[1] - successes[1] + 1
    i = np.arange(a1)
    return float(
        np.exp(betaln(a0 + i, b1 + b0) - np.log(b1 + i) - betaln(1 + i, b1) - betaln(a0, b0)).sum()
    )


@pytest.mark.parametrize(
    ("successes", "trials"),
    [((5, 8), (10, 10)), ((0, 0), (1, 1)), ((20, 32), (40, 40)), ((3, 190), (7, 200))],
)
def test_two_policies(successes: tuple[int, int], trials: tuple[int, int]) -> None:
    share = probability_of_best(successes, trials)
    assert share[1] == pytest.approx(closed_form(successes, trials), abs=1e-9)
    assert share.sum() == pytest.approx(1, abs=1e-12)


def test_several_policies() -> None:
    share = probability_of_best([9, 9, 2, 0], [10, 10, 10, 0])
    assert share[0] == pytest.approx(share[1]) and share[2] < 1e-3 < share[3]
    draws = np.random.default_rng(0).beta([10, 10, 3, 1], [2, 2, 9, 1], size=(200_000, 4))
    sampled = np.bincount(draws.argmax(axis=1), minlength=4) / len(draws)
    assert share == pytest.approx(sampled, abs=5e-3)
    assert probability_of_best([3], [4]) == pytest.approx([1])


def test_interval() -> None:
    low, high = posterior_interval(9, 10)
    assert beta(10, 2).cdf([low, high]) == pytest.approx([0.025, 0.975], abs=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: probability_of_best([3], [2]),
        lambda: probability_of_best([], []),
        lambda: probability_of_best([1, 2], [3]),
        lambda: probability_of_best([1], [3], prior=0),
        lambda: posterior_interval(4, 3),
    ],
)
def test_impossible_numbers_are_refused(call) -> None:
    with pytest.raises(ValueError, match=r"expected|one length"):
        call()
