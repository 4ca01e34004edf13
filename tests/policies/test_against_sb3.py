"""Our PPO against Stable-Baselines3's: same networks, data and numbers, same parameters after.

What differs by intention, and is made equal or left out here:

* Order of minibatches: SB3 flattens a rollout environment by environment, we time step by time
  step. SB3 is given our permutations, translated.
* A remainder: SB3's last minibatch of an epoch is what is left over, we spread it over all. The
  sizes here divide the rollout.
* Advantage statistics: SB3 takes them in float32, we in float64; rounding only.
* Gradient norms between the limit and the limit less 1e-6: SB3 scales these by up to 1e-6.
* ``value_clip``: SB3 trains on the clipped value, we (as PPO's authors' code) on the worse of the
  clipped and the unclipped error. Not compared.
* Observation statistics: SB3 leaves these to VecNormalize. Switched off.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from hypothesis import given
from hypothesis import strategies as st

import robo
from robo.policies.actor_critic import ActorCritic
from robo.policies.advantage import gae
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.ppo import PPO
from robo.rewards.success import EnvironmentReward
from robo.rollout import RewardTerms, Rollout

stable_baselines3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.buffers import RolloutBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402

from robo.policies.sb3 import RelabelCallback, policy_keywords, sb3_vec_env, to_sb3  # noqa: E402

STEPS, ENVS = 64, 4
TASKS = {
    # Few steps per episode: every rollout has time-outs, CartPole's terminations too.
    "gaussian": ("gym/Pendulum-v1", {"max_episode_steps": 23}),
    "categorical": ("gym/CartPole-v1", {"max_episode_steps": 14}),
}


class Keep(EnvironmentReward):
    """The environment's own reward; keeps copies of the rollouts."""

    def __init__(self) -> None:
        self.rollouts: list[Rollout] = []

    def __call__(self, rollout: Rollout) -> RewardTerms:
        self.rollouts.append(copy.deepcopy(rollout))
        return super().__call__(rollout)


class KeepBuffer(BaseCallback):
    """What SB3 computed by itself, before anything was relabelled."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: dict[str, np.ndarray] = {}

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        for name in ("rewards", "returns", "advantages", "values"):
            self.arrays[name] = getattr(buffer, name).copy()


class OurOrder:
    """Permutations of a PPO of ours, translated to SB3's order of rows."""

    def __init__(self, seed: int) -> None:
        self.generator = PPO(PPOConfig(), _policy("gaussian"), seed).generator

    def __call__(self, count: int) -> np.ndarray:
        row = self.generator.permutation(count)
        return (row % ENVS) * STEPS + row // ENVS


def _policy(kind: str, activation: Any = "tanh") -> ActorCritic:
    task, options = TASKS[kind]
    env = robo.make_vec(task, 1, "in_process", **options)
    space, action_space = env.single_observation_space, env.single_action_space
    env.close()
    network = NetworkConfig((32, 32), activation, initial_std=0.7)
    policy = ActorCritic(space, action_space, network, seed=3)  # type: ignore[arg-type]
    with torch.no_grad():
        # A value function far from 0 makes every bootstrap count.
        policy.critic[-1].bias += 5.0
    return policy


def train_sb3(
    policy: ActorCritic, kind: str, config: PPOConfig, reward: Any, monkeypatch: Any
) -> tuple[Any, dict[str, np.ndarray]]:
    """SB3's PPO after one rollout and one update, and its buffer's own numbers."""
    task, options = TASKS[kind]
    env = sb3_vec_env(robo.make_vec(task, ENVS, "in_process", **options), "state")
    model = stable_baselines3.PPO(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        n_steps=STEPS,
        batch_size=config.minibatch_size,
        n_epochs=config.epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.entropy_coefficient,
        vf_coef=config.value_coefficient,
        max_grad_norm=config.max_gradient_norm,
        target_kl=config.target_kl,
        policy_kwargs=policy_keywords(policy),
        seed=1,
        device="cpu",
    )
    model.policy.load_state_dict(to_sb3(policy).state_dict())
    monkeypatch.setattr(np.random, "permutation", OurOrder(7))
    own = KeepBuffer()
    model.learn(STEPS * ENVS, callback=[own, RelabelCallback(reward)])
    monkeypatch.undo()
    env.close()
    return model, own.arrays


