"""Rankings: ties count for what they are, and scipy agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from robo.assess.ranking import mean_maximum_rank_violation, ranking_accuracy

VALUES = st.lists(st.integers(0, 4), min_size=2, max_size=12)


def test_ties_of_the_learned_reward_count_half_whichever_way_round():
    assert ranking_accuracy([1, 2, 3], [1, 2, 3]) == 1
    assert ranking_accuracy([3, 2, 1], [1, 2, 3]) == 0
    assert ranking_accuracy([1, 1], [1, 2]) == ranking_accuracy([1, 1], [2, 1]) == 0.5
    # Pairs: (1,1) a tie, (1,2) right twice.
    assert ranking_accuracy([1, 1, 2], [1, 2, 3]) == pytest.approx(2.5 / 3)


def test_pairs_without_a_right_order_are_left_out():
    assert ranking_accuracy([5, 1, 9], [1, 1, 2]) == 1
    with pytest.raises(ValueError, match="orders no pair"):
        ranking_accuracy([1, 2], [3, 3])


@given(VALUES, st.randoms())
def test_accuracy_is_kendalls_count_where_gold_has_no_ties(values, random):
    gold = list(range(len(values)))
    random.shuffle(gold)
    # Without ties in gold, tau-a = 2 accuracy - 1; scipy's tau-b only divides by the tied pairs.
    pairs = len(values) * (len(values) - 1) / 2
    tied = sum(values.count(v) * (values.count(v) - 1) / 2 for v in set(values))
    if tied < pairs:
        tau_a = float(kendalltau(values, gold)[0]) * ((pairs - tied) * pairs) ** 0.5 / pairs
        assert ranking_accuracy(values, gold) == pytest.approx((tau_a + 1) / 2)


def test_rank_violation_by_hand():
    assert mean_maximum_rank_violation([1, 2, 3], [0.1, 0.5, 0.9]) == 0
    # The last two are exchanged: 0 for the first, 0.4 for each of them.
    assert mean_maximum_rank_violation([1, 3, 2], [0.1, 0.5, 0.9]) == pytest.approx(0.8 / 3)
    # A tie where gold has an order is a violation; a tie in both is none.
    assert mean_maximum_rank_violation([1, 1], [0.2, 0.8]) == pytest.approx(0.6)
    assert mean_maximum_rank_violation([1, 1], [0.5, 0.5]) == 0
    assert mean_maximum_rank_violation([3], [0.5]) == 0


@pytest.mark.parametrize("measure", [ranking_accuracy, mean_maximum_rank_violation])
def test_bad_input_is_named(measure):
    with pytest.raises(ValueError, match="lengths differ"):
        measure([1, 2], [1])
    with pytest.raises(ValueError, match="NaN"):
        measure([1, float("nan")], [1, 2])
    with pytest.raises(ValueError, match=r"no pair|at least one"):
        measure([], [])
