"""GAE against its definition, and the group-relative advantage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.policies.advantage import gae, group_advantage


def random_rollout(seed: int, steps: int, envs: int) -> tuple[Any, Any, Any, Any, Any]:
    draw = np.random.default_rng(seed)
    reward, value, next_value = draw.standard_normal((3, steps, envs))
    done = draw.random((steps, envs)) < 0.2
    terminated = done & (draw.random((steps, envs)) < 0.5)
    truncated = done & ~terminated
    # Inside an episode the next state's value is that of the next row.
    inside = ~done[:-1]
    next_value[:-1][inside] = value[1:][inside]
    return reward, value, next_value, terminated, truncated


def by_definition(reward, value, next_value, terminated, truncated, gamma, lam):
    """Equation 16, one step and one environment at a time."""
    steps, envs = reward.shape
    advantage = np.zeros((steps, envs))
    for n in range(envs):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                following = 0.0 if terminated[k, n] else next_value[k, n]
                advantage[t, n] += weight * (reward[k, n] + gamma * following - value[k, n])
                if terminated[k, n] or truncated[k, n]:
                    break
                weight *= gamma * lam
    return advantage


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 20),
    st.integers(1, 4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_gae_is_its_definition(seed, steps, envs, gamma, lam):
    rollout = random_rollout(seed, steps, envs)
    advantage, target = gae(*rollout, gamma, lam)
    expected = by_definition(*rollout, gamma, lam)
    np.testing.assert_allclose(advantage, expected, atol=1e-12)
    np.testing.assert_allclose(target, expected + rollout[1], atol=1e-12)


def test_a_termination_is_not_bootstrapped_and_a_time_out_is():
    one = np.ones((1, 1))
    no, yes = np.zeros((1, 1), bool), np.ones((1, 1), bool)
    assert gae(one, 0 * one, 5 * one, yes, no, 0.9, 0.95)[0][0, 0] == 1.0
    assert gae(one, 0 * one, 5 * one, no, yes, 0.9, 0.95)[0][0, 0] == pytest.approx(5.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gae_keeps_kind_and_dtype(dtype):
    arrays = random_rollout(0, 5, 3)
    reward, value, next_value = (torch.from_numpy(a).to(dtype) for a in arrays[:3])
    ends = [torch.from_numpy(a) for a in arrays[3:]]
    advantage, target = gae(reward, value, next_value, ends[0], ends[1], 0.99, 0.95)
    assert isinstance(advantage, torch.Tensor)
    assert advantage.dtype == target.dtype == dtype
    expected, _ = gae(*arrays, 0.99, 0.95)
    torch.testing.assert_close(advantage.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_gae_refuses_shapes_and_discounts_that_do_not_fit():
    arrays = random_rollout(0, 5, 3)
    with pytest.raises(ValueError, match=r"gamma 1\.5"):
        gae(*arrays, 1.5, 0.95)
    reward, value, next_value, terminated, truncated = arrays
    with pytest.raises(ValueError, match="one shape"):
        gae(reward, value, next_value[:4], terminated, truncated, 0.9, 0.95)


def test_group_advantage():
    reward = torch.tensor([1.0, 2.0, 3.0, 7.0, 5.0, 5.0])
    group = torch.tensor([4, 4, 4, 1, 2, 2])
    advantage = group_advantage(reward, group)
    expected = [-1 / (1 + 1e-6), 0, 1 / (1 + 1e-6), 0, 0, 0]
    torch.testing.assert_close(advantage, torch.tensor(expected))
    assert group_advantage(reward.double().numpy(), group.numpy()).dtype == np.float64
