"""``backend="auto"``: measure a fraction of a second, then take the fastest vector backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from robo.sim.contract import VectorEnvironment
from robo.sim.in_process import (
    InProcessVectorEnvironment,
    ThreadVectorEnvironment,
    available_cores,
)
from robo.sim.rows import EnvironmentFactory
from robo.sim.vector import RowVectorEnvironment
from robo.sim.workers import WorkerVectorEnvironment

BACKENDS: dict[str, Callable[[Sequence[EnvironmentFactory]], RowVectorEnvironment]] = {
    "in_process": InProcessVectorEnvironment,
    "threads": ThreadVectorEnvironment,
    "workers": WorkerVectorEnvironment,
}
CHEAP = 3000.0
"""Steps per second of one environment above which processes cost more than they give."""


def steps_per_second(
    environment: VectorEnvironment, seconds: float = 0.3, warm_up: int = 2
) -> float:
    """Environment steps per second with random actions, autoresets included.

    Args:
        environment: is reset and stepped, at least one step whatever it takes.
        seconds: how long to measure.
        warm_up: steps before the clock starts.
    """
    environment.reset(seed=0)
    space = environment.single_action_space
    space.seed(0)
    actions = np.stack([np.asarray(space.sample()) for _ in range(environment.num_envs)])
    for _ in range(warm_up):
        environment.step(actions)
    start, steps, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        environment.step(actions)
        steps += 1
        elapsed = time.perf_counter() - start
    return steps * environment.num_envs / elapsed


def choose(factories: Sequence[EnvironmentFactory], seconds: float = 0.3) -> RowVectorEnvironment:
    """The fastest backend for these environments on this machine.

    Cheap environments never pay for workers: one environment is timed first, and only a slow
    one is tried with threads and processes. Environments that took part in a measurement are
    made anew, so the choice changes the speed and nothing else.

    Args:
        factories: one per environment, picklable.
        seconds: length of each measurement.
    """
    measured: dict[str, float] = {}
    num_envs = len(factories)
    probe = InProcessVectorEnvironment(factories[:1])
    measured["in_process"] = steps_per_second(probe, seconds)
    probe.close()
    cores = min(available_cores(), num_envs)
    if measured["in_process"] >= CHEAP or cores == 1:
        return _with(InProcessVectorEnvironment(factories), measured)
    threads = ThreadVectorEnvironment(factories[:cores])
    measured["threads"] = steps_per_second(threads, seconds)
    threads.close()
    workers = WorkerVectorEnvironment(factories)
    measured["workers"] = steps_per_second(workers, seconds)
    best = max(measured, key=lambda name: measured[name])
    if best == "workers":
        workers.rebuild()
        return _with(workers, measured)
    workers.close()
    return _with(BACKENDS[best](factories), measured)


def _with(environment: RowVectorEnvironment, measured: dict[str, float]) -> RowVectorEnvironment:
    environment.backend_measurements = measured
    return environment
