"""Return against PPO's batch size, 2^9 to 2^16, at equal samples, and the time to a fixed return.

Every run sees the same number of environment steps; a batch is 8 minibatches, passed 10 times.
Learning rates follow three rules, all equal at the smallest batch: ``none`` keeps it, ``sqrt``
and ``linear`` let it grow with the minibatch. The return is that of the deterministic policy on
seeds apart from training, and the time that in which the mean of the last 50 training episodes
reached the threshold.

Finished runs are files in the work folder: interrupt it, repeat the command, and it goes on.

    python benchmarks/batch_scaling.py --workers 2 --out benchmarks/results/batch_scaling.json
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

WINDOW, MINIBATCHES, EPOCHS = 50, 8, 10
RULES = ("none", "sqrt", "linear")


@dataclass(frozen=True)
class Task:
    """What is trained, and what counts as reached."""

    samples: int
    learning_rate: float
    gamma: float
    threshold: float


TASKS = {
    "gym/Pendulum-v1": Task(2**19, 1e-3, 0.9, -250.0),
    "gym/HalfCheetah-v5": Task(2**20, 3e-4, 0.99, 1500.0),
}


@dataclass(frozen=True)
class Options:
    """Study PPO's batch size."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks of the study."""
    batches: tuple[int, ...] = tuple(2**power for power in range(9, 17))
    """Environment steps per update; the first is the one at which the rules agree."""
    rules: tuple[str, ...] = RULES
    """How the learning rate grows with the minibatch."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run per seed, task, batch and rule."""
    scale: float = 1.0
    """Multiplies the samples of every run; less than 1 is a trial."""
    workers: int = 1
    """Runs at a time."""
    minutes: float | None = None
    """Start no run later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/batch_scaling")
    """Folder of the finished runs."""
    out: Path | None = None
    """JSON file to write."""


def shape_of(batch: int) -> tuple[int, int]:
    """(environments, steps): 8 environments until they take 256 steps each, then more of them."""
    steps = min(256, max(1, batch // 8))
    return batch // steps, steps


def run_one(run: Run, folder: Path) -> dict[str, Any]:
    """Train once, then evaluate."""
    import robo
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector
    from robo.policies.evaluate import evaluate
    from robo.policies.ppo import PPO, PPOConfig
    from robo.policies.threads import set_threads
    from robo.rollout import RewardTerms

    set_threads(1)
    settings = run.settings
    task, batch, seed = settings["task"], settings["batch"], settings["seed"]
    envs, steps = shape_of(batch)
    env: Any = robo.make_vec(task, envs, backend="native", threads=1)
    policy = ActorCritic(env.single_observation_space, env.single_action_space, seed=seed)
    config = PPOConfig(
        learning_rate=settings["learning_rate"],
        learning_rate_scaling=settings["rule"],
        reference_minibatch_size=settings["reference"] // MINIBATCHES,
        gamma=settings["gamma"],
        epochs=EPOCHS,
        minibatch_size=batch // MINIBATCHES,
        normalise_observation=False,
    )
    learner, collector = (
        PPO(config, policy, seed=seed),
        Collector(env, policy, steps, 10_000 * seed),
    )
    returns: deque[float] = deque(maxlen=WINDOW)
    curve: list[float | None] = []
    reached: dict[str, float] | None = None
    wall, cpu, taken = time.perf_counter(), time.process_time(), 0
    while taken < settings["samples"]:
        rollout = collector.collect()
        taken += batch
        returns.extend(episode.env_return for episode in collector.finished)
        mean = statistics.fmean(returns) if len(returns) == WINDOW else None
        if reached is None and mean is not None and mean >= settings["threshold"]:
            reached = {
                "steps": taken,
                "wall_seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
            }
        if taken * 16 // settings["samples"] > len(curve):
            curve.append(None if mean is None else round(mean, 2))
        learner.update(rollout, RewardTerms(rollout.env_reward, {"env": rollout.env_reward}))
    seconds = time.process_time() - cpu
    env.close()
    judge = robo.make_vec(task, 20, backend="native", threads=1)
    score = evaluate(policy, judge, range(900_000, 900_020))
    return {
        "return": score["mean_return"],
        "reached": reached,
        "curve": curve,
        "samples": taken,
        "updates": taken // batch,
        "train_cpu_seconds": round(seconds, 2),
    }


def plan(options: Options) -> list[Run]:
    """Runs, seed by seed; at the smallest batch the rules are one."""
    reference = min(options.batches)
    runs = []
    for seed in options.seeds:
        for task in options.tasks:
            for batch in options.batches:
                for rule in options.rules if batch > reference else ("none",):
                    settings = {
                        **asdict(TASKS[task]),
                        "samples": max(batch, int(TASKS[task].samples * options.scale)),
                        "task": task,
                        "batch": batch,
                        "rule": rule,
                        "seed": seed,
                        "reference": reference,
                    }
                    name = f"{task.partition('/')[2]}-{batch}-{rule}-{seed}"
                    runs.append(Run(name, settings))
    return runs


def rows_of(study: Study, runs: list[Run]) -> list[dict[str, Any]]:
    """One row per task, batch and rule, over its finished seeds."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for run in runs:
        result = study.result(run)
        if result is not None:
            key = (run.settings["task"], run.settings["batch"], run.settings["rule"])
            groups.setdefault(key, []).append(result)
    rows = []
    for (task, batch, rule), some in groups.items():
        returns = [one["return"] for one in some]
        walls = [one["reached"]["wall_seconds"] if one["reached"] else None for one in some]
        steps = [one["reached"]["steps"] if one["reached"] else None for one in some]
        rows.append(
            {
                "name": f"{task}, batch {batch}, learning rate {rule}",
                "unit": "return of the deterministic policy, mean over seeds",
                "task": task,
                "batch": batch,
                "rule": rule,
                "ours": statistics.fmean(returns),
                "peers": {},
                "ratio_to_best": None,
                "returns": returns,
                "wall_to_threshold": _median(walls),
                "steps_to_threshold": _median(steps),
                "threshold": TASKS[task].threshold,
                "updates": some[0]["updates"],
                "samples": some[0]["samples"],
                "train_cpu_seconds": statistics.median(one["train_cpu_seconds"] for one in some),
                "curves": [one["curve"] for one in some],
            }
        )
    return rows


def _median(values: list[float | None]) -> float | None:
    """Median with those that never got there as infinite; None where that makes it so."""
    infinite = float("inf")
    middle = statistics.median(infinite if value is None else value for value in values)
    return None if middle == infinite else middle


def main(options: Options) -> None:
    """Train all; the last line printed is one JSON object."""
    one_thread()
    runs = plan(options)
    study = Study(options.work)

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        print(run.name, "failed" if result is None else round(result["return"], 1), flush=True)

    failed = execute(study, runs, run_one, options.workers, options.minutes, tell)
    result = {
        "benchmark": "batch_scaling",
        "rows": rows_of(study, runs),
        "complete": not study.missing(runs),
        "failed": [run.name for run in failed],
        "seeds": options.seeds,
        "minibatches": MINIBATCHES,
        "epochs": EPOCHS,
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
