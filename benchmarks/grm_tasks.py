"""One compact GRM over several tasks, and its one-shot adaptation to a task it has not seen.

    python benchmarks/grm_tasks.py --workers 2

Six tasks of two simulators are learned together from demonstrations and spoiled attempts. On
episodes of other seeds: value-order correlation forwards and backwards, success against failure,
and the paper's completion rule (success, partial, failure). Then one demonstration of the held-out
task adapts the model, and the same figures are taken before and after. Interrupt it and repeat the
command, and it goes on.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _grm_judging import LIMITS, figures, means, passes
from _study import Run, Study, execute, machine, minutes_left, one_thread, publish

from robo.sim.mujoco.expert import ExpertStyle

RESULT = Path(__file__).parent / "results" / "grm_tasks.json"
TASKS = (
    "mujoco/Reach",
    "mujoco/Push",
    "mujoco/Lift",
    "robosuite/Lift",
    "robosuite/PickPlaceCan",
    "robosuite/Door",
)
HELD_OUT = "robosuite/Stack"
VIEWS = ("front", "side", "wrist")
STRIDE = {"mujoco": 1, "robosuite": 2}
"""Steps between two frames, by simulator: an expert needs 7 steps for mujoco/Reach."""
HORIZON = {"robosuite/PickPlaceCan": 200, "robosuite": 120, "mujoco": None}
"""Time limit by task or simulator, steps; robosuite's own, 500, shows standing still for long."""


