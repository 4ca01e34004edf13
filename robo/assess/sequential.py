"""Compare two policies while trials come in: a test that stays valid at every look.

Trials are paired by initial state. Under the null hypothesis that both policies succeed equally
often, a pair that ended differently goes to either with probability 1/2. The test bets against
that: its evidence is the likelihood of the wins, mixed uniformly over all win shares, divided by
their likelihood at 1/2,

    E = 2^m / ((m + 1) * binomial(m, k))        k wins of A among m such pairs.

E is a martingale that starts at 1, so by Ville's inequality it ever reaches 1/level with
probability at most ``level``: looking after every trial, stopping at will and going on later are
all allowed. Sources: Ville 1939; Robbins 1970, Annals of Mathematical Statistics 41; Ramdas et
al. 2023, Statistical Science 38 (arXiv 2210.01948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln


def evidence(wins_a: int, wins_b: int) -> float:
    """Evidence E against "equally good", at any look.

    Args:
        wins_a: pairs in which only A succeeded.
        wins_b: pairs in which only B succeeded.

    Returns:
        E, above 0 and possibly infinite; 20 is enough at level 0.05. 1/E is a p-value that is
        valid at every look.

    Raises:
        ValueError: a number is negative.
    """
    exponent = log_evidence(wins_a, wins_b)
    return math.inf if exponent > 700 else math.exp(exponent)


def log_evidence(wins_a: int, wins_b: int, share: float = 0.5) -> float:
    """Logarithm of the evidence against a win share of A of ``share``, in (0, 1).

    Raises:
        ValueError: a number is out of range.
    """
    if min(wins_a, wins_b) < 0 or not 0 < share < 1:
        raise ValueError(
            f"wins are {wins_a} and {wins_b} and the share {share}, expected at least 0 each and "
            "a share in (0, 1)"
        )
    return float(
        betaln(wins_a + 1, wins_b + 1) - wins_a * math.log(share) - wins_b * math.log1p(-share)
    )


def win_share_interval(wins_a: int, wins_b: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of A's share of the pairs that ended differently, valid at every look at once.

    Holds the shares against which the evidence is below 1/(1 - confidence); 1/2 outside means
    that the policies differ.

    Returns:
        (low, high), in [0, 1]; (0, 1) before the first such pair.

    Raises:
        ValueError: a number is out of range.
    """
    _check_level(1 - confidence)
    pairs = wins_a + wins_b
    if pairs == 0:
        return 0.0, 1.0
    bound = -math.log(1 - confidence)

    def excess(share: float) -> float:
        return log_evidence(wins_a, wins_b, share) - bound

    best, tiny = wins_a / pairs, 1e-15
    low = 0.0 if wins_a == 0 else brentq(excess, tiny, max(best - tiny, 2 * tiny), xtol=1e-14)
    high = 1.0 if wins_b == 0 else brentq(excess, min(best + tiny, 1 - 2e-15), 1 - tiny, xtol=1e-14)
    return float(low), float(high)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SequentialDesign:
    """What a sequential comparison does on average, computed exactly."""

    power: float
    """Probability that it ends with a difference."""
    mean_pairs: float
    """Mean number of pairs (trials per policy) until it stops."""
    correct: float
    """Probability that it ends with a difference in favour of the better policy (B)."""


def operating_characteristics(
    rate_a: float, rate_b: float, max_pairs: int, level: float = 0.05
) -> SequentialDesign:
    """Exact behaviour of the test with a look after every pair, up to ``max_pairs``.

    Args:
        rate_a: success rate of A, in [0, 1].
        rate_b: success rate of B, in [0, 1]; the two trials of a pair are independent.
        max_pairs: pairs after which it gives up, at least 1.
        level: type-1 error of the test, in (0, 1).

    Returns:
        With ``rate_a == rate_b``, ``power`` is the exact type-1 error.

    Raises:
        ValueError: a number is out of range.
    """
    _check_level(level)
    if not (0 <= rate_a <= 1 and 0 <= rate_b <= 1) or max_pairs < 1:
        raise ValueError(
            f"rates are {rate_a} and {rate_b} and pairs {max_pairs}, expected rates in [0, 1] and "
            "at least 1 pair"
        )
    for_a, for_b = rate_a * (1 - rate_b), rate_b * (1 - rate_a)
    wins = np.arange(max_pairs + 1)
    a, b = np.meshgrid(wins, wins, indexing="ij")
    stops = betaln(a + 1, b + 1) + (a + b) * math.log(2) >= -math.log(level)
    open_pairs = np.zeros(a.shape)  # probability of each (wins of A, wins of B), not yet stopped
    open_pairs[0, 0] = 1.0
    power = correct = mean = 0.0
    for pair in range(1, max_pairs + 1):
        after = open_pairs * (1 - for_a - for_b)
        after[1:] += open_pairs[:-1] * for_a
        after[:, 1:] += open_pairs[:, :-1] * for_b
        now = float(after[stops].sum())
        power, mean = power + now, mean + pair * now
        correct += float(after[stops & (b > a)].sum())
        after[stops] = 0.0
        open_pairs = after
    return SequentialDesign(power, mean + max_pairs * float(open_pairs.sum()), correct)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}, expected a number in (0, 1) such as 0.05")
