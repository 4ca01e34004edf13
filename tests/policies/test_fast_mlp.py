"""The numpy update equals the eager torch update."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic, NetworkConfig
from robo.policies.adam import FlatAdam
from robo.policies.fast_mlp import NumpyLearner
from robo.policies.learners import EagerLearner, LossConfig
from robo.policies.packing import Columns
from robo.policies.ppo import PPO, PPOConfig

STATE, FEATURES = 4, 2


def make_policy(discrete: bool, features: int = FEATURES, hidden=(16, 8)) -> ActorCritic:
    action_space = Discrete(3) if discrete else Box(-1.0, 1.0, (2,), np.float32)
    space = Dict(state=Box(-np.inf, np.inf, (STATE,), np.float32))
    policy = ActorCritic(space, action_space, NetworkConfig(hidden), features, seed=3)
    policy.flat.mul_(1.5)
    return policy


def make_rows(
    count: int, discrete: bool, seed: int, features: int = FEATURES
) -> tuple[np.ndarray, Columns]:
    draw = np.random.default_rng(seed)
    columns = Columns(STATE, features, 1 if discrete else 2)
    rows = draw.standard_normal((count, columns.width)).astype(np.float32)
    if discrete:
        rows[:, columns.inputs] = draw.integers(0, 3, count)
    # Ratios on both sides of the clip range.
    rows[:, columns.log_prob] = -1.1 + 0.4 * rows[:, columns.log_prob]
    return rows, columns


LOSSES = {
    "plain": LossConfig(0.2, None, 0.5, 0.0, 0.5),
    "value clip and entropy": LossConfig(0.1, 0.3, 0.7, 0.05, 0.5),
    "no gradient clip": LossConfig(0.2, 0.2, 1.0, 0.01, 1e9),
}


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("count", [1, 64, 2500])
def test_numpy_equals_torch_over_several_steps(discrete, loss, count):
    policies = [make_policy(discrete) for _ in range(2)]
    adams = [FlatAdam(policy.flat, 1e-5) for policy in policies]
    columns = make_rows(1, discrete, 0)[1]
    learners = [
        kind(policy, adam, columns, loss)
        for kind, policy, adam in zip((EagerLearner, NumpyLearner), policies, adams, strict=True)
    ]
    for step in range(5):
        rows, _ = make_rows(count, discrete, step)
        eager, fast = (learner.gradient(rows) for learner in learners)
        np.testing.assert_allclose(fast, eager, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(adams[1].gradient, adams[0].gradient, rtol=1e-4, atol=1e-6)
        norms = [learner.step(1e-3) for learner in learners]
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)
        torch.testing.assert_close(policies[1].flat, policies[0].flat, rtol=0, atol=1e-6)
    states = [adam.state_dict()["state"][0] for adam in adams]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("features", [0, 2])
@pytest.mark.parametrize("hidden", [(8,), (16, 8, 8)])
def test_gradients_of_other_shapes_equal(features, hidden):
    """One input for both networks or one for each; minibatches of changing size, one empty."""
    policies = [make_policy(False, features, hidden) for _ in range(2)]
    adams = [FlatAdam(policy.flat, 1e-5) for policy in policies]
    learners = [
        kind(policy, adam, make_rows(1, False, 0, features)[1], LOSSES["plain"])
        for kind, policy, adam in zip((EagerLearner, NumpyLearner), policies, adams, strict=True)
    ]
    for count in (64, 63, 0, 1025):
        rows, _ = make_rows(count, False, count, features)
        eager, fast = (learner.gradient(rows) for learner in learners)
        np.testing.assert_allclose(fast, eager, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(adams[1].gradient, adams[0].gradient, rtol=1e-4, atol=1e-6)


def test_adam_equals_torch_s_own_across_a_reload():
    """Six steps, with the state moved to another optimiser in between, are torch's six."""
    own = torch.nn.Parameter(torch.linspace(-1, 1, 50))
    reference = torch.optim.Adam([own], lr=1e-2, eps=1e-5)
    flat = torch.linspace(-1, 1, 50)
    ours = FlatAdam(flat, 1e-5)
    draw = torch.Generator().manual_seed(0)
    for step in range(6):
        own.grad = torch.randn(50, generator=draw)
        reference.step()
        if step == 3:
            moved = FlatAdam(flat, 1e-5)
            moved.load_state_dict(ours.state_dict())
            ours = moved
        ours.gradient.copy_(own.grad)
        ours.step(1e-2)
    torch.testing.assert_close(flat, own.detach(), rtol=0, atol=1e-6)
    state, expected = ours.state_dict()["state"][0], reference.state_dict()["state"][0]
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-7)


def test_auto_takes_numpy_where_it_can():
    space = Dict(state=Box(-1.0, 1.0, (3,), np.float32))
    action_space = Box(-1.0, 1.0, (2,), np.float32)
    tanh = ActorCritic(space, action_space)
    relu = ActorCritic(space, action_space, NetworkConfig(activation="relu"))
    assert PPO(PPOConfig(), tanh).implementation == "numpy"
    assert PPO(PPOConfig(), relu).implementation == "torch"
    with pytest.raises(RoboError, match="tanh networks on a CPU"):
        PPO(PPOConfig(implementation="numpy"), relu)
