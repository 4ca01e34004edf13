"""The actor-critic: acting equals learning, normalisation, files, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from robo.errors import CheckpointError, RoboError
from robo.policies.actor_critic import ActorCritic, NetworkConfig
from robo.policies.normalise import RunningNormaliser

CONTINUOUS = Box(-1.0, 1.0, (2,), np.float32)


def space(size: int = 5) -> Dict:
    return Dict(state=Box(-np.inf, np.inf, (size,), np.float32))


def states(count: int, size: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


@pytest.mark.parametrize("action_space", [CONTINUOUS, Discrete(3)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "elu"])
@pytest.mark.parametrize("normalised", [False, True])
def test_acting_agrees_with_learning(action_space, activation, normalised):
    policy = ActorCritic(space(), action_space, NetworkConfig((8, 9), activation), 1, seed=1)
    policy.flat.mul_(3.0)
    if normalised:
        policy.normaliser.update(3.0 + 2.0 * states(100, seed=1))
    state = states(20)
    action, log_prob = policy.act({"state": state}, np.random.default_rng(0))
    expected, entropy, value = policy.evaluate(
        {"state": torch.from_numpy(state)}, torch.from_numpy(action), torch.zeros(20, 1)
    )
    torch.testing.assert_close(torch.from_numpy(log_prob), expected, atol=1e-5, rtol=1e-5)
    assert entropy.shape == value.shape == (20,)
    again, _ = policy.act({"state": state}, np.random.default_rng(0))
    np.testing.assert_array_equal(action, again)


def test_acting_follows_every_change_of_the_parameters():
    policy = ActorCritic(space(), CONTINUOUS)
    state, draw = {"state": states(4)}, np.random.default_rng(0)
    before, _ = policy.act(state, draw, deterministic=True)
    policy.flat.mul_(2.0)
    after, _ = policy.act(state, draw, deterministic=True)
    assert not np.allclose(before, after)
    other = ActorCritic(space(), CONTINUOUS, seed=5)
    policy.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(policy.act(state, draw, True)[0], other.act(state, draw, True)[0])
    policy.double().float()  # replaces the storage
    policy.flat.zero_()
    assert (policy.act(state, draw, deterministic=True)[0] == 0).all()


def test_environment_actions_are_clipped_and_shifted():
    policy = ActorCritic(space(), CONTINUOUS)
    action = np.array([[3.0, -0.5]], np.float32)
    np.testing.assert_array_equal(policy.environment_action(action), [[1.0, -0.5]])
    discrete = ActorCritic(space(), Discrete(3, start=2))
    np.testing.assert_array_equal(discrete.environment_action(np.array([0, 2])), [2, 4])


def test_critic_features_reach_the_critic_only():
    policy = ActorCritic(space(), CONTINUOUS, critic_feature_dim=2)
    state = {"state": torch.from_numpy(states(3))}
    low, high = (policy.value(state, torch.full((3, 2), x)) for x in (0.0, 1.0))
    assert not torch.allclose(low, high)
    with pytest.raises(RoboError, match="reads 2 features"):
        policy.value(state)


@pytest.mark.parametrize("parts", [(100,), (1, 99), (30, 0, 50, 20)])
def test_normaliser_in_parts_is_the_whole(parts):
    rows = np.random.default_rng(0).normal(1e4, 0.1, (100, 3))
    normaliser = RunningNormaliser(3)
    assert not normaliser.active
    same = np.full((2, 3), 50.0, np.float32)
    np.testing.assert_array_equal(normaliser.numpy(same), same)
    start = 0
    for part in parts:
        normaliser.update(rows[start : start + part])
        start += part
    np.testing.assert_allclose(normaliser.mean, rows.mean(0))
    np.testing.assert_allclose(normaliser.variance, rows.var(0), rtol=1e-9)
    assert float(normaliser.count) == 100


def test_normaliser_clips_and_travels_with_the_policy():
    policy = ActorCritic(space(), CONTINUOUS)
    policy.normaliser.update(states(50))
    far = np.full((1, 5), 1e6, np.float32)
    np.testing.assert_array_equal(policy.normaliser.numpy(far), np.full((1, 5), 10.0))
    torch.testing.assert_close(policy.normaliser(torch.from_numpy(far)), torch.full((1, 5), 10.0))
    other = ActorCritic(space(), CONTINUOUS)
    other.normaliser.numpy(far)
    other.load_state_dict(policy.state_dict())
    state = states(3)
    np.testing.assert_array_equal(policy.normaliser.numpy(state), other.normaliser.numpy(state))


def test_files_bring_back_the_same_policy(tmp_path):
    action_space = Box(np.array([-1, -np.inf], np.float32), np.array([1, 2], np.float32))
    policy = ActorCritic(space(), action_space, NetworkConfig((7,), "relu", 0.3), 4)
    policy.normaliser.update(states(50))
    policy.save(tmp_path / "policy")
    policy.save(tmp_path / "policy")
    loaded = ActorCritic.load(tmp_path / "policy")
    assert loaded.config == policy.config
    assert loaded.action_space == policy.action_space
    assert loaded.observation_space == policy.observation_space
    assert loaded.critic_feature_dim == 4
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    names = sorted(path.name for path in (tmp_path / "policy").iterdir())
    assert names == ["policy.json", "policy.safetensors"]


def damage(data: bytes, how: str) -> bytes:
    if how == "empty":
        return b""
    if how == "cut":
        return data[: len(data) // 2]
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "bit"])
def test_damaged_files_are_one_clear_error(tmp_path, name, how):
    ActorCritic(space(), CONTINUOUS).save(tmp_path)
    path = tmp_path / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        ActorCritic.load(tmp_path)


def test_a_policy_refuses_another_observation():
    policy = ActorCritic(space(5), CONTINUOUS)
    with pytest.raises(RoboError, match=r"\[N, 5\].*\[2, 6\]"):
        policy.act({"state": states(2, 6)}, np.random.default_rng(0))


@pytest.mark.parametrize("action_space", [CONTINUOUS, Discrete(3)])
@pytest.mark.parametrize("deterministic", [False, True])
def test_nan_actions_are_refused(action_space, deterministic):
    policy = ActorCritic(space(), action_space)
    state = states(3)
    state[1, 2] = np.nan
    with pytest.raises(RoboError, match=r"observation\['state'\] of environment 1 holds NaN"):
        policy.act({"state": state}, np.random.default_rng(0), deterministic)
    policy.flat.fill_(float("nan"))
    with pytest.raises(RoboError, match="environment 0 is NaN or infinite"):
        policy.act({"state": states(3)}, np.random.default_rng(0), deterministic)


def test_unfit_spaces_are_refused():
    with pytest.raises(RoboError, match="1-D Box or a Discrete"):
        ActorCritic(space(), MultiBinary(3))
    with pytest.raises(RoboError, match="'state' is a vector"):
        ActorCritic(Dict(state=Box(0, 1, (2, 2))), CONTINUOUS)
