"""Distributions: numpy and torch agree, samples follow the density."""

from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal

from robo.policies.distributions import Categorical, DiagonalGaussian


def test_gaussian_equals_torch():
    draw = np.random.default_rng(0)
    mean = draw.standard_normal((50, 3)).astype(np.float32)
    log_std = np.array([-0.5, 0.0, 0.4], np.float32)
    gaussian = DiagonalGaussian(3)
    action, log_prob = gaussian.sample(mean, log_std, draw)
    reference = Normal(torch.from_numpy(mean), torch.from_numpy(log_std).exp())
    expected = reference.log_prob(torch.from_numpy(action)).sum(-1)
    torch.testing.assert_close(torch.from_numpy(log_prob), expected, atol=1e-5, rtol=1e-5)
    tensors = torch.from_numpy(mean), torch.from_numpy(log_std)
    torch.testing.assert_close(gaussian.log_prob(*tensors, torch.from_numpy(action)), expected)
    torch.testing.assert_close(gaussian.entropy(*tensors), reference.entropy().sum(-1))
    assert action.dtype == log_prob.dtype == np.float32
    mode, mode_log_prob = gaussian.mode(mean, log_std)
    np.testing.assert_array_equal(mode, mean)
    assert (mode_log_prob >= log_prob).all()


def test_gaussian_samples_have_the_stated_moments():
    mean = np.tile(np.array([[1.0, -2.0]], np.float32), (20_000, 1))
    log_std = np.log(np.array([0.5, 2.0], np.float32))
    action, _ = DiagonalGaussian(2).sample(mean, log_std, np.random.default_rng(1))
    np.testing.assert_allclose(action.mean(0), [1.0, -2.0], atol=0.06)
    np.testing.assert_allclose(action.std(0), [0.5, 2.0], rtol=0.03)


def test_categorical_equals_torch():
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((50, 4)).astype(np.float32)
    choice = Categorical(4)
    action, log_prob = choice.sample(logits, None, draw)
    reference = TorchCategorical(logits=torch.from_numpy(logits))
    expected = reference.log_prob(torch.from_numpy(action))
    torch.testing.assert_close(torch.from_numpy(log_prob), expected)
    tensor = torch.from_numpy(logits)
    torch.testing.assert_close(choice.log_prob(tensor, None, torch.from_numpy(action)), expected)
    torch.testing.assert_close(choice.entropy(tensor, None), reference.entropy())
    np.testing.assert_array_equal(choice.mode(logits, None)[0], logits.argmax(1))
    assert action.dtype == np.int64


def test_categorical_samples_follow_the_probabilities():
    probability = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.tile(np.log(probability).astype(np.float32), (40_000, 1))
    action, log_prob = Categorical(4).sample(logits, None, np.random.default_rng(2))
    shares = np.bincount(action, minlength=4) / len(action)
    np.testing.assert_allclose(shares, probability, atol=0.01)
    assert np.isfinite(log_prob).all()