@dataclass(frozen=True)
class Options:
    """Fit one GRM on several tasks and adapt it to another."""

    tasks: tuple[str, ...] = TASKS
    """Tasks learned together."""
    held_out: str = HELD_OUT
    """Task that one demonstration adapts to."""
    demonstrations: int = 30
    """Of each task, for learning."""
    failures: int = 20
    """Of each task and of each of two kinds, for learning."""
    test: int = 20
    """Held-out episodes of each task: so many successes, and so many of each kind of failure."""
    size: int = 64
    """Height and width of the images in pixels."""
    iterations: int = 1500
    """Training steps of the common model."""
    adapt_iterations: int = 300
    """Training steps of the adaptation."""
    mode: str = "mean"
    """Progress mode of the figures."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the fits."""
    minutes: float | None = None
    """No stage starts later than this."""
    workers: int = 1
    """Stages at a time."""
    work: Path = Path("runs/benchmarks/grm_tasks")
    """Folder of finished stages."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def record(run: Run, folder: Path) -> dict[str, Any]:
    """Episodes of one task. Settings: task, seed, size, demonstrations, failures, detour."""
    import torch._dynamo  # noqa: F401  (before the cameras' GL context)
    from _grm_actors import STALLS, WANDERS, Spoiled, judged, time_to_go

    from robo.data import EpisodeStore
    from robo.sim.experts import make_expert
    from robo.sim.registry import make_vec

    task, seed = run.settings["task"], run.settings["seed"]
    simulator = task.partition("/")[0]
    horizon = HORIZON.get(task, HORIZON[simulator])
    options = {} if horizon is None else {"horizon": horizon}
    env = make_vec(task, 8 if simulator == "mujoco" else 1, **options)
    counts: Counter[str] = Counter()
    style = ExpertStyle(noise=0.15, slowest=0.7, detour=run.settings["detour"])
    try:
        expert = make_expert(task, style, seed)
        size = run.settings["size"]
        demos = _episodes(env, expert, size, seed, True, run.settings["demonstrations"])
        usual = Counter(len(demo.keyframes) for demo in demos).most_common(1)[0][0]
        demos = [demo for demo in demos if len(demo.keyframes) == usual]
        first = float(np.median([min([*d.keyframes.values(), len(d)]) for d in demos]))
        worth = time_to_go(demos, first) if usual == 0 else None
        with EpisodeStore(folder / "episodes") as store:
            store.extend(demos)
            counts["demonstrations"] = len(demos)
            for place, kind in enumerate((WANDERS, STALLS)):
                base = seed + 10_000 * (place + 1)
                other = make_expert(task, replace(style, detour=0.0), base)
                actor = Spoiled(other, kind, usual + 1, first, base)
                made = _episodes(
                    env,
                    actor,
                    size,
                    base,
                    False,
                    run.settings["failures"],
                    lambda episode: judged(episode, usual + 1, first, worth),
                )
                store.extend(made)
                counts[kind] = len(made)
    finally:
        env.close()
    return {"store": str(folder / "episodes"), "subtasks": usual + 1, **counts}


def _episodes(
    env: Any,
    actor: Any,
    size: int,
    seed: int,
    success: bool,
    count: int,
    keep: Callable[[Any], Any] = lambda episode: episode,
) -> list[Any]:
    """``count`` episodes with that outcome that ``keep`` gives back."""
    from robo.errors import RoboError
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule

    if count == 0:
        return []
    camera = CameraSchedule(VIEWS, size, size, STRIDE[env.task.partition("/")[0]])
    kept: list[Any] = []
    for episode in stream_episodes(env, actor, range(seed, seed + 10 * count + 40), camera, False):
        fitting = keep(episode) if episode.success == success else None
        if fitting is not None:
            kept.append(fitting)
        if len(kept) == count:
            return kept
    raise RoboError(f"only {len(kept)} of {count} episodes of {env.task} had success {success}")


def learn(run: Run, folder: Path) -> dict[str, Any]:
    """The common model. Settings: stores, iterations, seed."""
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit_config import FitConfig

    first, *others = [Path(store) for store in run.settings["stores"]]
    options = FitConfig(
        run.settings["iterations"], seed=run.settings["seed"], views=VIEWS, episodes_per_step=20
    )
    return fit(FitGRM(first, options, also=tuple(others), out=folder / "grm"))


def adapt(run: Run, folder: Path) -> dict[str, Any]:
    """One-shot adaptation and its report. Settings: see :func:`main`."""
    from robo.commands.adapt import one_demonstration
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.fit_config import FitConfig

    first, *others = [Path(store) for store in run.settings["old"]]
    options = FitConfig(
        run.settings["iterations"], seed=run.settings["seed"], learning_rate=1e-3, views=VIEWS
    )
    demo = run.settings["demo"]
    summary = fit(
        FitGRM(
            first,
            options,
            also=tuple(others),
            adapt=Path(run.settings["grm"]),
            demos=demo,
            out=folder / "grm",
        )
    )
    from robo.commands.fit import references_of

    before, shown = CompactGRM.load(run.settings["grm"]), one_demonstration(demo)
    before.set_task(shown.info.task, shown.info.instruction, references_of(shown))
    after = CompactGRM.load(folder / "grm")
    test, mode = run.settings["test"], run.settings["mode"]
    return {
        "loss_last": summary["loss_last"],
        "before": figures(before, test, mode),
        "after": figures(after, test, mode),
    }


def assess(run: Run, folder: Path) -> dict[str, Any]:
    """Figures of the common model on held-out episodes. Settings: grm, tests, mode.

    ``untrained`` are those of fresh weights with the same references: what chance reaches.
    """
    import torch

    from robo.rewards.grm.compact import CompactGRM

    grm = CompactGRM.load(run.settings["grm"])
    torch.manual_seed(0)
    fresh = CompactGRM(grm.config).eval()
    for task, (instruction, reference) in grm.tasks.items():
        fresh.set_task(task, instruction, reference)
    return {
        name: {
            task: figures(model, store, run.settings["mode"])
            for task, store in run.settings["tests"].items()
        }
        for name, model in (("tasks", grm), ("untrained", fresh))
    }


def stage(run: Run, folder: Path) -> dict[str, Any]:
    """Dispatch by the run's kind."""
    kinds = {"record": record, "learn": learn, "adapt": adapt, "assess": assess}
    return kinds[run.settings["stage"]](run, folder)


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line a stage."""
    print(f"{run.name}: {'failed' if result is None else 'done'}", file=sys.stderr, flush=True)


def recordings(options: Options) -> dict[tuple[str, str], Run]:
    """Runs of :func:`record` by task and part, ``train`` or ``test``.

    Order is asked of experts that go to work at once, as in the paper; those to learn from often
    begin with random motion. Of the held-out task there is one demonstration per fit to learn from.
    """
    runs = {}
    for task in (*options.tasks, options.held_out):
        held_out = task == options.held_out
        for part in ("train", "test"):
            demos, failures = options.test, options.test
            if part == "train":
                demos, failures = options.demonstrations, options.failures
                if held_out:
                    demos, failures = len(options.seeds), 0
            settings = {
                "stage": "record",
                "task": task,
                "seed": 100_000 if part == "train" else 500_000,
                "size": options.size,
                "demonstrations": demos,
                "failures": failures,
                "detour": ExpertStyle().detour if part == "train" and not held_out else 0.0,
            }
            runs[task, part] = Run(f"{part}-{task.replace('/', '-')}", settings)
    return runs


def fits(
    options: Options, study: Study, stores: dict[tuple[str, str], str]
) -> tuple[list[Run], list[Run], list[Run]]:
    """Runs of :func:`learn`, :func:`assess` and :func:`adapt`, one each per seed."""
    trained = [stores[task, "train"] for task in options.tasks]
    learns, seen, adapted = [], [], []
    for place, seed in enumerate(options.seeds):
        common = {
            "stores": trained,
            "iterations": options.iterations,
            "seed": seed,
            # The stores keep their names when they are recorded anew with other sizes.
            "sizes": [options.demonstrations, options.failures, options.size],
        }
        learns.append(Run(f"learn-s{seed}", {"stage": "learn", **common}))
        judged = {
            "grm": str(study.folder / f"learn-s{seed}" / "grm"),
            "common": common,
            "mode": options.mode,
            "test_size": options.test,
        }
        tests = {task: stores[task, "test"] for task in options.tasks}
        seen.append(Run(f"assess-s{seed}", {"stage": "assess", "tests": tests, **judged}))
        shot = {
            "stage": "adapt",
            "demo": f"{stores[options.held_out, 'train']}:{place}",
            "old": trained,
            "test": stores[options.held_out, "test"],
            "iterations": options.adapt_iterations,
            "seed": seed,
            **judged,
        }
        adapted.append(Run(f"adapt-s{seed}", shot))
    return learns, seen, adapted


def main(options: Options) -> int:
    """Run the stages that are missing, and publish what there is."""
    study, began = Study(options.work), time.monotonic()

    def do(runs: list[Run]) -> bool:
        left = minutes_left(options.minutes, began)
        failed = execute(study, runs, stage, options.workers, left, tell)
        return not failed and not study.missing(runs)

    records = recordings(options)
    if not do(list(records.values())):
        return finish(options, study, [], [])
    stores = {
        key: study.result(run)["store"]  # type: ignore[index]
        for key, run in records.items()
    }
    learns, seen, adapted = fits(options, study, stores)
    if do(learns):
        do([*seen, *adapted])
    return finish(options, study, seen, adapted)


def finish(options: Options, study: Study, seen: list[Run], adapted: list[Run]) -> int:
    """Publish the study's result; 1 where something is missing."""
    assessed = [result["tasks"] for run in seen if (result := study.result(run)) is not None]
    shots = [result for run in adapted if (result := study.result(run)) is not None]
    rows = [
        {
            "name": task,
            "episodes": assessed[0][task]["episodes"],
            **means([fit[task] for fit in assessed]),
            "completion_of_labels": assessed[0][task]["completion_of_labels"],
            "said": [fit[task]["said"] for fit in assessed],
        }
        for task in options.tasks
        if assessed
    ]
    overall = means(rows) if rows else None
    chance = [
        one for run in seen if (result := study.result(run)) for one in result["untrained"].values()
    ]
    adaptation = {
        part: {**means([shot[part] for shot in shots]), "fits": [shot[part] for shot in shots]}
        for part in ("before", "after")
        if shots
    }
    complete = len(assessed) == len(shots) == len(options.seeds)
    result = {
        "benchmark": "grm_tasks",
        "rows": rows,
        "seen": overall,
        "untrained": means(chance) if chance else None,
        "held_out": options.held_out,
        "adaptation": adaptation,
        "limits": LIMITS,
        "passes": passes(overall, adaptation.get("after")) if complete else None,
        "settings": {k: v for k, v in vars(replace(options, out=None)).items() if k != "work"},
        "seeds": list(options.seeds),
        "complete": complete,
        "machine": machine(),
    }
    publish(result, options.out if complete else None)
    return 0 if complete else 1


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
