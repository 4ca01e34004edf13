"""Verdicts never promise more than the trials do; judges' agreement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.assess.agreement import agreement
from robo.assess.verdict import PairedCounts, compare


@pytest.mark.parametrize(
    ("counts", "sequential", "word"),
    [
        ((5, 14, 1, 5), True, "better"),
        ((5, 1, 14, 5), True, "worse"),
        ((5, 9, 1, 5), True, "underpowered"),  # McNemar's test, valid once, would call it
        ((5, 9, 1, 5), False, "better"),
        ((1, 0, 0, 1), True, "underpowered"),
        ((90, 3, 3, 4), True, "not shown"),
        ((10, 0, 0, 0), False, "underpowered"),
    ],
)
def test_verdicts(counts: tuple[int, int, int, int], sequential: bool, word: str) -> None:
    found = compare(PairedCounts(*counts), sequential=sequential)
    assert found.verdict == word
    wanted = {"better": "better than", "worse": "worse than", "not shown": "No difference"}
    assert wanted.get(word, "Underpowered") in found.sentence
    assert (found.more_pairs is not None) == (word == "underpowered")


@given(*[st.integers(0, 40)] * 4)
def test_verdict_is_antisymmetric_and_bounded(both: int, a: int, b: int, neither: int) -> None:
    if both + a + b + neither == 0:
        return
    one = compare(PairedCounts(both, a, b, neither))
    other = compare(PairedCounts(both, b, a, neither))
    swap = {"better": "worse", "worse": "better"}
    assert other.verdict == swap.get(one.verdict, one.verdict)
    assert one.difference == pytest.approx(-other.difference)
    assert one.interval[0] <= one.difference <= one.interval[1]
    if one.verdict == "better":
        assert one.evidence >= 20 * (1 - 1e-9) and one.win_share[0] >= 0.5 - 1e-9 and a > b


def test_sentence_of_the_underpowered_says_how_many_more() -> None:
    found = compare(PairedCounts(3, 2, 1, 4), ("mild", "bold"))
    assert found.more_pairs is not None and found.more_pairs > 50
    assert f"about {found.more_pairs} more trials" in found.sentence and "mild" in found.sentence


@pytest.mark.parametrize(
    "call",
    [
        lambda: PairedCounts(0, 0, 0, 0),
        lambda: PairedCounts(1, -1, 0, 0),
        lambda: compare(PairedCounts(1, 0, 0, 0), smallest_difference=0.0),
        lambda: compare(PairedCounts(1, 0, 0, 0), confidence=1.0),
        lambda: agreement([], []),
        lambda: agreement([True], [True, False]),
    ],
)
def test_impossible_numbers_are_refused(call) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()


def test_agreement() -> None:
    # Cohen's own kind of table: 20 both, 5 and 10 alone, 15 neither gives kappa 0.4.
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = agreement(first, second)
    assert (found.both, found.first_only, found.second_only, found.neither) == (20, 5, 10, 15)
    assert found.agreed == pytest.approx(0.7) and found.kappa == pytest.approx(0.4)
    assert found.interval[0] < 0.7 < found.interval[1]
    assert agreement([True], [True]).kappa == 0
    assert agreement([True, False], [True, False]).kappa == 1
