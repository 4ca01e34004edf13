"""Does SRPO's progress reward help where it is said to? Against the binary reward in groups.

    python benchmarks/srpo_learning.py --workers 2

On three mujoco tasks: a policy is cloned from a few scripted demonstrations, so few that it
succeeds on at most 55 % of unseen initial states; then it practises in groups from equal initial
states, once paid by SRPO (failures by how near their video came to successes) and once by success
alone. All else is equal. The study reports rollouts until 80 % of the selection seeds succeed, and
success on report seeds that neither training nor selection has used. Initial states of training,
selection and report are disjoint (in the original, training and evaluation states are the same).
Interrupt and repeat the command: it goes on.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

TASKS = ("mujoco/Reach", "mujoco/Push", "mujoco/Lift")
COUNTS = (16, 12, 8, 6, 4, 3, 2)
"""Numbers of demonstrations that are tried, from the most, until cloning is no better than this:"""
HIGHEST_START = 0.55
LEVEL = 0.8
"""Success by which speeds are compared."""
TARGET = 0.9
"""Mean success that SRPO is to reach."""


@dataclass(frozen=True)
class Options:
    """Compare SRPO's progress reward with the binary reward, group optimisation both."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of demonstrations, cloning, encoder and training."""
    tasks: tuple[str, ...] = TASKS
    """Which tasks."""
    arms: tuple[str, ...] = ("srpo", "binary")
    """Which rewards."""
    rollouts: int = 12_000
    """Episodes of training per run."""
    num_envs: int = 64
    """Environments stepped together: rollouts between two updates."""
    group_size: int = 8
    """Episodes from each initial state."""
    encoder_iterations: int = 600
    """Training steps of the video encoder."""
    views: tuple[str, ...] = ("front", "wrist")
    """Camera roles that the encoder sees."""
    evaluate_every: int = 10
    """Updates between two evaluations."""
    report_episodes: int = 200
    """Unseen initial states of the closing evaluation."""
    minutes: float | None = None
    """Start no run later than this; None: until all are done."""
    workers: int = 1
    """Runs at a time, one thread each."""
    work: Path = Path("runs/benchmarks/srpo_learning")
    """Folder of the finished runs, from which an interrupted study goes on."""
    out: Path | None = Path("benchmarks/results/srpo_learning.json")
    """JSON file to write."""


