from __future__ import annotations

import numpy as np
import pytest

from robo.errors import RoboError
from robo.rewards.grm.refresh_config import RefreshConfig
from robo.rewards.grm.refresh_verdict import Verdict, order_in_time

NOW, GIVEN, UNKNOWN = Verdict(0.10, 0.40, 0.90), Verdict(0.12, 0.70, 0.85), float("nan")


@pytest.mark.parametrize(
    ("candidate", "taken"),
    [
        (Verdict(0.10, 0.40, 0.90), True),
        (Verdict(0.10, 0.30, 0.90), True),
        (Verdict(0.13, 0.10, 0.90), True),  # gains more on failures than it loses
        (Verdict(0.13, 0.38, 0.90), False),  # loses more than it gains
        (Verdict(0.05, 0.45, 0.90), False),  # rates failures higher
        (Verdict(0.10, 0.30, 0.76), True),
        (Verdict(0.10, 0.30, 0.74), False),  # the order of the given model is lost
        (Verdict(0.21, 0.00, 0.90), True),
        (Verdict(0.23, 0.00, 0.90), False),  # and its progress
        (Verdict(0.05, 0.00, 0.00), False),  # the same progress everywhere
    ],
)
def test_the_verdict(candidate, taken):
    assert NOW.allows(candidate, GIVEN, 0.1) == taken


def test_a_verdict_without_failures_is_one_on_demonstrations():
    now = Verdict(0.10, UNKNOWN, 0.9)
    assert now.allows(now, now, 0.0)
    assert now.allows(Verdict(0.08, UNKNOWN, 0.9), now, 0.0)
    assert not now.allows(Verdict(0.12, UNKNOWN, 0.9), now, 0.1)
    assert not now.allows(Verdict(0.08, UNKNOWN, 0.7), now, 0.1)


def test_order_in_time():
    assert order_in_time(np.array([0.1, 0.2, 0.4])) == 1.0
    assert order_in_time(np.array([0.4, 0.2, 0.1])) == -1.0
    assert order_in_time(np.array([0.1, 0.4, 0.2])) == pytest.approx(1 / 3)
    assert order_in_time(np.full(5, 0.3)) == order_in_time(np.array([0.3])) == 0.0


def test_a_tolerance_below_zero_is_refused():
    with pytest.raises(RoboError, match=r"tolerance is -0.1, expected at least 0"):
        RefreshConfig(tolerance=-0.1)
