"""Defects that users met in other libraries, each with the test that it is not one of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

import robo
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import Collector
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.packing import pack
from robo.policies.threads import set_threads
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import Trainer
from robo.rewards.success import EnvironmentReward
from robo.rollout import RewardTerms

ROOT = Path(__file__).parents[2]
TASKS = {
    "gym/CartPole-v1": {"max_episode_steps": 14},
    "gym/Pendulum-v1": {"max_episode_steps": 14},
    "mujoco/Reach": {},
}


def collected(task: str, steps: int = 60):
    """A rollout of a real environment, and the policy that acted; V is far from 0."""
    env = robo.make_vec(task, 4, "auto" if task == "mujoco/Reach" else "in_process", **TASKS[task])
    policy = ActorCritic(env.single_observation_space, env.single_action_space)  # type: ignore[arg-type]
    with torch.no_grad():
        policy.critic[-1].bias += 50.0
        policy.critic[-1].weight *= 30.0
    rollout = Collector(env, policy, steps, seed=3).collect()
    env.close()
    return rollout, policy


@pytest.mark.parametrize("task", ["gym/CartPole-v1", "gym/Pendulum-v1"])
def test_timeout_bootstraps_the_final_observation(task: str) -> None:
    """rsl_rl#20, cleanrl#198: a time-out taken for a failure, or V taken of the reset state."""
    rollout, policy = collected(task)
    terms = RewardTerms(rollout.env_reward, {})
    packed = pack(policy, rollout, terms, gamma=0.9, gae_lambda=0.95, bootstrap_timeout=True)
    steps, envs = rollout.shape
    returns = packed.rows[:, packed.columns.log_prob + 2].reshape(steps, envs)
    final = rollout.final_observation
    cut = rollout.truncated[final.step, final.env]
    assert int(cut.sum()) >= 1 and (task != "gym/CartPole-v1" or int((~cut).sum()) > 1)
    with torch.no_grad():
        at_final = policy.value(final.observation)
        at_reset = policy.value({"state": rollout.observation["state"]})
    reward = rollout.env_reward[final.step, final.env]
    ours = torch.from_numpy(returns)[final.step, final.env]
    torch.testing.assert_close(ours, reward + 0.9 * cut * at_final, rtol=1e-5, atol=1e-4)
    inside = final.step + 1 < steps
    wrong = 0.9 * at_reset[(final.step + 1).clamp(max=steps - 1), final.env]
    differs = (ours - reward - wrong).abs()[inside & cut]
    assert float(differs.min()) > 1e-2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("backend", ["native", "in_process", "threads", "workers"])
def test_autoreset_final_observation_is_not_the_reset_observation(task: str, backend: str) -> None:
    """Gymnasium#1103, SB3#1787, envpool#194: the final observation is the state after the step."""
    vector = robo.make_vec(task, 2, backend, **TASKS[task])
    single = robo.make(task, **TASKS[task])
    vector.action_space.seed(0)
    observation, _ = vector.reset(seed=5)
    # Environment 1 alone, with the seed that the vector gave it.
    alone, _ = single.reset(seed=6)
    np.testing.assert_allclose(observation["state"][1], alone["state"], atol=1e-6)
    for _ in range(600):
        action = vector.action_space.sample()
        observation, _, terminated, truncated, infos = vector.step(action)
        alone, _, ended, cut, _ = single.step(action[1])
        assert (bool(terminated[1]), bool(truncated[1])) == (ended, cut)
        if ended or cut:
            break
    else:
        pytest.fail("no episode ended")
    final = infos["final_obs"][1]["state"]
    np.testing.assert_allclose(final, alone["state"], atol=1e-5)
    assert np.abs(final - observation["state"][1]).max() > 1e-3
    vector.close()
    single.close()


def test_rollouts_keep_final_and_reset_observations_apart() -> None:
    for task in TASKS:
        rollout, _ = collected(task, 200)
        final = rollout.final_observation
        inside = final.step + 1 < rollout.shape[0]
        after = rollout.observation["state"][final.step[inside] + 1, final.env[inside]]
        gap = (final.observation["state"][inside] - after).abs().amax(-1)
        assert len(gap) and float(gap.min()) > 1e-4


@pytest.mark.slow
def test_threads_are_set_on_purpose(tmp_path: Path) -> None:
    """Torch's default of a thread per core makes small networks 10 to 30 times slower."""
    script = """
import os, numpy, torch
from threadpoolctl import threadpool_info, threadpool_limits
torch.set_num_threads(2)
threadpool_limits(2)
import robo
from pathlib import Path
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import Trainer
from robo.rewards.success import EnvironmentReward
config = TrainConfig(task="gym/CartPole-v1", num_envs=1)
Trainer(config, robo.make_vec(config.task, 1, "in_process"), EnvironmentReward(), Path("run"))
print(torch.get_num_threads(), *{pool["num_threads"] for pool in threadpool_info()})
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split() == ["1", "1"], done.stdout + done.stderr
    assert TrainConfig().threads == 1


def test_thread_counts_can_be_chosen() -> None:
    before = torch.get_num_threads()
    try:
        set_threads(2)
        assert torch.get_num_threads() == 2
        set_threads(1)
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        with pytest.raises(ValueError, match="must be at least 1"):
            set_threads(0)
    finally:
        set_threads(before)


def test_normaliser_resumes(tmp_path: Path) -> None:
    """IsaacLab#3315, resuming that does not resume: statistics must go on where they were."""
    config = TrainConfig(
        task="gym/Pendulum-v1",
        num_envs=2,
        steps_per_rollout=16,
        total_steps=32 * 6,
        backend="in_process",
        network=NetworkConfig((8,)),
        ppo=PPOConfig(epochs=1, minibatch_size=16),
        evaluate_every_steps=0,
        evaluate_seeds="0-1",
        checkpoint_every_iterations=1,
    )

    def run(name: str, steps: int, resume: bool) -> ActorCritic:
        env = robo.make_vec(config.task, 2, "in_process")
        part = replace(config, total_steps=steps)
        trainer = Trainer(part, env, EnvironmentReward(), tmp_path / name, show=False)
        trainer.run(resume)
        env.close()
        return trainer.actor_critic

    whole = run("whole", 32 * 6, False)
    half = run("parts", 32 * 3, False)
    resumed = run("parts", 32 * 6, True)
    assert float(half.normaliser.count) == 32 * 3
    assert float(resumed.normaliser.count) == float(whole.normaliser.count) == 32 * 6
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    # The policy alone, as it is given away, reads its inputs by the same statistics.
    resumed.save(tmp_path / "policy")
    loaded = ActorCritic.load(tmp_path / "policy")
    state = np.random.default_rng(0).normal(0, 3, (20, 3)).astype(np.float32)
    chosen, expected = (
        policy.act({"state": state}, np.random.default_rng(0), deterministic=True)[0]
        for policy in (loaded, whole)
    )
    np.testing.assert_array_equal(chosen, expected)
