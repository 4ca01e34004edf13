"""Figures of a GRM's trustworthiness, on scores made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.assess.grm import (
    at_frames,
    auc_by_kind,
    difference_correlation_with_truth,
    episode_interval,
    final_excess,
    final_progress,
    k_step_pairs,
    outcomes,
    spearman_with_truth,
    voc,
)
from robo.rewards.grm.score import EpisodeScore, hold_to_states


def score_of(states: np.ndarray, stride: int = 5, success: bool = True) -> EpisodeScore:
    """A score that sees ``states [L+1]`` at every ``stride``-th state and at the last."""
    last = len(states) - 1
    step = np.unique(np.append(np.arange(0, last + 1, stride), last))
    progress = np.asarray(states, np.float32)[step]
    held = hold_to_states(progress, step, last + 1)
    return EpisodeScore("t", success, progress, step, held, {}, 0)


def walk(length: int, seed: int) -> np.ndarray:
    """Random progress of states s_0 ... s_length."""
    return np.random.default_rng(seed).random(length + 1)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(0, 99))
def test_a_perfect_model_agrees_perfectly_at_any_length_and_stride(length, stride, seed):
    """Catches truth that is off by a step: signals[t] is of s_(t+1)."""
    states = walk(length, seed)
    score, truth = score_of(states, stride), states[1:]
    step, predicted, true = at_frames(score, truth)
    assert step[-1] == length and predicted == pytest.approx(true, abs=1e-6)
    before, after = k_step_pairs(score, truth, stride)
    assert before == pytest.approx(after, abs=1e-6)
    assert final_excess([score], [truth])[0] == pytest.approx(0, abs=1e-6)
    if len(after) > 2:
        assert difference_correlation_with_truth([score], [truth], stride) > 0.999
        assert spearman_with_truth([score], [truth]) > 0.999


def test_differences_span_exactly_k_steps_between_frames():
    states = np.arange(14.0)
    # Frames at 0, 5, 10, 13; truth is known at 5, 10 and 13.
    before, after = k_step_pairs(score_of(states), states[1:], 5)
    assert before.tolist() == after.tolist() == [5.0]
    assert k_step_pairs(score_of(states), states[1:], 3)[0].tolist() == [3.0]
    assert k_step_pairs(score_of(states), states[1:], 4)[0].size == 0
    assert difference_correlation_with_truth([score_of(states)], [states[1:]], 4) == 0.0
    for k, scores in ((0, [score_of(states)]), (5, [])):
        with pytest.raises(ValueError, match="at least 1"):
            difference_correlation_with_truth(scores, [states[1:]] * len(scores), k)


def test_differences_do_not_cross_episodes():
    """Opposite offsets of two episodes leave the correlation of differences alone."""
    first, second = walk(20, 1), walk(20, 2)
    scores = [score_of(first + 5), score_of(second - 5)]
    assert difference_correlation_with_truth(scores, [first[1:], second[1:]], 5) > 0.999


def test_failures_are_cut_to_the_lengths_of_successes():
    rising = np.linspace(0, 1, 61)
    scores = [score_of(np.linspace(0, 1, 21)), score_of(rising, success=False)]
    assert outcomes(scores).tolist() == [True, False]
    assert final_progress(scores, match_lengths=False) == pytest.approx([1.0, 1.0])
    assert final_progress(scores) == pytest.approx([1.0, 1 / 3])
    short = [scores[0], score_of(np.linspace(0, 0.5, 11), success=False)]
    assert final_progress(short) == pytest.approx([1.0, 0.5])
    assert final_progress(scores[1:]) == pytest.approx([1.0])  # no success, no length to match


def test_auc_of_each_kind_and_order():
    final, success = np.array([0.9, 0.8, 0.1, 0.85]), np.array([True, True, False, False])
    kinds = ["expert", "expert", "low", "high"]
    assert auc_by_kind(final, success, kinds) == {"low": 1.0, "high": 0.5}
    assert voc([np.arange(5.0), np.zeros(4), -np.arange(3.0)]) == pytest.approx([1, 0, -1])


def test_intervals_resample_episodes():
    values = np.random.default_rng(0).normal(3, 1, 50)
    low, high = episode_interval(lambda i: float(values[i].mean()), 50, 200)
    assert low < values.mean() < high and high - low < 1
    assert (low, high) == episode_interval(lambda i: float(values[i].mean()), 50, 200)

    def needs_first(index: np.ndarray) -> float:
        if 0 not in index:
            raise ValueError("no first episode")
        return 0.7

    assert episode_interval(needs_first, 5, 100) == (0.7, 0.7)
