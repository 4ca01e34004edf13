"""Behaviour cloning recovers the actor that made the data, and refuses what it cannot learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from robo.data import EpisodeStore
from robo.errors import RoboError, StoreError
from robo.policies.actor_critic import ActorCritic, NetworkConfig
from robo.policies.behaviour_cloning import BehaviourCloningConfig, clone
from robo.rollout import Episode, EpisodeInfo

OBSERVATION = gymnasium.spaces.Dict(
    {"state": gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)}
)
BOX = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
CHOICE = gymnasium.spaces.Discrete(3, start=4)


def continuous(state: np.ndarray) -> np.ndarray:
    return np.clip(state[:, :2] / 50 - 0.4 * np.sign(state[:, 2:]), -1, 1).astype(np.float32)


def discrete(state: np.ndarray) -> np.ndarray:
    return 4 + (state[:, 0] > 90).astype(np.int64) + (state[:, 0] > 110)


def demonstrations(actor: Any, count: int = 12, success: bool = True) -> list[Episode]:
    generator = np.random.default_rng(0)
    episodes = []
    for seed in range(count):
        # Far from zero mean and unit scale, so that only a fitted normaliser can learn it.
        state = generator.normal((100, -30, 0), (20, 10, 1), (31, 3)).astype(np.float32)
        episodes.append(
            Episode(
                EpisodeInfo("test/Task", seed=seed),
                {"state": state},
                actor(state[:-1]),
                np.zeros(30, np.float32),
                success,
                success,
            )
        )
    return episodes


def test_continuous_actor_is_recovered() -> None:
    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((32,)), seed=0)
    critic = [parameter.clone() for parameter in policy.critic.parameters()]
    metrics = clone(demonstrations(continuous), policy, BehaviourCloningConfig(learning_rate=3e-3))
    assert metrics["validation_loss"] < 0.05
    assert metrics["episodes"] == 12 and metrics["steps"] == 360
    fresh = demonstrations(continuous, 15)[-1]
    action, _ = policy.act(
        {"state": fresh.observation["state"][:-1]}, np.random.default_rng(0), deterministic=True
    )
    assert np.abs(action - fresh.action).mean() < 0.15
    assert policy.log_std is not None
    assert float(policy.log_std.detach().exp().max()) < 0.4  # the residual, no longer 1
    assert all(torch.equal(a, b) for a, b in zip(critic, policy.critic.parameters(), strict=True))


@pytest.mark.parametrize(("least", "most"), [(0.05, 0.06), (0.5, 0.7), (0.2, 0.2)])
def test_the_standard_deviation_stays_within_its_bounds(least: float, most: float) -> None:
    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((8,)), seed=0)
    config = BehaviourCloningConfig(epochs=2, minimum_std=least, maximum_std=most)
    clone(demonstrations(continuous, 4), policy, config)
    assert policy.log_std is not None
    std = policy.log_std.detach().exp()
    assert bool((std >= least - 1e-6).all()) and bool((std <= most + 1e-6).all())
    with pytest.raises(ValueError, match="at least minimum_std"):
        BehaviourCloningConfig(minimum_std=0.3, maximum_std=0.2)


def test_discrete_actor_is_recovered() -> None:
    policy = ActorCritic(OBSERVATION, CHOICE, NetworkConfig((32,)), seed=0)
    episodes = demonstrations(discrete)
    clone(episodes, policy, BehaviourCloningConfig(learning_rate=1e-2, epochs=60))
    action, _ = policy.act(
        {"state": episodes[0].observation["state"][:-1]}, np.random.default_rng(0), True
    )
    assert (policy.environment_action(action) == episodes[0].action).mean() > 0.9


def test_the_same_seed_gives_the_same_bits() -> None:
    runs = []
    for _ in range(2):
        policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((8,)), seed=0)
        clone(demonstrations(continuous, 4), policy, BehaviourCloningConfig(epochs=5), seed=3)
        runs.append(policy.state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_early_stop_keeps_the_best_epoch() -> None:
    def noise(state: np.ndarray) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(len(state), 2)).astype(np.float32)

    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((64, 64)), seed=0)
    config = BehaviourCloningConfig(
        epochs=300, patience=5, learning_rate=1e-2, validation_fraction=0.5
    )
    metrics = clone(demonstrations(noise, 4), policy, config)
    assert metrics["epochs"] == metrics["best_epoch"] + 5


def test_a_store_is_read_and_an_empty_one_refused(tmp_path: Path) -> None:
    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((8,)), seed=0)
    store = EpisodeStore(tmp_path / "demos")
    with pytest.raises(StoreError, match="store is empty"):
        clone(store, policy)
    store.extend(demonstrations(continuous, 3))
    metrics = clone(store, policy, BehaviourCloningConfig(epochs=2))
    assert metrics["steps"] == 90


def test_failures_are_left_out() -> None:
    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((8,)), seed=0)
    failed = demonstrations(continuous, 2, success=False)
    with pytest.raises(StoreError, match="none of the 2 episodes is a success"):
        clone(failed, policy)
    config = BehaviourCloningConfig(epochs=1, successes_only=False)
    assert clone(failed, policy, config)["episodes"] == 2


def test_other_shapes_and_nan_are_one_sentence() -> None:
    policy = ActorCritic(OBSERVATION, BOX, NetworkConfig((8,)), seed=0)
    episodes = demonstrations(continuous, 2)
    episodes[0].action[3, 1] = np.nan
    with pytest.raises(RoboError, match="not finite"):
        clone(episodes, policy)
    with pytest.raises(RoboError, match="clone from episodes of the policy's own task"):
        clone(demonstrations(discrete, 1), policy)
