"""Environment steps until PPO solves CartPole-v1 (475) and Pendulum-v1 (-250).

Solved: the mean return of the last 50 training episodes reaches the threshold. Figures of
Stable-Baselines3 2.9.2 with rl-zoo settings were measured once on a 2-core machine (3 seeds
each) and are quoted, not run here.

    python benchmarks/ppo_sample_efficiency.py --out benchmarks/results/ppo_sample_efficiency.json
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import machine, publish

WINDOW = 50
QUOTED = {
    "gym/CartPole-v1": {"stable-baselines3 2.9.2, rl-zoo": 39_128},
    "gym/Pendulum-v1": {"stable-baselines3 2.9.2, rl-zoo": 54_404},
}


@dataclass(frozen=True)
class Options:
    """Measure PPO's sample efficiency on two classic tasks."""

    seeds: tuple[int, ...] = (20, 21, 22, 23, 24)
    """One run per seed and task."""
    tasks: tuple[str, ...] = ("gym/CartPole-v1", "gym/Pendulum-v1")
    """Tasks with a preset."""
    out: Path | None = None
    """JSON file to write."""


def steps_to_solve(task: str, seed: int) -> dict[str, Any]:
    """Train with the task's preset until it is solved or the preset's steps are used up."""
    import robo
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector
    from robo.policies.ppo import PPO
    from robo.policies.presets import PRESETS
    from robo.rollout import RewardTerms

    preset = PRESETS[task]
    env = robo.make_vec(task, preset.num_envs, backend="in_process")
    space: Any = env.single_observation_space
    policy = ActorCritic(space, env.single_action_space, preset.network, seed=seed)
    learner = PPO(preset.ppo, policy, seed=seed)
    collector = Collector(env, policy, preset.steps, seed=seed)
    returns: deque[float] = deque(maxlen=WINDOW)
    started, taken, best = time.process_time(), 0, -float("inf")
    size = preset.steps * preset.num_envs
    while taken + size <= preset.total_steps:
        rollout = collector.collect()
        taken += size
        returns.extend(episode.env_return for episode in collector.finished)
        if len(returns) == WINDOW:
            best = max(best, statistics.fmean(returns))
            if best >= preset.solved_at:
                break
        terms = RewardTerms(rollout.env_reward, {"env": rollout.env_reward})
        learner.update(rollout, terms, 1.0 - taken / preset.total_steps)
    env.close()
    return {
        "seed": seed,
        "steps": taken,
        "solved": best >= preset.solved_at,
        "best_mean_return": best,
        "cpu_seconds": round(time.process_time() - started, 2),
    }


def row_of(task: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """All seeds of one task; an unsolved run counts as infinitely many steps."""
    runs = [steps_to_solve(task, seed) for seed in seeds]
    for run in runs:
        print(task, run)
    steps = [run["steps"] if run["solved"] else float("inf") for run in runs]
    median = statistics.median(steps)
    solved = median != float("inf")
    peers = QUOTED[task]
    return {
        "name": task,
        "unit": "environment steps until solved, median over seeds",
        "ours": median if solved else None,
        "peers": peers,
        "ratio_to_best": min(peers.values()) / median if solved else None,
        "lower_is_better": True,
        "runs": runs,
    }


def main(options: Options) -> None:
    """Measure; the last line printed is one JSON object."""
    from robo.policies.threads import set_threads

    set_threads(1)
    result = {
        "benchmark": "ppo_sample_efficiency",
        "rows": [row_of(task, options.seeds) for task in options.tasks],
        "peers_are": "quoted from one earlier measurement, not run here",
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
