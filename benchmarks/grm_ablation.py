"""What each part of the General Reward Model is worth to PPO on mujoco/Lift.

    python benchmarks/grm_ablation.py --workers 2

Arms, one PPO, sparse success as gold, time-outs "keep":

* full: hops fused (mean of incremental, forward and backward), multi-view, fitted on Lift;
* incremental, forward, backward: one perspective of the same model;
* consistent: the consistency-weighted fusion;
* no_shaping: sparse success alone;
* one_shot: a model of mujoco/Reach and mujoco/Push, adapted by one demonstration of Lift;
* no_adaptation: the same model, not adapted, shown the demonstration's START and GOAL;
* single_view: fitted on Lift from the front view alone, fused.

Reported: success on unseen seeds, and the steps to 80 % of the selection seeds. Interrupt it and
repeat the command, and it goes on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from _grm_training import ArmOptions, rows_of, setting, tell
from _study import Run, Study, execute, machine, minutes_left, one_thread, publish

RESULT = Path(__file__).parent / "results" / "grm_ablation.json"
Arm = Literal[
    "full",
    "incremental",
    "forward",
    "backward",
    "consistent",
    "no_shaping",
    "one_shot",
    "no_adaptation",
    "single_view",
]
ARMS: tuple[Arm, ...] = (
    "full",
    "no_shaping",
    "backward",
    "forward",
    "incremental",
    "single_view",
    "one_shot",
    "no_adaptation",
    "consistent",
)
"""In order of importance."""
MODEL: dict[str, tuple[str, str]] = {
    "full": ("lift", "mean"),
    "incremental": ("lift", "incremental"),
    "forward": ("lift", "forward"),
    "backward": ("lift", "backward"),
    "consistent": ("lift", "consistent"),
    "one_shot": ("one_shot", "mean"),
    "no_adaptation": ("no_adaptation", "mean"),
    "single_view": ("single_view", "mean"),
}
"""Arm to (model, progress mode)."""
STRIDE = 5


@dataclass(frozen=True)
class Options(ArmOptions):
    """Leave out parts of the GRM one by one; one set of models serves all seeds."""

    arms: tuple[Arm, ...] = ARMS
    """Arms to run."""
    work: Path = Path("runs/benchmarks/grm_ablation")
    """Folder of the finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def fit_models(run: Run, folder: Path) -> dict[str, Any]:
    """All models. Settings: demonstrations, iterations."""
    from robo.commands.adapt import one_demonstration
    from robo.commands.collect import Collect, record
    from robo.commands.demo import FAILURES
    from robo.commands.fit import FitGRM, fit, references_of
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.fit import FitConfig

    count, iterations = run.settings["demonstrations"], run.settings["iterations"]
    few = tuple(f"{name.partition(':')[0]}:{max(1, count // 2)}" for name in FAILURES)
    for name, failures in (("Lift", FAILURES if count >= 30 else few), ("Reach", ()), ("Push", ())):
        record(
            Collect(
                task=f"mujoco/{name}",
                demonstrations=count,
                failures=failures,
                seed=100_000,
                out=folder / name,
            )
        )
    config = FitConfig(iterations)
    fit(FitGRM(folder / "Lift", config, out=folder / "lift"))
    front = FitConfig(iterations, views=("front",))
    fit(FitGRM(folder / "Lift", front, out=folder / "single_view"))
    fit(FitGRM(folder / "Reach", config, also=(folder / "Push",), out=folder / "base"))
    demo = f"{folder / 'Lift'}:0"
    adapted = FitConfig(max(1, iterations * 3 // 4), learning_rate=1e-3)
    fit(
        FitGRM(
            folder / "Reach",
            adapted,
            also=(folder / "Push",),
            adapt=folder / "base",
            demos=demo,
            out=folder / "one_shot",
        )
    )
    plain, shown = CompactGRM.load(folder / "base"), one_demonstration(demo)
    plain.set_task(shown.info.task, shown.info.instruction, references_of(shown))
    plain.use_task(shown.info.task)
    plain.save(folder / "no_adaptation")
    return {"folder": str(folder)}


def train_arm(run: Run, folder: Path) -> dict[str, Any]:
    """One run of PPO. Settings: arm, seed, total_steps, models."""
    from _grm_training import train_lift

    from robo.policies.train_config import lift_ppo
    from robo.rewards.grm.potential import GRMPotential
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward

    arm = run.settings["arm"]
    reward: Any = SuccessReward()
    if arm != "no_shaping":
        model, mode = MODEL[arm]
        potential = GRMPotential.load(Path(run.settings["models"]) / model, mode, STRIDE)
        reward = ShapedReward(reward, potential, lift_ppo().gamma, "keep")
    seed, steps = run.settings["seed"], run.settings["total_steps"]
    return {"arm": arm, **train_lift(reward, seed, steps, folder)}


def stage(run: Run, folder: Path) -> dict[str, Any]:
    """Dispatch by the run's kind."""
    return train_arm(run, folder) if "arm" in run.settings else fit_models(run, folder)


def main(options: Options) -> int:
    """Run what is missing, and publish what there is."""
    study, began = Study(options.work), time.monotonic()
    settings = {"demonstrations": options.demonstrations, "iterations": options.iterations}
    models = Run("models", settings)
    execute(study, [models], stage, 1, options.minutes, tell)
    found = study.result(models)
    runs = [
        Run(
            f"{arm}-s{seed}",
            {
                "arm": arm,
                "seed": seed,
                "total_steps": options.total_steps,
                "models": found["folder"],
                **settings,
            },
        )
        for seed in options.seeds
        for arm in options.arms
        if found is not None
    ]
    left = minutes_left(options.minutes, began)
    execute(study, runs, stage, options.workers, left, tell)
    complete = bool(runs) and not study.missing(runs)
    result = {
        "benchmark": "grm_ablation",
        "rows": rows_of(options.arms, study, runs),
        **setting(options),
        "complete": complete,
        "machine": machine(),
    }
    publish(result, options.out if complete else None)
    return 0 if complete else 1


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
