"""Policies that read images: CaRL's parameter count, what actor and critic see, and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from robo import precision
from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.image_actor_critic import ImageActorCritic
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import load_policy, make_policy

STEERING = Box(-1.0, 1.0, (2,), np.float32)
SMALL = NetworkConfig(kind="carl_small")


def vector(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float32)


def space(pixels: int = 64, channels: int = 10, **more: Box) -> Dict:
    image = Box(0, 255, (channels, pixels, pixels), np.uint8)
    return Dict({"birdseye": image, "state": vector(8), "critic_state": vector(10), **more})


def observations(of: Dict, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    found = {}
    for name, entry in of.spaces.items():
        assert entry.shape is not None
        shape = (count, *entry.shape)
        image = entry.dtype == np.uint8
        found[name] = (
            draw.integers(0, 256, shape, dtype=np.uint8)
            if image
            else draw.standard_normal(shape).astype(np.float32)
        )
    return found


def tensors(of: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in of.items()}


def test_carls_network_has_its_published_number_of_parameters():
    policy = make_policy(space(256), STEERING, NetworkConfig(kind="carl"))
    assert sum(parameter.numel() for parameter in policy.parameters()) == 1_983_541
    for kind in ("carl_small", "carl_grid"):
        small = make_policy(space(64), STEERING, NetworkConfig(kind=kind))
        assert 550_000 < sum(parameter.numel() for parameter in small.parameters()) < 650_000


def test_the_norm_equals_torchs_over_channels_height_and_width():
    from robo.policies.carl_network import ImageLayerNorm

    ours, theirs = ImageLayerNorm(3, 5, 4), torch.nn.LayerNorm((3, 5, 4))
    with torch.no_grad():
        theirs.weight.normal_()
        theirs.bias.normal_()
        ours.weight.copy_(theirs.weight.permute(1, 2, 0))
        ours.bias.copy_(theirs.bias.permute(1, 2, 0))
    maps = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(ours(maps), theirs(maps))


@pytest.mark.parametrize("action_space", [STEERING, Discrete(3), vector(2)])
def test_acting_agrees_with_learning(action_space):
    policy = make_policy(space(), action_space, SMALL, seed=1)
    policy.observe(tensors(observations(space(), 50)), None)
    observation = observations(space(), 6)
    action, log_prob = policy.act(observation, np.random.default_rng(0))
    expected, entropy, value = policy.evaluate(tensors(observation), torch.from_numpy(action))
    torch.testing.assert_close(torch.from_numpy(log_prob), expected, atol=1e-4, rtol=1e-4)
    assert entropy.shape == value.shape == (6,)
    torch.testing.assert_close(policy.value(tensors(observation)), value)
    grid = {name: entry.unflatten(0, (2, 3)) for name, entry in tensors(observation).items()}
    torch.testing.assert_close(policy.value(grid).flatten(), value, atol=1e-5, rtol=1e-5)


def test_the_critic_knows_more_than_the_actor():
    policy = make_policy(space(), STEERING, SMALL, critic_feature_dim=2)
    observation, features = observations(space(), 3), torch.rand(3, 2)
    other = {**observation, "critic_state": observation["critic_state"] + 1.0}
    actions = [policy.act(o, np.random.default_rng(0), True)[0] for o in (observation, other)]
    np.testing.assert_array_equal(*actions)
    blind = {name: entry for name, entry in observation.items() if name != "critic_state"}
    np.testing.assert_array_equal(policy.act(blind, np.random.default_rng(0), True)[0], actions[0])
    log_prob, _, value = policy.evaluate(tensors(observation), torch.zeros(3, 2), features)
    changed, _, moved = policy.evaluate(tensors(other), torch.zeros(3, 2), features)
    assert torch.equal(log_prob, changed)
    assert not torch.allclose(value, moved)
    assert not torch.allclose(policy.value(tensors(observation), features + 1.0), value)
    with pytest.raises(RoboError, match="reads 2 features"):
        policy.value(tensors(observation))


def test_camera_views_and_several_images_are_read():
    views = space(32, 3, **{"views/front": Box(0, 255, (24, 40, 3), np.uint8)})
    policy = make_policy(views, STEERING, SMALL)
    assert policy.keys == ("birdseye", "views/front", "state", "critic_state")
    observation = observations(views, 2)
    before, _ = policy.act(observation, np.random.default_rng(0), True)
    observation["views/front"] = 255 - observation["views/front"]
    after, _ = policy.act(observation, np.random.default_rng(0), True)
    assert not np.allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_files_bring_back_the_same_policy(tmp_path, name):
    config = NetworkConfig(kind="carl_small", precision=name)
    policy = make_policy(space(32, 3), STEERING, config, 1, seed=3)
    policy.flat.mul_(1.1)
    policy.observe(tensors(observations(space(32, 3), 9)), None)
    policy.save(tmp_path)
    loaded = ActorCritic.load(tmp_path)
    assert isinstance(loaded, ImageActorCritic)
    assert loaded.config == config
    observation = observations(space(32, 3), 4)
    for each in (policy, loaded):
        each.flat  # noqa: B018
    actions = [p.act(observation, np.random.default_rng(0)) for p in (policy, loaded)]
    np.testing.assert_array_equal(actions[0][0], actions[1][0])
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, load_policy(tmp_path).state_dict()[name]), name


@pytest.mark.parametrize("multiplies", [True, False])
def test_bfloat16_stays_near_float32_and_is_float32_where_it_would_be_slow(monkeypatch, multiplies):
    monkeypatch.setattr(precision, "CPU_BFLOAT16", multiplies)
    full, half = (
        make_policy(space(), STEERING, NetworkConfig(kind="carl_small", precision=name))
        for name in ("float32", "bfloat16")
    )
    observation = observations(space(), 4)
    exact, near = (p.act(observation, np.random.default_rng(0), True)[0] for p in (full, half))
    np.testing.assert_allclose(near, exact, atol=0.03)
    assert np.array_equal(near, exact) is not multiplies


def test_what_does_not_fit_is_refused():
    states = Dict(state=vector(8))
    with pytest.raises(RoboError, match="reads images, but the observation has only"):
        make_policy(states, STEERING, SMALL)
    with pytest.raises(RoboError, match="make_policy"):
        ActorCritic(space(), STEERING, SMALL)
    policy = make_policy(space(), STEERING, SMALL)
    with pytest.raises(RoboError, match="birdseye"):
        policy.act(observations(space(32), 2), np.random.default_rng(0))
    broken = observations(space(), 2)
    broken["state"][1, 0] = np.nan
    with pytest.raises(RoboError, match="environment 1 holds NaN"):
        policy.act(broken, np.random.default_rng(0))
