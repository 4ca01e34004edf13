"""PPO's update: its rules, its metrics, exact resume, and that it learns."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from hypothesis import given
from hypothesis import strategies as st

from robo.errors import CheckpointError, RoboError
from robo.policies.actor_critic import ActorCritic, NetworkConfig
from robo.policies.advantage import gae
from robo.policies.packing import pack
from robo.policies.ppo import (
    PPO,
    PPOConfig,
    explained_variance,
    minibatch_bounds,
    normalise_groups,
)
from robo.rollout import FinalObservation, RewardTerms, Rollout

SIZE = 3


def make_policy(features: int = 0, size: int = SIZE) -> ActorCritic:
    space = Dict(state=Box(-np.inf, np.inf, (size,), np.float32))
    action_space = Box(-1.0, 1.0, (2,), np.float32)
    return ActorCritic(space, action_space, NetworkConfig((16, 16)), features)


def make_rollout(policy: ActorCritic, steps: int = 12, envs: int = 5, seed: int = 0) -> Rollout:
    """Random states and ends; actions and log probabilities are the policy's own."""
    draw = np.random.default_rng(seed)
    states = draw.normal(2.0, 3.0, (steps + 1, envs, SIZE)).astype(np.float32)
    done = draw.random((steps, envs)) < 0.2
    terminated = done & (draw.random((steps, envs)) < 0.5)
    step, env = np.nonzero(done)
    final = draw.standard_normal((len(step), SIZE)).astype(np.float32)
    acted = [policy.act({"state": state}, draw) for state in states[:-1]]
    action = np.stack([action for action, _ in acted])
    return Rollout(
        observation={"state": torch.from_numpy(states[:-1])},
        last_observation={"state": torch.from_numpy(states[-1])},
        final_observation=FinalObservation(
            {"state": torch.from_numpy(final)}, torch.from_numpy(step), torch.from_numpy(env)
        ),
        action=torch.from_numpy(action),
        log_prob=torch.from_numpy(np.stack([log_prob for _, log_prob in acted])),
        env_reward=torch.from_numpy(-np.square(action - 0.5).sum(-1)),
        terminated=torch.from_numpy(terminated),
        truncated=torch.from_numpy(done & ~terminated),
        success=torch.from_numpy(terminated),
        episode=torch.zeros((steps, envs), dtype=torch.int64),
        episodes={},
    ).check()


def terms_of(rollout: Rollout) -> RewardTerms:
    return RewardTerms(rollout.env_reward, {"env": rollout.env_reward})


@pytest.mark.parametrize("timeout", ["bootstrap", "keep"])
def test_advantages_follow_the_true_next_state_and_the_time_out_rule(timeout):
    policy = make_policy(features=2)
    rollout = make_rollout(policy)
    steps, envs = rollout.shape
    ends = len(rollout.final_observation.step)
    features, final_features = torch.rand(steps + 1, envs, 2), torch.rand(ends, 2)
    terms = RewardTerms(rollout.env_reward, {}, features, final_features)
    bootstrap = timeout == "bootstrap"
    packed = pack(policy, rollout, terms, gamma=0.9, gae_lambda=0.8, bootstrap_timeout=bootstrap)
    states = torch.cat([rollout.observation["state"], rollout.last_observation["state"][None]])
    with torch.no_grad():
        at_state = policy.value({"state": states}, features)
        at_final = policy.value(rollout.final_observation.observation, final_features)
    next_value = rollout.of_next_state(at_state, at_final)
    ended = rollout.terminated if bootstrap else rollout.done
    cut = rollout.truncated if bootstrap else torch.zeros_like(rollout.truncated)
    advantage, target = gae(rollout.env_reward, at_state[:-1], next_value, ended, cut, 0.9, 0.8)
    assert rollout.value is not None
    torch.testing.assert_close(rollout.value, at_state[:-1])
    column = packed.columns.log_prob + 1
    rows = torch.from_numpy(packed.rows)
    torch.testing.assert_close(rows[:, column], advantage.reshape(-1))
    torch.testing.assert_close(rows[:, column + 1], target.reshape(-1))


def test_features_that_do_not_fit_are_refused():
    policy = make_policy(features=1)
    rollout = make_rollout(policy)
    with pytest.raises(RoboError, match="reads 1 features"):
        PPO(PPOConfig(), policy).update(rollout, terms_of(rollout))


@given(st.integers(1, 5000), st.integers(1, 1000))
def test_minibatches_cover_everything_once_in_near_equal_parts(count, size):
    bounds = minibatch_bounds(count, size)
    sizes = np.diff(bounds)
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1
    assert sizes.max() <= size


def test_advantages_are_normalised_per_minibatch():
    values = np.random.default_rng(0).normal(3.0, 5.0, 11).astype(np.float32)
    normalise_groups(values, [0, 5, 10, 11])
    for part in (values[:5], values[5:10]):
        assert part.mean() == pytest.approx(0, abs=1e-6)
        assert part.std(ddof=1) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(values[10])