def difference(policy: ActorCritic, model: Any) -> float:
    """Largest difference between any of our parameters and SB3's."""
    theirs = model.policy.state_dict()
    expected = to_sb3(policy).state_dict()
    assert expected.keys() == theirs.keys()
    return max(float((expected[name] - theirs[name]).abs().max()) for name in expected)


CONFIG = PPOConfig(
    learning_rate=3e-4,
    epochs=4,
    minibatch_size=64,
    gamma=0.98,
    gae_lambda=0.93,
    entropy_coefficient=0.01,
    normalise_observation=False,
)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_one_update_gives_the_same_parameters(kind, implementation, monkeypatch) -> None:
    policy, reward = _policy(kind), Keep()
    before = policy.flat.clone()
    model, own = train_sb3(policy, kind, CONFIG, reward, monkeypatch)
    (rollout,) = reward.rollouts
    assert int(rollout.truncated.sum()) >= ENVS
    assert kind == "gaussian" or int(rollout.terminated.sum()) > 0
    config = PPOConfig(**{**CONFIG.__dict__, "implementation": implementation})
    ppo = PPO(config, policy, seed=7)
    assert ppo.implementation == implementation
    ppo.update(rollout, RewardTerms(rollout.env_reward, {}))
    assert float((policy.flat - before).abs().max()) > 1e-3
    assert difference(policy, model) < 1e-5
    # The critic that SB3 asked while acting says what ours says afterwards.
    assert rollout.value is not None
    np.testing.assert_allclose(rollout.value.numpy(), own["values"], atol=1e-5)


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_early_stop_by_divergence_is_the_same(implementation, monkeypatch) -> None:
    policy, reward = _policy("gaussian"), Keep()
    config = PPOConfig(
        **{
            **CONFIG.__dict__,
            "implementation": implementation,
            "learning_rate": 2e-3,
            "target_kl": 0.005,
        }
    )
    model, _ = train_sb3(policy, "gaussian", config, reward, monkeypatch)
    ppo = PPO(config, policy, seed=7)
    metrics = ppo.update(reward.rollouts[0], RewardTerms(reward.rollouts[0].env_reward, {}))
    assert metrics["epochs_run"] < config.epochs
    assert difference(policy, model) < 1e-5


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_other_activations_give_the_same_parameters(activation, monkeypatch) -> None:
    policy, reward = _policy("gaussian", activation), Keep()
    model, _ = train_sb3(policy, "gaussian", CONFIG, reward, monkeypatch)
    ppo = PPO(CONFIG, policy, seed=7)
    assert ppo.implementation == "torch"
    ppo.update(reward.rollouts[0], RewardTerms(reward.rollouts[0].env_reward, {}))
    assert difference(policy, model) < 1e-5


@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(1, 20),
    envs=st.integers(1, 4),
    ends=st.floats(0, 1),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_gae_is_that_of_the_rollout_buffer(seed, steps, envs, ends, gamma, lam) -> None:
    draw = np.random.default_rng(seed)
    reward, at_final = draw.normal(0, 3, (2, steps, envs)).astype(np.float32)
    value = draw.normal(0, 3, (steps + 1, envs)).astype(np.float32)
    done = draw.random((steps, envs)) < ends
    terminated = done & (draw.random((steps, envs)) < 0.5)
    truncated = done & ~terminated
    space = Discrete(2)
    buffer = RolloutBuffer(
        steps, space, space, device="cpu", gae_lambda=lam, gamma=gamma, n_envs=envs
    )
    starts = np.concatenate([np.ones((1, envs), bool), done])
    none = np.zeros((envs, 1), np.float32)
    for t in range(steps):
        # What SB3's collect_rollouts does at a time-out.
        given = reward[t] + np.where(truncated[t], gamma * at_final[t], 0)
        at_t = torch.from_numpy(value[t])
        buffer.add(none, none, given, starts[t], at_t, torch.zeros(envs))
    buffer.compute_returns_and_advantage(torch.from_numpy(value[-1]), starts[-1])
    following = np.where(done, at_final, value[1:])
    advantage, target = gae(reward, value[:-1], following, terminated, truncated, gamma, lam)
    np.testing.assert_allclose(advantage, buffer.advantages, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(target, buffer.returns, rtol=1e-4, atol=1e-4)
