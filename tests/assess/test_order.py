"""Order metrics: ideals, traps, ties and degenerate episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from robo.assess.order import (
    difference_correlation,
    monotonicity,
    pooled_spearman,
    progress_error,
    reconstruct,
    reconstruct_swapped,
    spearman,
    value_order_correlation,
    voc_minus,
    voc_plus,
)
from robo.rewards.progress import hop


def test_value_order_correlation_of_simple_episodes():
    rising = torch.linspace(0, 1, 9) ** 3
    assert float(value_order_correlation(rising)) == pytest.approx(1)
    assert float(value_order_correlation(rising.flip(0))) == pytest.approx(-1)
    batch = value_order_correlation(torch.stack((rising, rising.flip(0), torch.ones(9))))
    assert batch.tolist() == pytest.approx([1, -1, 0])


@pytest.mark.parametrize(
    "progress", [[0.3] * 5, [0.5], [], [0.1, float("nan"), 0.9], [0.1 + 0.2] * 7]
)
def test_undefined_correlations_are_zero(progress):
    assert float(value_order_correlation(progress)) == 0


@given(st.lists(st.integers(0, 5), min_size=3, max_size=20))
def test_value_order_correlation_agrees_with_scipy(values):
    got = float(value_order_correlation(values))
    assert -1 <= got <= 1
    if len(set(values)) > 1:
        assert got == pytest.approx(spearmanr(values, range(len(values)))[0], abs=1e-12)


def test_true_hops_reconstruct_the_episode_both_ways():
    progress = torch.tensor([0, 0.3, 0.2, 0.6, 0.9, 1], dtype=torch.float64)
    forward = hop(progress[:-1], progress[1:])
    swapped = hop(progress[1:], progress[:-1])
    assert torch.allclose(reconstruct(forward), progress)
    assert torch.allclose(reconstruct_swapped(swapped), progress)
    assert float(voc_plus(forward)) == pytest.approx(float(voc_minus(swapped)))


def test_an_always_positive_model_is_exposed_by_voc_minus():
    always = torch.full((20,), 0.2)
    assert float(voc_plus(always)) == pytest.approx(1)
    assert float(voc_minus(always)) == 0
    assert float(voc_minus(-always)) == pytest.approx(1)


def test_error_and_monotonicity():
    assert float(progress_error([0.1, 0.5], [0.2, 0.2])) == pytest.approx(0.2)
    assert float(monotonicity([0, 0.2, 0.2, 0.1, 0.4])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two frames"):
        monotonicity([0.5])


def test_error_and_monotonicity_of_failed_predictions_and_other_lengths():
    nan = float("nan")
    errors = progress_error([[0.1, 0.5], [0.1, nan]], [[0.2, 0.2], [0.2, 0.2]])
    assert float(errors[0]) == pytest.approx(0.2) and errors[1].isnan()
    # Of four steps, the two beside NaN do not rise.
    assert float(monotonicity([0, 0.1, nan, 0.3, 0.4])) == pytest.approx(0.5)
    for true in ([0.2], [0.2] * 3):
        with pytest.raises(ValueError, match="same length"):
            progress_error([0.1, 0.5], true)


def test_spearman_refuses_different_lengths():
    with pytest.raises(ValueError, match="lengths differ"):
        spearman([1, 2], [1, 2, 3])


def test_pooled_correlations_over_episodes():
    rng = np.random.default_rng(0)
    true = [rng.random(length).cumsum() / length for length in (5, 9, 3)]
    offset = [values + 10 * index for index, values in enumerate(true)]
    assert pooled_spearman(true, true) == pytest.approx(1)
    # Differences are taken inside episodes: an offset per episode changes nothing.
    assert difference_correlation(offset, true, 2) == pytest.approx(1)
    assert difference_correlation([-part for part in true], true, 1) == pytest.approx(-1)
    assert difference_correlation([np.ones(4)], [np.arange(4)], 1) == 0
    assert difference_correlation([np.ones(2)], [np.ones(2)], 5) == 0
    with pytest.raises(ValueError, match="lengths"):
        pooled_spearman(true, true[:2])
    with pytest.raises(ValueError, match="k is 0"):
        difference_correlation(true, true, 0)