def test_metrics_of_a_first_step_that_does_not_move():
    policy = make_policy()
    policy.normaliser.update(np.random.default_rng(0).normal(2, 3, (100, SIZE)))
    rollout = make_rollout(policy)
    config = PPOConfig(learning_rate=0.0, minibatch_size=7, epochs=3)
    before = policy.flat.clone()
    metrics = PPO(config, policy).update(rollout, terms_of(rollout))
    assert torch.equal(policy.flat, before)
    assert metrics["approximate_kl"] == pytest.approx(0, abs=1e-6)
    assert metrics["clip_fraction"] == 0
    assert metrics["policy_loss"] == pytest.approx(0, abs=1e-5)
    assert metrics["epochs_run"] == 3
    assert metrics["std"] == pytest.approx(1)
    assert float(policy.normaliser.count) == 100 + 60


def test_the_first_update_normalises_before_it_learns():
    policy = make_policy()
    policy.flat.mul_(5.0)
    rollout = make_rollout(policy)
    stored = rollout.log_prob.clone()
    config = PPOConfig(learning_rate=0.0)
    metrics = PPO(config, policy).update(rollout, terms_of(rollout))
    assert metrics["approximate_kl"] == pytest.approx(0, abs=1e-6)
    assert float(policy.normaliser.count) == 60
    assert torch.equal(rollout.log_prob, stored)
    frozen = make_policy()
    rollout = make_rollout(frozen)
    PPO(PPOConfig(normalise_observation=False), frozen).update(rollout, terms_of(rollout))
    assert not frozen.normaliser.active


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_the_kl_stop_ends_the_update(implementation):
    policy = make_policy()
    rollout = make_rollout(policy, steps=40)
    config = PPOConfig(learning_rate=0.02, epochs=50, target_kl=0.02, implementation=implementation)
    metrics = PPO(config, policy).update(rollout, terms_of(rollout))
    assert 0 < metrics["epochs_run"] < 50
    with torch.no_grad():
        log_prob, _, _ = policy.evaluate(rollout.observation, rollout.action)
    # One step past the limit at most: without the stop this is an order larger.
    assert abs(float((rollout.log_prob - log_prob).mean())) < 0.2


def test_value_clipping_limits_how_far_values_move():
    moved = {}
    for clip in (None, 0.05):
        policy = make_policy()
        rollout = make_rollout(policy)
        rollout.env_reward += 100.0
        config = PPOConfig(learning_rate=0.01, epochs=30, value_clip=clip, gamma=0.0)
        PPO(config, policy).update(rollout, terms_of(rollout))
        assert rollout.value is not None
        with torch.no_grad():
            moved[clip] = float((policy.value(rollout.observation) - rollout.value).abs().mean())
    assert moved[0.05] < 0.3 * moved[None]


def test_invalid_steps_count_nowhere():
    flats = []
    for junk in (0.0, 1e6):
        policy = make_policy()
        rollout = make_rollout(policy)
        rollout.terminated[5, 1] = True
        rollout.truncated[5, 1] = False
        valid = torch.ones(rollout.shape, dtype=torch.bool)
        valid[6:, 1] = False
        rollout.valid = valid
        rollout.env_reward[6:, 1] = junk
        rollout.observation["state"][6:, 1] = junk
        # The ends inside the idle slots are whatever they are; final rows must match them.
        done = rollout.done
        step, env = torch.nonzero(done, as_tuple=True)
        rollout.final_observation = FinalObservation(
            {"state": torch.ones(len(step), SIZE)}, step, env
        )
        PPO(PPOConfig(epochs=2), policy).update(rollout, terms_of(rollout))
        flats.append(policy.flat.clone())
        assert float(policy.normaliser.count) == int(valid.sum())
    assert torch.equal(flats[0], flats[1])
    rollout.valid = torch.zeros(rollout.shape, dtype=torch.bool)
    with pytest.raises(RoboError, match="no valid step"):
        PPO(PPOConfig(), policy).update(rollout, terms_of(rollout))


