"""What the ranks of ``test_distributed.py`` run; the test runs the same as a single rank."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo.policies import distributed
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import Collector
from robo.policies.learner_config import PPOConfig
from robo.policies.ppo import PPO
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import make_trainer
from robo.rewards.success import EnvironmentReward
from robo.sim.registry import make_vec

ENVS, STEPS, UPDATES = 7, 32, 10
PPO_CONFIG = PPOConfig(epochs=2, minibatch_size=50, learning_rate=1e-3, entropy_coefficient=0.01)
RUN = TrainConfig(
    task="gym/Pendulum-v1",
    num_envs=6,
    steps_per_rollout=24,
    total_steps=6 * 24 * 6,
    seed=3,
    ppo=PPO_CONFIG,
    backend="in_process",
    evaluate_every_steps=6 * 24 * 3,
    evaluate_seeds="900-902",
    checkpoint_every_iterations=2,
)
VALUES = [np.arange(5.0) ** 2 + 100, np.array([]), np.array([3.0])]


def parameters_after_updates(dtype: torch.dtype, task: str, implementation: Any) -> np.ndarray:
    """All parameters after ``UPDATES`` updates of ``ENVS`` environments over all ranks."""
    shard = distributed.shard(ENVS)
    env = make_vec(task, len(shard), backend="in_process")
    policy = ActorCritic(env.single_observation_space, env.single_action_space, seed=1)  # type: ignore[arg-type]
    policy.to(dtype)
    ppo = PPO(replace(PPO_CONFIG, implementation=implementation), policy, seed=5)
    collector = Collector(env, policy, STEPS, seed=11, shard=shard)
    reward = EnvironmentReward()
    for _ in range(UPDATES):
        rollout = collector.collect()
        ppo.update(rollout, reward(rollout))
    env.close()
    return policy.flat.detach().double().numpy().copy()


def train(out: Path, config: TrainConfig = RUN, resume: bool = False) -> dict[str, Any]:
    """A whole run; its result, and the parameters."""
    trainer = make_trainer(config, out, show=False)
    try:
        result = trainer.run(resume=resume)
        return {**result, "parameters": trainer.actor_critic.flat.detach().numpy().copy()}
    finally:
        trainer.close()


def collectives(index: int) -> dict[str, Any]:
    """Results of every collective on this rank's part of ``VALUES``."""
    gradient = torch.full((3,), float(index + 1), dtype=torch.float64)
    statistics = np.array([10.0 * index])
    weight = distributed.average_gradients_(gradient, index, statistics)
    return {
        "moments": distributed.moments(VALUES[index]),
        "groups": distributed.group_moments([VALUES[index], VALUES[index][:2], np.array([])]),
        "sum": distributed.all_reduce_sum_(np.array([index + 1.0])),
        "broadcast": distributed.broadcast_(np.array([index]), 1),
        "objects": distributed.gather_objects(index),
        "gradient": (gradient.numpy(), statistics, weight),
    }


def cases(out: Path) -> dict[str, Any]:
    """Everything that is compared between numbers of ranks."""
    return {
        "float64": parameters_after_updates(torch.float64, "gym/Pendulum-v1", "torch"),
        "float32": parameters_after_updates(torch.float32, "gym/Pendulum-v1", "auto"),
        "discrete": parameters_after_updates(torch.float64, "gym/CartPole-v1", "torch"),
        "run": train(out / "run"),
        "short": train(out / "short", replace(RUN, total_steps=RUN.total_steps // 2)),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert distributed.initialise(60)
    folder = Path(sys.argv[1])
    found = {"collectives": collectives(distributed.rank()), **cases(folder)}
    torch.save(found, folder / f"rank-{distributed.rank()}.pt")
    distributed.shutdown()
