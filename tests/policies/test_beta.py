"""The Beta distribution against torch.distributions, and acting against learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.errors import RoboError
from robo.policies.beta import EDGE, Beta
from robo.policies.distributions import Categorical, DiagonalGaussian

ONES = np.ones(2, np.float32)


def reference(output: torch.Tensor) -> torch.distributions.Beta:
    alpha, beta = Beta.concentrations(output)
    return torch.distributions.Beta(alpha, beta)


@given(st.integers(0, 1000), st.floats(0.1, 8.0))
@settings(max_examples=30, deadline=None)
def test_log_prob_entropy_and_kl_are_those_of_torch(seed, scale):
    draw = torch.Generator().manual_seed(seed)
    ours = Beta(-ONES, ONES)
    output, other = scale * torch.randn(2, 7, 4, generator=draw, dtype=torch.float64)
    x = torch.rand(7, 2, generator=draw, dtype=torch.float64)
    theirs = reference(output)
    log_prob = ours.log_prob(output, None, 2.0 * x - 1.0)
    torch.testing.assert_close(log_prob, theirs.log_prob(x.clamp(EDGE, 1 - EDGE)).sum(-1))
    torch.testing.assert_close(ours.entropy(output, None), theirs.entropy().sum(-1))
    expected = torch.distributions.kl_divergence(theirs, reference(other)).sum(-1)
    torch.testing.assert_close(ours.kl(output, None, other, None), expected, atol=1e-9, rtol=1e-7)


def test_the_edges_have_finite_densities_on_both_sides():
    """CaRL's C++ clamps to 1 + 1e-7 at the upper edge, where the density is NaN."""
    ours = Beta(-ONES, ONES)
    output = torch.full((3, 4), 5.0)
    action = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0 + 1e-6, -1.0 - 1e-6]])
    log_prob = ours.log_prob(output.requires_grad_(), None, action)
    assert torch.isfinite(log_prob).all()
    torch.testing.assert_close(log_prob[0], log_prob[1], rtol=0.05, atol=0)
    log_prob.sum().backward()
    assert output.grad is not None and torch.isfinite(output.grad).all()


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_acting_agrees_with_learning(spread):
    low, high = np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32)
    ours, draw = Beta(low, high), np.random.default_rng(0)
    output = (spread * draw.standard_normal((200, 4))).astype(np.float32)
    for action, log_prob in (ours.sample(output, None, draw), ours.mode(output, None)):
        assert action.dtype == log_prob.dtype == np.float32
        assert (action >= low).all() and (action <= high).all()
        learned = ours.log_prob(torch.from_numpy(output), None, torch.from_numpy(action))
        torch.testing.assert_close(torch.from_numpy(log_prob), learned, rtol=2e-4, atol=2e-4)


def test_samples_have_the_right_moments_and_the_deterministic_action_is_the_mean():
    ours = Beta(-ONES, ONES)
    output = np.tile(np.array([[1.0, -1.0, 0.0, 3.0]], np.float32), (20_000, 1))
    action, _ = ours.sample(output, None, np.random.default_rng(0))
    mean, _ = ours.mode(output[:1], None)
    theirs = reference(torch.from_numpy(output[:1]))
    np.testing.assert_allclose(mean, 2.0 * theirs.mean.numpy() - 1.0, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(action.mean(0), mean[0], atol=0.02)
    np.testing.assert_allclose(action.std(0), 2.0 * theirs.stddev[0].numpy(), atol=0.02)


def test_diverged_parameters_give_nan_and_unbounded_actions_are_refused():
    ours = Beta(-ONES, ONES)
    output = np.array([[0, np.nan, 0, 0], [0, 0, 0, 0]], np.float32)
    action, _ = ours.sample(output, None, np.random.default_rng(0))
    assert np.isnan(action[0, 1]) and np.isfinite(action[1]).all()
    with pytest.raises(RoboError, match="finite action bounds"):
        Beta(-ONES, np.array([1.0, np.inf], np.float32))


def test_divergences_of_the_other_distributions_are_those_of_torch():
    draw = torch.Generator().manual_seed(0)
    old, new = torch.randn(2, 5, 3, generator=draw)
    old_std, new_std = torch.randn(2, 3, generator=draw)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(old, old_std.exp()), normal(new, new_std.exp())
    ).sum(-1)
    torch.testing.assert_close(DiagonalGaussian(3).kl(old, old_std, new, new_std), expected)
    choice = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(choice(logits=old), choice(logits=new))
    torch.testing.assert_close(Categorical(3).kl(old, None, new, None), expected)