def test_learning_rate_schedule():
    policy = make_policy()
    rollout = make_rollout(policy)
    config = PPOConfig(learning_rate=1e-3, learning_rate_schedule="linear")
    metrics = PPO(config, policy).update(rollout, terms_of(rollout), progress_remaining=0.25)
    assert metrics["learning_rate"] == pytest.approx(2.5e-4)


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_resume_is_exact(implementation):
    config = PPOConfig(minibatch_size=16, epochs=2, implementation=implementation)
    policy = make_policy()
    learner = PPO(config, policy, seed=4)
    rollout = make_rollout(policy)
    learner.update(rollout, terms_of(rollout))
    file = io.BytesIO()
    torch.save({"policy": policy.state_dict(), "ppo": learner.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = make_policy()
    resumed = PPO(config, other, seed=99)
    other.load_state_dict(state["policy"])
    resumed.load_state_dict(state["ppo"])
    following = make_rollout(policy, seed=1)
    for each in (learner, resumed):
        each.update(copy.deepcopy(following), terms_of(following))
    assert torch.equal(policy.flat, other.flat)
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    with pytest.raises(CheckpointError, match="does not fit"):
        PPO(config, make_policy(size=9)).load_state_dict(state["ppo"])


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_the_critic_learns_alone_while_it_warms_up(implementation):
    config = PPOConfig(
        minibatch_size=16,
        epochs=2,
        implementation=implementation,
        critic_warm_up=2,
        normalise_observation=False,
    )
    policy = make_policy()
    learner = PPO(config, policy)
    before = copy.deepcopy(policy.state_dict())
    held = [name for name in before if name.startswith(("actor.", "log_std"))]
    for update in range(2):
        rollout = make_rollout(policy, seed=update)
        metrics = learner.update(rollout, terms_of(rollout))
        assert metrics["approximate_kl"] == pytest.approx(0, abs=1e-7)
    after = policy.state_dict()
    assert "log_std" in held and all(torch.equal(before[name], after[name]) for name in held)
    assert not torch.equal(before["critic.0.weight"], after["critic.0.weight"])
    resumed = PPO(config, policy)
    resumed.load_state_dict(learner.state_dict())  # the warm-up does not begin anew
    rollout = make_rollout(policy, seed=2)
    resumed.update(rollout, terms_of(rollout))
    assert not torch.equal(before["actor.0.weight"], policy.state_dict()["actor.0.weight"])


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_the_critic_learns_at_a_rate_of_its_own(implementation):
    """One Adam step from rest moves each parameter by the rate, whatever its gradient."""
    policy = make_policy()
    config = PPOConfig(
        learning_rate=1e-4,
        critic_learning_rate=1e-2,
        epochs=1,
        minibatch_size=1000,
        max_gradient_norm=1e6,
        adam_epsilon=1e-12,
        normalise_observation=False,
        implementation=implementation,
    )
    before = copy.deepcopy(policy.state_dict())
    rollout = make_rollout(policy)
    PPO(config, policy).update(rollout, terms_of(rollout))
    after = policy.state_dict()
    for name, rate in (("critic.0.weight", 1e-2), ("actor.0.weight", 1e-4), ("log_std", 1e-4)):
        moved = (after[name] - before[name]).abs()
        assert moved.median() == pytest.approx(rate, rel=1e-2)


def test_a_warm_up_that_would_move_the_policy_is_refused():
    with pytest.raises(RoboError, match="critic_warm_up is -1"):
        PPOConfig(critic_warm_up=-1)
    with pytest.raises(RoboError, match="entropy bonus"):
        PPOConfig(critic_warm_up=1, entropy_coefficient=0.01)
    with pytest.raises(RoboError, match="group advantages"):
        PPOConfig(critic_warm_up=1, advantage="group")
    with pytest.raises(RoboError, match=r"critic_learning_rate is 0\.0"):
        PPOConfig(critic_learning_rate=0.0)


def test_the_two_implementations_give_one_result():
    flats = []
    for implementation in ("numpy", "torch"):
        policy = make_policy()
        rollout = make_rollout(policy)
        config = PPOConfig(minibatch_size=20, epochs=2, implementation=implementation)
        metrics = PPO(config, policy).update(rollout, terms_of(rollout))
        flats.append((policy.flat.clone(), metrics))
    torch.testing.assert_close(flats[0][0], flats[1][0], rtol=0, atol=2e-6)
    assert flats[0][1] == pytest.approx(flats[1][1], abs=1e-4)


def test_bad_numbers_are_refused():
    policy = make_policy()
    rollout = make_rollout(policy)
    rollout.env_reward[3, 2] = float("nan")
    with pytest.raises(RoboError, match="reward holds NaN"):
        PPO(PPOConfig(), policy).update(rollout, terms_of(rollout))
    with pytest.raises(RoboError, match=r"gamma is 1\.2"):
        PPOConfig(gamma=1.2)
    with pytest.raises(RoboError, match="minibatch_size is 0"):
        PPOConfig(minibatch_size=0)


def test_divergence_is_named():
    policy = make_policy()
    rollout = make_rollout(policy)
    assert policy.log_std is not None
    policy.log_std.data.fill_(-200.0)
    with pytest.raises(RoboError, match="diverged"), np.errstate(all="ignore"):
        PPO(PPOConfig(), policy).update(rollout, terms_of(rollout))


def test_explained_variance():
    target = np.array([1.0, 2.0, 3.0], np.float32)
    assert explained_variance(target, target) == 1.0
    assert explained_variance(np.zeros(3, np.float32), target) == pytest.approx(0.0)
    assert explained_variance(target, np.ones(3, np.float32)) == 0.0


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_it_learns_a_bandit(implementation):
    """Reward is highest at action 0.5: the mean must go there."""
    policy = make_policy()
    config = PPOConfig(learning_rate=5e-3, epochs=5, gamma=0.0, implementation=implementation)
    learner = PPO(config, policy)
    for seed in range(15):
        rollout = make_rollout(policy, steps=40, envs=8, seed=seed)
        learner.update(rollout, terms_of(rollout))
    mean, _ = policy.act(
        {"state": np.full((1, SIZE), 2.0, np.float32)}, np.random.default_rng(0), True
    )
    np.testing.assert_allclose(mean, 0.5, atol=0.2)
