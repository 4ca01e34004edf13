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

import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

if TYPE_CHECKING:
    from robo.sim.contract import VectorEnvironment

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
    rollouts: int = 10_240
    """Episodes of training per run."""
    num_envs: int = 64
    """Environments stepped together: rollouts between two updates."""
    group_size: int = 8
    """Episodes from each initial state."""
    encoder_iterations: int = 60
    """Training steps of the video encoder."""
    views: tuple[str, ...] = ("front", "wrist")
    """Camera roles that the encoder sees."""
    evaluate_every: int = 5
    """Updates between two evaluations."""
    stop: float = 0.97
    """A run ends early at this success on the selection seeds."""
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


def prepare(run: Run, folder: Path) -> dict[str, Any]:
    """Demonstrations, the policy cloned from them and the encoder: what both arms begin with."""
    import torch

    import robo
    from robo.policies.evaluate import evaluate
    from robo.policies.policy_files import load_policy
    from robo.policies.srpo_presets import GroupSettings
    from robo.policies.srpo_training import encoder_for_groups
    from robo.rollout import CameraSchedule

    torch.set_num_threads(1)
    settings = run.settings
    seed, envs = settings["seed"], settings["num_envs"]
    camera = CameraSchedule(tuple(settings["views"]))
    attempts = range(first := 105_000 + 10_000 * seed, first + envs)
    env = robo.make_vec(settings["task"], envs)
    try:
        found = demonstrate(settings, env, folder)
        policy = load_policy(folder / "cloned")
        report = evaluate(policy, env, range(5000, 5000 + settings["report_episodes"]))
        began = time.perf_counter()
        groups = GroupSettings(encoder_iterations=settings["encoder_iterations"])
        fitted = encoder_for_groups(
            Path(found["store"]), env, folder / "cloned", groups, camera, attempts, seed,
            folder / "video-encoder",
        )  # fmt: skip
    finally:
        env.close()
    return {
        **found,
        "report": report["success_rate"],
        "encoder": fitted,
        "encoder_seconds": time.perf_counter() - began,
    }


def demonstrate(settings: dict[str, Any], env: VectorEnvironment, folder: Path) -> dict[str, Any]:
    """Clone the most demonstrations by which a policy is no better than it may begin."""
    from robo.commands.collect import Collect
    from robo.data import EpisodeStore
    from robo.policies.evaluate import evaluate
    from robo.policies.policy_files import load_policy
    from robo.policies.srpo_presets import GroupSettings
    from robo.policies.srpo_training import clone_for_groups
    from robo.policies.train_config import lift_network

    first, views = 100_000 + 10_000 * settings["seed"], tuple(settings["views"])
    out = folder / "demonstrations"
    Collect(settings["task"], demonstrations=COUNTS[0], seed=first, views=views, out=out).run()
    with EpisodeStore(out / "episodes", mode="r") as source:
        episodes = [source.read(index) for index in range(len(source))]
    store, cloned, found = folder / "episodes", folder / "cloned", {}
    for count in COUNTS:
        shutil.rmtree(store, ignore_errors=True)
        with EpisodeStore(store) as target:
            for episode in episodes[:count]:
                target.append(episode)
        clone_for_groups(store, env, lift_network(), GroupSettings(), settings["seed"], cloned)
        score = evaluate(load_policy(cloned), env, range(9000, 9100))
        found = {"demonstrations": count, "cloned": score["success_rate"], "store": str(store)}
        if score["success_rate"] <= HIGHEST_START:
            break
    return found


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
    """Groups from the cloned policy, then the report."""
    import torch

    import robo
    from robo.policies.evaluate import evaluate
    from robo.policies.policy_files import load_policy
    from robo.policies.run_folder import find_policy
    from robo.policies.srpo_presets import GroupSettings, group_ppo
    from robo.policies.srpo_training import group_train_config
    from robo.policies.train_config import TrainConfig, lift_network
    from robo.policies.trainer import make_trainer
    from robo.rollout import CameraSchedule

    torch.set_num_threads(1)
    settings = run.settings
    began = Path(settings["began"])
    env = robo.make_vec(settings["task"], settings["num_envs"])
    groups = GroupSettings(group_size=settings["group_size"], progress=settings["arm"] == "srpo")
    base = TrainConfig(
        task=settings["task"],
        num_envs=settings["num_envs"],
        total_steps=settings["rollouts"] * (env.max_episode_steps or 0),
        group_size=groups.group_size,
        seed=settings["seed"],
        ppo=group_ppo(),
        network=lift_network(),
        start_from=began / "cloned",
        evaluate_every_steps=1,
        evaluate_seeds="9000-9099",
        stop_success=settings["stop"],
        checkpoint_every_iterations=1000,
    )
    camera = CameraSchedule(tuple(settings["views"]))
    encoder = str(began / "video-encoder")
    config = group_train_config(groups, base, encoder, began / "episodes", camera)
    curve, timing = Curve(settings["num_envs"]), Timing()
    trainer = make_trainer(
        config, folder / "run", callbacks=[curve, timing, Pace(settings)], show=False
    )
    try:
        trainer.run()
        curve.see(trainer, trainer.iteration)
        policy = load_policy(find_policy(folder / "run"))
        seeds = range(5000, 5000 + settings["report_episodes"])
        report = evaluate(policy, env, seeds)
    finally:
        trainer.close()
        env.close()
    return {
        "curve": list(curve.points.values()),
        "rollouts": trainer.iteration * settings["num_envs"],
        "rollouts_to_level": curve.first_at(LEVEL),
        "success": report["success_rate"],
        "successes": report["successes"],
        "episodes": report["episodes"],
        "seconds": timing.seconds,
    }


