"""PPO on mujoco/Lift with any potential, watched for exploitation: what GRM studies share."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _study import Run, Study
from shaping_value import (
    ENVS,
    EVALUATE_EVERY,
    REPORT_SEEDS,
    SELECTION_SEEDS,
    SOLVED,
    STEPS,
    STOP,
    TASK,
    Watch,
    report,
)


@dataclass(frozen=True)
class ArmOptions:
    """Options of a study of several arms on mujoco/Lift."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of PPO."""
    total_steps: int = 300_000
    """Environment steps of each run."""
    demonstrations: int = 30
    """Of each task, for each model."""
    iterations: int = 400
    """Training steps of each model."""
    minutes: float | None = None
    """Start no run later than this."""
    workers: int = 2
    """Runs at a time, one thread each."""


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line a run."""
    took = "failed" if result is None else f"done, {result['wall_seconds']:.0f} s"
    print(f"{run.name}: {took}", file=sys.stderr, flush=True)


def median_steps(steps: Sequence[int | None]) -> float | None:
    """Median in which a run that did not get there counts as infinite; None for infinity."""
    median = statistics.median([float("inf") if step is None else step for step in steps])
    return None if median == float("inf") else median


def largest(values: Sequence[float | None]) -> float | None:
    """The largest; None where one is not known, since that one might have been it."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def row_of(arm: str, own: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One arm over its finished runs (results of :func:`train_lift`)."""
    watched = [run["hacking"] for run in own]
    excess = [found["excess"] for found in watched]
    steps = [run["steps_to_80"] for run in own]
    return {
        "name": arm,
        "runs": len(own),
        "success": [run["success"] for run in own],
        "median_success": statistics.median(run["success"] for run in own),
        "steps_to_80": steps,
        "median_steps_to_80": median_steps(steps),
        "steps": [run["steps"] for run in own],
        "potential": [found["potential"] for found in watched],
        "true_progress": [found["true_progress"] for found in watched],
        "excess": excess,
        "excess_of_failures": [found.get("excess_of_failures") for found in watched],
        "worst_excess": largest(excess),
        "largest_excess_in_training": max(
            (
                row["potential"] - row["true_progress"]
                for run in own
                for row in run["training"]
                if row["potential"] is not None
            ),
            default=None,
        ),
        "counts": [run["reward_counts"] for run in own],
        "cpu_seconds": [run["cpu_seconds"] for run in own],
    }


def rows_of(arms: Sequence[str], study: Study, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each arm that has a finished run."""
    done = [result for run in runs if (result := study.result(run)) is not None]
    return [row_of(arm, own) for arm in arms if (own := [run for run in done if run["arm"] == arm])]


def setting(options: ArmOptions) -> dict[str, Any]:
    """What a table must say of the runs."""
    return {
        "task": TASK,
        "timeout": "keep",
        "seeds": list(options.seeds),
        "total_steps": options.total_steps,
        "demonstrations": options.demonstrations,
        "iterations": options.iterations,
        "evaluate_every_steps": EVALUATE_EVERY,
        "selection_seeds": SELECTION_SEEDS,
        "report_seeds": REPORT_SEEDS,
    }


def train_lift(
    reward: Any, seed: int, total_steps: int, folder: Path, timeout: str = "keep"
) -> dict[str, Any]:
    """Train with ``reward`` and report on unseen seeds.

    Returns:
        As ``shaping_value.train_arm``, and ``steps_to_80``, the first evaluation with 80 % of the
        selection seeds.
    """
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.policies.trainer import Trainer
    from robo.sim.registry import make_vec

    config = TrainConfig(
        task=TASK,
        num_envs=ENVS,
        steps_per_rollout=STEPS,
        total_steps=total_steps,
        seed=seed,
        ppo=replace(lift_ppo(), timeout=timeout),  # type: ignore[arg-type]
        network=lift_network(),
        evaluate_every_steps=EVALUATE_EVERY,
        evaluate_seeds=SELECTION_SEEDS,
        stop_success=STOP,
        checkpoint_every_iterations=1_000_000,
    )
    watch = Watch()
    env, judge = (make_vec(TASK, count, threads=1) for count in (ENVS, 50))
    trainer = Trainer(config, env, reward, folder, judge, callbacks=[watch], show=False)
    try:
        result = trainer.run()
        watch.see(trainer.last_evaluation)
        final = report(Path(result["policy"]), judge)
    finally:
        trainer.close()
    curve = watch.curve()
    first = {
        share: next((entry["step"] for entry in curve if entry["success"] >= share), None)
        for share in (0.8, SOLVED)
    }
    return {
        "seed": seed,
        "steps": result["steps"],
        "steps_to_80": first[0.8],
        "steps_to_90": first[SOLVED],
        **final,
        "hacking": watch.hacking(),
        "reward_counts": result["reward_counts"],
        "curve": curve,
        "training": watch.rows,
    }
