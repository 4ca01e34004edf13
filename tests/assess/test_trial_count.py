"""The exact test behind the number of trials is scipy's, and its level holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import barnard_exact

from robo.assess.trial_count import GRID, exact_power, rejection_region, required_trials


@pytest.mark.parametrize("trials", [6, 11])
def test_region_is_that_of_scipy(trials: int) -> None:
    region = rejection_region(trials)
    for a in range(trials + 1):
        for b in range(a):
            table = [[a, b], [trials - a, trials - b]]
            p_value = barnard_exact(table, pooled=True).pvalue
            if abs(p_value - 0.05) > 2e-3:
                assert region[a, b] == (p_value <= 0.05), (a, b, p_value)
    assert (region == region.T).all() and not region.diagonal().any()


@pytest.mark.parametrize("trials", [5, 20, 41])
@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_type_1_error_holds_at_every_rate(trials: int, level: float) -> None:
    between = np.concatenate([GRID[:-1] + np.diff(GRID) / 2, [0.6, 0.99]])
    assert max(exact_power(rate, rate, trials, level) for rate in between) <= level * 1.001


def test_required_trials() -> None:
    found = required_trials(0.5, 0.8)
    assert found is not None and 36 <= found <= 42  # published tables: 36 to 39
    assert exact_power(0.5, 0.8, found) >= 0.8 > exact_power(0.5, 0.8, found - 1)
    assert required_trials(0.8, 0.5) == found
    assert required_trials(0.50, 0.52, most=60) is None
    more = required_trials(0.5, 0.8, power=0.9)
    assert more is not None and more > found


@pytest.mark.parametrize(
    "call",
    [
        lambda: rejection_region(0),
        lambda: exact_power(0.5, 1.2, 10),
        lambda: required_trials(0.5, 0.5),
        lambda: required_trials(0.5, 0.6, power=1.0),
    ],
)
def test_impossible_numbers_are_refused(call) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()
