"""PPO training speed, environment steps per second, against Stable-Baselines3.

Equal networks (two tanh MLPs of 64x64), hyper-parameters, gymnasium environments stepped in
this process, one thread. Runs are interleaved; figures are medians. CPU seconds of the process
are what the ratio is made of, because wall time on a shared machine measures the neighbours.

    python benchmarks/ppo_throughput.py --repeats 5 --out benchmarks/results/ppo_throughput.json
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro
from _study import machine, publish

PEER = "stable-baselines3"


@dataclass(frozen=True)
class Workload:
    """One row of the table."""

    name: str
    task: str
    envs: int
    steps: int
    epochs: int
    minibatch: int


WORKLOADS = (
    Workload("HalfCheetah 16x128, 5 epochs, minibatch 512", "HalfCheetah-v5", 16, 128, 5, 512),
    Workload("Pendulum 16x256, 10 epochs, minibatch 1024", "Pendulum-v1", 16, 256, 10, 1024),
    Workload("Pendulum 8x256, 10 epochs, minibatch 64", "Pendulum-v1", 8, 256, 10, 64),
)


@dataclass(frozen=True)
class Options:
    """Measure PPO's throughput against Stable-Baselines3."""

    repeats: int = 5
    """Interleaved runs of each side."""
    steps: int = 16_384
    """Environment steps per run, rounded up to whole rollouts."""
    backend: str = "in_process"
    """Vector backend of our side; in_process steps gymnasium as the peer does, native steps many
    environments at a time (our environments then count, not the learner alone)."""
    env_threads: int = 1
    """Threads of the native backend's physics; the peer has one."""
    out: Path | None = None
    """JSON file to write."""


def ours(work: Workload, options: Options) -> tuple[Callable[[int], None], str]:
    """A function that trains for a number of rollouts, and the backend that steps for it."""
    import robo
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector
    from robo.policies.ppo import PPO, PPOConfig
    from robo.rollout import RewardTerms
    from robo.sim.registry import GENERIC_BACKENDS

    generic = options.backend in GENERIC_BACKENDS
    threads = {} if generic else {"threads": options.env_threads}
    env = robo.make_vec(f"gym/{work.task}", work.envs, backend=options.backend, **threads)
    space: Any = env.single_observation_space
    policy = ActorCritic(space, env.single_action_space, seed=0)
    config = PPOConfig(
        epochs=work.epochs, minibatch_size=work.minibatch, normalise_observation=False
    )
    learner, collector = PPO(config, policy, seed=0), Collector(env, policy, work.steps)

    def train(rollouts: int) -> None:
        for _ in range(rollouts):
            rollout = collector.collect()
            learner.update(rollout, RewardTerms(rollout.env_reward, {"env": rollout.env_reward}))

    return train, env.backend


def theirs(work: Workload) -> Callable[[int], None]:
    """The same in Stable-Baselines3."""
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    env = DummyVecEnv([lambda: gymnasium.make(work.task) for _ in range(work.envs)])
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=work.steps,
        batch_size=work.minibatch,
        n_epochs=work.epochs,
        device="cpu",
        seed=0,
    )

    def train(rollouts: int) -> None:
        model.learn(rollouts * work.steps * work.envs, reset_num_timesteps=False)

    return train


def measure(train: Callable[[int], None], rollouts: int, steps: int) -> dict[str, float]:
    """Steps per second of wall time and of process CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    train(rollouts)
    return {
        "wall": rollouts * steps / (time.perf_counter() - wall),
        "cpu": rollouts * steps / (time.process_time() - cpu),
    }


def summary(runs: list[dict[str, float]], clock: str) -> dict[str, float]:
    """Median, lowest and highest of one clock."""
    figures = [run[clock] for run in runs]
    return {"median": statistics.median(figures), "low": min(figures), "high": max(figures)}


def row_of(work: Workload, options: Options) -> dict[str, Any]:
    """Measure one workload on both sides, taking turns."""
    size = work.envs * work.steps
    rollouts = max(1, -(-options.steps // size))
    train_ours, backend = ours(work, options)
    sides = {"ours": train_ours, PEER: theirs(work)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for train in sides.values():
        train(1)
    for _ in range(options.repeats):
        for name, train in sides.items():
            runs[name].append(measure(train, rollouts, size))
    ratios = {
        clock: [a[clock] / b[clock] for a, b in zip(runs["ours"], runs[PEER], strict=True)]
        for clock in ("cpu", "wall")
    }
    return {
        "name": work.name,
        "unit": "environment steps per process CPU second",
        "ours": summary(runs["ours"], "cpu")["median"],
        "peers": {PEER: summary(runs[PEER], "cpu")["median"]},
        "ratio_to_best": statistics.median(ratios["cpu"]),
        "ratio_range": [min(ratios["cpu"]), max(ratios["cpu"])],
        "ratio_wall": statistics.median(ratios["wall"]),
        "cpu": {name: summary(some, "cpu") for name, some in runs.items()},
        "wall": {name: summary(some, "wall") for name, some in runs.items()},
        "backend": backend,
        "workload": asdict(work),
        "steps_per_run": rollouts * size,
        "runs": options.repeats,
    }


def main(options: Options) -> None:
    """Measure every workload; the last line printed is one JSON object."""
    from robo.policies.threads import set_threads

    set_threads(1)
    rows = []
    for work in WORKLOADS:
        row = row_of(work, options)
        rows.append(row)
        print(
            f"{work.name}: ours {row['ours']:,.0f}, {PEER} {row['peers'][PEER]:,.0f} steps/CPU s,"
            f" ratio {row['ratio_to_best']:.2f} (wall {row['ratio_wall']:.2f})"
        )
    packages = ("torch", "numpy", "gymnasium", "mujoco", PEER)
    result = {
        "benchmark": "ppo_throughput",
        "rows": rows,
        "backend": options.backend,
        "threads": 1,
        "env_threads": options.env_threads,
        "versions": {name: version(name) for name in packages},
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
