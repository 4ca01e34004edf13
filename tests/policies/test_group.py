"""Group optimisation: rollouts in groups, advantages without a critic, the same learner as PPO."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import robo
from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.advantage import group_advantage
from robo.policies.group_collector import FIRST_SEED, GroupCollector
from robo.policies.group_targets import group_targets
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.learners import Before, LossConfig, loss_sums
from robo.policies.ppo import PPO
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import Iteration, make_trainer
from robo.rewards.config import RewardConfig
from robo.rewards.srpo_config import SRPOConfig
from robo.rewards.success import SuccessReward
from robo.rollout import CameraSchedule, RewardTerms

GROUP = PPOConfig(
    advantage="group",
    clip_range_high=0.28,
    epochs=2,
    minibatch_size=64,
    normalise_observation=False,
    learning_rate=1e-3,
)


def reach(envs: int = 8):
    env = robo.make_vec("mujoco/Reach", envs)
    policy = ActorCritic(env.single_observation_space, env.single_action_space)  # type: ignore[arg-type]
    return env, policy


def test_groups_share_initial_states_and_idle_slots_are_not_valid():
    env, policy = reach()
    camera = CameraSchedule(("front",), 16, 16, 10)
    collector = GroupCollector(env, policy, 4, seed=3, camera=camera)
    rollout = collector.collect().check()
    assert rollout.valid is not None and rollout.frames is not None
    first = rollout.observation["state"][0]
    assert torch.equal(first[0].expand(4, -1), first[:4])
    assert torch.equal(first[4].expand(4, -1), first[4:])
    assert not torch.equal(first[0], first[4])
    assert not torch.equal(rollout.action[0, 0], rollout.action[0, 1])
    lengths = rollout.valid.sum(0)
    assert int(lengths.max()) == rollout.shape[0]
    for column in range(8):
        count = int(lengths[column])
        assert bool(rollout.valid[:count, column].all())
        assert rollout.done[:, column].nonzero().flatten().tolist() == [count - 1]
        assert rollout.episode[:, column].unique().numel() == 1
        rows = rollout.frames.env == column
        expected = sorted({*range(0, count, 10), count})
        assert rollout.frames.step[rows].tolist() == expected
        assert rollout.frames.final[rows].tolist() == [step == count for step in expected]
    infos = [rollout.episodes[int(i)] for i in rollout.episode[0]]
    assert [info.group for info in infos] == [0] * 4 + [1] * 4
    assert all(info.seed is not None and info.seed >= FIRST_SEED for info in infos)
    assert len(collector.finished) == 8
    again = collector.collect()
    groups = {again.episodes[int(i)].group for i in again.episode[0]}
    assert groups == {2, 3} and not set(again.episodes) & set(rollout.episodes)
    env.close()


def test_a_resumed_collector_goes_on_with_the_same_rollouts():
    env, policy = reach(4)
    collector = GroupCollector(env, policy, 2, seed=1)
    collector.collect()
    state = collector.state_dict()
    expected = collector.collect()
    other = GroupCollector(env, policy, 2, seed=1)
    other.load_state_dict(state)
    found = other.collect()
    assert torch.equal(found.action, expected.action)
    assert torch.equal(found.observation["state"], expected.observation["state"])
    assert found.episodes.keys() == expected.episodes.keys()
    with pytest.raises(RoboError, match="divide the 4"):
        GroupCollector(env, policy, 3)
    with pytest.raises(RoboError, match="only 1 seeds"):
        GroupCollector(env, policy, 2, seeds=[5])
    env.close()


def scored(rollout, numbers: list[float]) -> RewardTerms:
    """Terms that pay episode i ``numbers[i]`` in two parts: at its start and at its end."""
    total = torch.zeros(rollout.shape)
    total[0] = 0.25 * torch.tensor(numbers)
    step, env = (rollout.done & rollout.valid).nonzero(as_tuple=True)
    total[step, env] += 0.75 * torch.tensor(numbers)[env]
    total[~rollout.valid] = torch.nan  # idle slots hold anything
    return RewardTerms(total, {})


def test_targets_are_group_advantages_and_groups_without_signal_are_left_out():
    env, policy = reach()
    rollout = GroupCollector(env, policy, 4, seed=3).collect()
    assert rollout.valid is not None
    numbers = [0.1, 0.7, 1.0, 0.3, 0.5, 0.5, 0.5, 0.5]
    found = group_targets(rollout, scored(rollout, numbers))
    by_hand = group_advantage(torch.tensor(numbers), torch.tensor([0] * 4 + [1] * 4))
    advantage = torch.from_numpy(found.targets.advantage)
    for column in range(4):
        mine = rollout.valid[:, column]
        assert_close(advantage[mine, column], by_hand[column].expand(int(mine.sum())))
        assert (advantage[~mine, column] == 0).all()
    assert torch.equal(found.valid[:, :4], rollout.valid[:, :4])
    assert not found.valid[:, 4:].any()
    assert (found.metrics["groups"], found.metrics["groups_used"]) == (2.0, 1.0)
    # No success in any group: the released code's range leaves all of them out.
    rollout.success[:] = False
    none = group_targets(rollout, scored(rollout, numbers), (0.1, 0.9))
    assert not none.valid.any()
    rollout.episodes = {i: dataclasses.replace(e, group=None) for i, e in rollout.episodes.items()}
    with pytest.raises(RoboError, match="--group-size"):
        group_targets(rollout, scored(rollout, numbers))
    env.close()


def test_one_update_raises_what_did_better_and_leaves_the_critic_alone():
    env, policy = reach()
    rollout = GroupCollector(env, policy, 4, seed=3).collect()
    assert rollout.valid is not None
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    numbers = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    metrics = PPO(GROUP, policy, seed=0).update(rollout, scored(rollout, numbers))
    assert metrics["groups_used"] == 2 and metrics["epochs_run"] == 2
    log_prob, _, _ = policy.evaluate(rollout.observation, rollout.action)
    moved = ((log_prob.detach() - rollout.log_prob) * rollout.valid).sum(0)
    assert moved[[0, 7]].min() > moved[[1, 2, 3, 4, 5, 6]].max()
    for name, value in policy.state_dict().items():
        if name.startswith("critic"):
            assert torch.equal(value, before[name])
    # Equal rewards: nothing to learn, nothing changes, no NaN.
    kept = policy.flat.clone()
    metrics = PPO(GROUP, policy, seed=0).update(rollout, scored(rollout, [0.3] * 8))
    assert torch.equal(policy.flat, kept)
    assert metrics["groups_used"] == 0 and np.isfinite(list(metrics.values())).all()
    env.close()


def test_clip_higher_and_reference_divergence():
    ratio = torch.tensor([0.7, 1.1, 1.25, 1.5], dtype=torch.float64)
    log_prob = ratio.log().requires_grad_()
    zero = torch.zeros(4, dtype=torch.float64)
    before = Before(zero, zero + 2.0, zero, zero)
    config = LossConfig(0.2, None, 0.0, 0.0, 1.0, clip_range_high=0.28, reference_kl=0.5)
    divergence = torch.arange(4.0, dtype=torch.float64)
    loss, statistics = loss_sums((log_prob, zero, zero), before, config, None, divergence)
    assert_close(loss, -2 * (0.7 + 1.1 + 1.25 + 1.28) + 0.5 * divergence.sum())
    loss.backward()
    # Only what was raised beyond 1.28 has no gradient left.
    assert_close(log_prob.grad, -2 * ratio * torch.tensor([1, 1, 1, 0]))
    assert float(statistics[4]) == 2  # 0.7 and 1.5


def test_a_reference_policy_holds_the_update_back():
    env, policy = reach()
    rollout = GroupCollector(env, policy, 4, seed=3).collect()
    terms = scored(rollout, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    start, moved = policy.flat.clone(), []
    for weight in (0.0, 100.0):
        policy.flat.copy_(start)
        config = dataclasses.replace(GROUP, reference_kl=weight, epochs=5)
        ppo = PPO(config, policy, seed=0)
        ppo.update(rollout, terms)
        with torch.no_grad():
            log_prob, _, _ = policy.evaluate(rollout.observation, rollout.action)
        moved.append(float((log_prob - rollout.log_prob)[rollout.valid].abs().mean()))
    assert moved[1] < 0.5 * moved[0]
    other = PPO(config, policy, seed=0)
    other.load_state_dict(ppo.state_dict())
    assert ppo.reference is not None and other.reference is not None
    for there, here in zip(other.reference.parameters(), ppo.reference.parameters(), strict=True):
        assert torch.equal(there, here)
    with pytest.raises(RoboError, match="normalise-observation"):
        PPOConfig(reference_kl=0.1)
    with pytest.raises(RoboError, match="numpy"):
        PPO(dataclasses.replace(GROUP, implementation="numpy"), policy)
    env.close()


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(RoboError, match="go together"):
        TrainConfig(group_size=4)
    with pytest.raises(RoboError, match="go together"):
        TrainConfig(ppo=GROUP)
    with pytest.raises(RoboError, match="synchronous"):
        TrainConfig(group_size=4, ppo=GROUP, collection="overlapped")


def stop(iteration: Iteration) -> None:
    """Callback: the run ends here."""
    iteration.trainer.stopped = True


@pytest.mark.slow
def test_srpo_trains_and_resumes_exactly(tmp_path: Path):
    config = TrainConfig(
        task="mujoco/Reach",
        num_envs=8,
        total_steps=1600,
        group_size=4,
        ppo=GROUP,
        network=NetworkConfig(hidden=(16,)),
        reward=RewardConfig(kind="srpo", stride=10, srpo=SRPOConfig(size=16)),
        evaluate_every_steps=0,
        checkpoint_every_iterations=2,
    )
    results = {}
    for name in ("whole", "cut"):
        out = tmp_path / name
        trainer = make_trainer(config, out, show=False)
        if name == "cut":
            trainer.callbacks = (stop,)
            trainer.run()
            trainer.close()
            trainer = make_trainer(config, out, show=False)
            trainer.run(resume=True)
        else:
            trainer.run()
        results[name] = (trainer.actor_critic.flat.clone(), trainer.step, trainer.iteration)
        trainer.close()
    assert results["cut"][1:] == results["whole"][1:] and results["whole"][2] >= 3
    assert torch.equal(results["cut"][0], results["whole"][0])


def test_success_alone_is_a_reward_for_groups():
    env, policy = reach()
    rollout = GroupCollector(env, policy, 4, seed=3).collect()
    rollout.success[-1, 0] = True
    rollout.valid[-1, 0] = True  # type: ignore[index]
    found = group_targets(rollout, SuccessReward()(rollout))
    assert found.metrics["groups_used"] >= 1
    env.close()
