"""PPO on ``mujoco/Lift`` from state, end to end, against bare physics.

Bare physics is ``mujoco.batch`` stepping the same 64 simulations by the same 10 substeps, with
random controls, and nothing else. Ours adds control, observations, acting, resets, reward,
advantage and the PPO update of the demo. Runs are interleaved; figures are medians, environment
steps per wall second.

    python benchmarks/lift_throughput.py --out benchmarks/results/lift_throughput.json
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro


@dataclass(frozen=True)
class Options:
    """Measure mujoco/Lift end to end against its physics."""

    repeats: int = 5
    """Interleaved runs of each side."""
    rollouts: int = 6
    """Rollouts of 64 x 60 steps per run."""
    out: Path | None = None
    """JSON file to write."""


def physics() -> Callable[[int], None]:
    """Step the simulations for a number of rollouts."""
    from mujoco.batch import Batch

    from robo.sim.mujoco.simulation import SUBSTEPS, load_model
    from robo.sim.mujoco.tasks import HOME, TASKS

    model = load_model(TASKS["Lift"]())
    batch = Batch(model, nsim=64)
    qpos, control = batch.bind("qpos"), batch.bind("ctrl")
    generator = np.random.default_rng(0)

    def run(rollouts: int) -> None:
        for _ in range(rollouts):
            batch.reset()
            qpos[:, :7] = HOME
            for _ in range(60):
                control[:, :7] = HOME + generator.uniform(-0.2, 0.2, (64, 7))
                batch.step(nstep=SUBSTEPS)

    return run


def learning() -> Callable[[int], None]:
    """Collect, reward and update for a number of rollouts."""
    import robo
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector
    from robo.policies.ppo import PPO
    from robo.policies.threads import set_threads
    from robo.policies.train_config import lift_network, lift_ppo
    from robo.rewards.success import SuccessReward

    set_threads(1)
    env: Any = robo.make_vec("mujoco/Lift", 64)
    policy = ActorCritic(env.single_observation_space, env.single_action_space, lift_network())
    learner, collector, reward = (
        PPO(lift_ppo(), policy),
        Collector(env, policy, 60),
        SuccessReward(),
    )

    def run(rollouts: int) -> None:
        for _ in range(rollouts):
            rollout = collector.collect()
            learner.update(rollout, reward(rollout))

    return run


def main(options: Options) -> None:
    """Interleave both sides, print and write the JSON."""
    from _study import machine, publish

    sides = {"ours": learning(), "physics": physics()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run(1)
    for _ in range(options.repeats):
        for name, run in sides.items():
            began = time.perf_counter()
            run(options.rollouts)
            rates[name].append(options.rollouts * 3840 / (time.perf_counter() - began))
    ours, bare = (statistics.median(rates[name]) for name in ("ours", "physics"))
    result = {
        "benchmark": "lift_throughput",
        "unit": "environment steps per wall second, median",
        "rows": [
            {
                "name": "mujoco/Lift from state, PPO end to end, 64 environments",
                "ours": round(ours),
                "peers": {"bare physics": round(bare)},
                "ratio_to_best": round(ours / bare, 3),
                "spread_ours": [round(min(rates["ours"])), round(max(rates["ours"]))],
                "spread_physics": [round(min(rates["physics"])), round(max(rates["physics"]))],
            }
        ],
        "repeats": options.repeats,
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
