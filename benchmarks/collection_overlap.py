"""What overlapping acting, simulation and learning gains.

    python benchmarks/collection_overlap.py

Trains for a few iterations in each mode, with a simulator that takes CPU (HalfCheetah in worker
processes), and one that only waits (as on another device or machine; in threads). The modes take
turns, so that other load on the machine meets all of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

import benchmarks._waiting  # noqa: F401
from robo.policies.learner_config import PPOConfig
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import Iteration, make_trainer
from robo.storage import write_json

RESULT = Path(__file__).parent / "results" / "collection_overlap.json"
MODES = {
    "synchronous": {},
    "2 groups": {"groups": 2},
    "overlapped": {"collection": "overlapped"},
    "overlapped, 2 groups": {"collection": "overlapped", "groups": 2},
}
TASKS = {"gym/HalfCheetah-v5": "workers", "gym/Waiting-v0": "threads"}
"""Task to backend."""


@dataclass(frozen=True)
class Config:
    """One measurement."""

    repeats: int = 5
    """Interleaved runs of each mode."""
    iterations: int = 12
    """Per run; the first four and the last, which ends in a checkpoint, are not counted."""
    out: Path = RESULT
    """JSON of the result."""


def steps_per_second(config: TrainConfig, iterations: int) -> float:
    """Environment steps per second of wall time, of whole iterations in the middle of a run."""
    moments: list[float] = []

    def remember(iteration: Iteration) -> None:
        moments.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, Path(folder), [remember], show=False)
        try:
            trainer.run()
        finally:
            trainer.close()
    batch = config.num_envs * config.steps_per_rollout
    return batch * (iterations - 5) / (moments[-2] - moments[3])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = tyro.cli(Config, args=arguments)
    result: dict[str, Any] = {"repeats": options.repeats}
    for task, backend in TASKS.items():
        base = TrainConfig(
            task=task,
            num_envs=8,
            steps_per_rollout=64,
            total_steps=8 * 64 * options.iterations,
            ppo=PPOConfig(epochs=10, minibatch_size=64),
            backend=backend,
            evaluate_every_steps=0,
            checkpoint_every_iterations=10_000,
        )
        rates: dict[str, list[float]] = {name: [] for name in MODES}
        for _ in range(options.repeats):
            for name, changes in MODES.items():
                rates[name].append(steps_per_second(replace(base, **changes), options.iterations))
        first = rates["synchronous"]
        result[task] = {
            name: {
                "steps_per_second": statistics.median(found),
                "ratio": statistics.median(a / b for a, b in zip(found, first, strict=True)),
                "all": found,
            }
            for name, found in rates.items()
        }
        print(task, {name: round(value["ratio"], 2) for name, value in result[task].items()})
    write_json(options.out, result)


if __name__ == "__main__":
    main()