class Timing:
    """Callback: adds up the seconds of collecting, rewarding and updating."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.seconds: dict[str, float] = {}

    def __call__(self, iteration: Any) -> None:
        """Add this iteration's."""
        for part in ("collect", "reward", "update"):
            spent = iteration.metrics[f"time/{part}"]
            self.seconds[part] = self.seconds.get(part, 0.0) + spent


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
    """Beginnings, then the arms, then the table."""
    study = Study(options.work)
    begin = ("num_envs", "encoder_iterations", "report_episodes")
    common = {name: getattr(options, name) for name in begin} | {"views": list(options.views)}
    names = ("rollouts", "group_size", "evaluate_every", "stop")
    learner = {name: getattr(options, name) for name in names}
    beginnings, runs = [], []
    for seed in options.seeds:
        for task in options.tasks:
            place = {"task": task, "seed": seed, **common}
            beginning = Run(f"begin-{task[7:]}-{seed}", place)
            beginnings.append(beginning)
            began = str(options.work / beginning.name)
            runs += [
                Run(f"{arm}-{task[7:]}-{seed}", {**place, **learner, "arm": arm, "began": began})
                for arm in options.arms
            ]

    def show(run: Run, result: dict[str, Any] | None) -> None:
        text = "failed"
        if result is not None and "cloned" in result:
            text = f"{result['cloned']:.0%} from {result['demonstrations']} demonstrations"
        elif result is not None:
            text = f"{result['success']:.0%}, {result['rollouts_to_level']} rollouts to {LEVEL:.0%}"
        print(f"{run.name}: {text}", flush=True)

    began = time.monotonic()
    failed = execute(study, beginnings, prepare, options.workers, options.minutes, show)
    found = {beginning.name: study.result(beginning) for beginning in beginnings}
    ready = [run for run in runs if found[Path(run.settings["began"]).name] is not None]
    left = options.minutes
    if left is not None:
        left = max(0.0, left - (time.monotonic() - began) / 60)
    failed += execute(study, ready, train, options.workers, left, show)
    publish(summary(options, study, runs, found, failed), options.out)


def summary(
    options: Options,
    study: Study,
    runs: list[Run],
    beginnings: dict[str, dict[str, Any] | None],
    failed: list[Run],
) -> dict[str, Any]:
    """Per task and arm what every seed gave; the target counts only over all runs."""
    from robo.policies.group_collector import FIRST_SEED

    done = []
    for run in runs:
        began = beginnings[Path(run.settings["began"]).name]
        result = study.result(run)
        if began is not None and result is not None:
            place = {name: run.settings[name] for name in ("task", "arm", "seed")}
            start = {name: began[name] for name in ("demonstrations", "cloned", "report")}
            done.append({**place, **start, **result})
    rows = []
    for task in dict.fromkeys(result["task"] for result in done):
        for arm in options.arms:
            mine = [r for r in done if (r["task"], r["arm"]) == (task, arm)]
            names = ("seed", "demonstrations", "cloned", "report", "success", "rollouts_to_level")
            if mine:
                columns = {name: [result[name] for result in mine] for name in names}
                rows.append({"name": f"{task} {arm}", "task": task, "arm": arm, **columns})
    everything = {arm: [r["success"] for r in done if r["arm"] == arm] for arm in options.arms}
    means = {arm: statistics.fmean(found) for arm, found in everything.items() if found}
    unfinished = len(runs) - len(done)
    low_starts = bool(done) and all(result["cloned"] <= HIGHEST_START for result in done)
    return {
        "benchmark": "srpo_learning",
        "level": LEVEL,
        "highest_start": HIGHEST_START,
        "rows": rows,
        "mean_success": means,
        "target": TARGET,
        "starts_low": low_starts,
        "target_met": not unfinished and low_starts and means.get("srpo", 0.0) >= TARGET,
        "states": {
            "demonstrations": "100000 + 10000 seed and on",
            "attempts": f"105000 + 10000 seed and on, {options.num_envs}",
            "training": f"drawn from {FIRST_SEED} and on",
            "selection": "9000-9099",
            "report": f"5000-{4999 + options.report_episodes}",
        },
        "tasks": list(options.tasks),
        "seeds": list(options.seeds),
        "rollouts": options.rollouts,
        "stop": options.stop,
        "group_size": options.group_size,
        "timeout": "group advantages, no bootstrap",
        "runs": done,
        "unfinished": unfinished,
        "failed": [run.name for run in failed],
        "machine": machine(),
    }


if __name__ == "__main__":
    one_thread()
    sys.path.insert(0, str(Path(__file__).parent))
    main(tyro.cli(Options, description=__doc__))