def demonstrate(settings: dict[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
    """As many demonstrations as give a policy that succeeds at most so often; it is cloned too."""
    import robo
    from robo.commands.collect import Collect
    from robo.policies.evaluate import evaluate
    from robo.policies.policy_files import load_policy
    from robo.policies.srpo_presets import GroupSettings
    from robo.policies.srpo_training import clone_for_groups
    from robo.policies.train_config import lift_network

    env = robo.make_vec(settings["task"], 50)
    found: dict[str, Any] = {}
    out = folder
    try:
        for count in COUNTS:
            out = folder / f"demonstrations-{count}"
            first = 100_000 + 10_000 * settings["seed"]
            Collect(
                settings["task"],
                demonstrations=count,
                seed=first,
                views=tuple(settings["views"]),
                out=out,
            ).run()
            store, groups = out / "episodes", GroupSettings()
            clone_for_groups(
                store, env, lift_network(), groups, settings["seed"], folder / "cloned"
            )
            score = evaluate(load_policy(folder / "cloned"), env, range(9000, 9100))
            found = {"demonstrations": count, "cloned": score["success_rate"]}
            if score["success_rate"] <= HIGHEST_START:
                break
    finally:
        env.close()
    return out / "episodes", found


class Curve:
    """Callback: rollouts and success of every evaluation."""

    def __init__(self, num_envs: int) -> None:
        """Every iteration is ``num_envs`` rollouts."""
        self.num_envs, self.points = num_envs, {}

    def __call__(self, iteration: Any) -> None:
        """See the class; an evaluation shows in the iteration after it."""
        self.see(iteration.trainer, iteration.trainer.iteration - 1)

    def see(self, trainer: Any, updates: int) -> None:
        """Note the newest evaluation."""
        last = trainer.last_evaluation
        if last is not None and last["step"] not in self.points:
            self.points[last["step"]] = (updates * self.num_envs, last["success_rate"])

    def first_at(self, level: float) -> int | None:
        """Rollouts at the first evaluation of at least ``level``."""
        return next((done for done, rate in self.points.values() if rate >= level), None)


def train(run: Run, folder: Path) -> dict[str, Any]:
    """Demonstrations, cloning, encoder, groups, report."""
    import torch

    import robo
    from robo.policies.evaluate import evaluate
    from robo.policies.policy_files import load_policy
    from robo.policies.run_folder import find_policy
    from robo.policies.srpo_presets import GroupSettings, group_ppo
    from robo.policies.srpo_training import encoder_for_groups, group_train_config
    from robo.policies.train_config import TrainConfig, lift_network
    from robo.policies.trainer import make_trainer
    from robo.rollout import CameraSchedule

    torch.set_num_threads(1)
    settings = run.settings
    store, found = demonstrate(settings, folder)
    task, envs, seed = settings["task"], settings["num_envs"], settings["seed"]
    groups = GroupSettings(
        group_size=settings["group_size"],
        progress=settings["arm"] == "srpo",
        encoder_iterations=settings["encoder_iterations"],
    )
    camera = CameraSchedule(tuple(settings["views"]))
    first = 105_000 + 10_000 * seed
    env = robo.make_vec(task, envs)
    try:
        fitted = encoder_for_groups(
            store, env, folder / "cloned", groups, camera, range(first, first + envs), seed,
            folder / "video-encoder",
        )  # fmt: skip
        updates = settings["rollouts"] // envs
        limit = env.max_episode_steps or 0
        base = TrainConfig(
            task=task,
            num_envs=envs,
            total_steps=updates * envs * limit,
            group_size=groups.group_size,
            seed=seed,
            ppo=group_ppo(),
            network=lift_network(),
            start_from=folder / "cloned",
            evaluate_every_steps=1,
            evaluate_seeds="9000-9099",
            checkpoint_every_iterations=1000,
        )
        curve = Curve(envs)
        config = group_train_config(groups, base, fitted["encoder"], store, camera)
        trainer = make_trainer(
            config, folder / "run", callbacks=[curve, Pace(settings)], show=False
        )
        try:
            trainer.run()
            curve.see(trainer, trainer.iteration)
        finally:
            trainer.close()
        policy = load_policy(find_policy(folder / "run"))
        report = evaluate(policy, env, range(5000, 5000 + settings["report_episodes"]))
    finally:
        env.close()
    return {
        **found,
        "curve": list(curve.points.values()),
        "rollouts_to_level": curve.first_at(LEVEL),
        "success": report["success_rate"],
        "encoder": fitted,
    }


class Pace:
    """Callback: evaluates at every so many updates, and ends the run after its rollouts."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """By the settings of a run."""
        self.every, self.envs = settings["evaluate_every"], settings["num_envs"]
        self.updates = settings["rollouts"] // self.envs

    def __call__(self, iteration: Any) -> None:
        """The trainer evaluates once its steps reach ``next_evaluation``."""
        trainer = iteration.trainer
        due = trainer.iteration % self.every == 0 or trainer.iteration >= self.updates
        trainer.next_evaluation = trainer.step if due else trainer.step + 10**9
        if trainer.iteration >= self.updates:
            trainer.stopped = True


def main(options: Options) -> None:
    """All runs, then the table."""
    study = Study(options.work)
    names = (
        "rollouts",
        "num_envs",
        "group_size",
        "encoder_iterations",
        "evaluate_every",
        "report_episodes",
    )
    shared = {name: getattr(options, name) for name in names} | {"views": list(options.views)}
    runs = [
        Run(f"{arm}-{task[7:]}-{seed}", {"task": task, "arm": arm, "seed": seed, **shared})
        for seed in options.seeds
        for task in options.tasks
        for arm in options.arms
    ]

    def show(run: Run, result: dict[str, Any] | None) -> None:
        text = "failed"
        if result is not None:
            text = (
                f"{result['cloned']:.0%} -> {result['success']:.0%}, "
                f"{result['rollouts_to_level']} rollouts to {LEVEL:.0%}"
            )
        print(f"{run.name}: {text}", flush=True)

    failed = execute(study, runs, train, options.workers, options.minutes, show)
    publish(summary(study, runs, failed), options.out)


def summary(study: Study, runs: list[Run], failed: list[Run]) -> dict[str, Any]:
    """Per task and arm: medians of rollouts, means of success."""
    done = [(run.settings, result) for run in runs if (result := study.result(run)) is not None]
    rows, means = [], {}
    for arm in dict.fromkeys(settings["arm"] for settings, _ in done):
        everything = [result["success"] for settings, result in done if settings["arm"] == arm]
        means[arm] = statistics.fmean(everything)
        for task in dict.fromkeys(settings["task"] for settings, _ in done):
            mine = [r for s, r in done if (s["arm"], s["task"]) == (arm, task)]
            if mine:
                reached = [r["rollouts_to_level"] for r in mine]
                rows.append(
                    {
                        "name": f"{task} {arm}",
                        "cloned": statistics.fmean(r["cloned"] for r in mine),
                        "success": statistics.fmean(r["success"] for r in mine),
                        "rollouts_to_level": reached,
                        "seeds": len(mine),
                    }
                )
    return {
        "benchmark": "srpo_learning",
        "level": LEVEL,
        "rows": rows,
        "mean_success": means,
        "target": TARGET,
        "target_met": means.get("srpo", 0.0) >= TARGET,
        "runs": [{**settings, **result} for settings, result in done],
        "unfinished": len(runs) - len(done),
        "failed": [run.name for run in failed],
        "machine": machine(),
    }


if __name__ == "__main__":
    one_thread()
    sys.path.insert(0, str(Path(__file__).parent))
    main(tyro.cli(Options, description=__doc__))
