"""Can the GRM of mujoco/Lift be trusted? Held-out episodes, unseen failures, off-demo rollouts.

    python benchmarks/grm_quality.py --grm runs/demo/grm

Three sets, none of which the GRM has seen:

* demos: scripted demonstrations;
* failures: half of kinds that the GRM was not fitted on (above, drop, hover, knock), a quarter of
  kinds that it was (beside, closed, open), a quarter from half-trained policies;
* off_demo: smooth random motion, half-trained policies, failures, very noisy experts.

Order (VOC) is measured on the demos, discrimination (AUC) on demos against failures, agreement
with the simulator's true progress on off_demo. Intervals resample whole episodes; they hold for
this one fit. Interrupt and repeat the command: it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from _lift_sets import STRIDE, TASK, parts_of, record_set
from _study import Run, Study, execute, machine, one_thread, publish

if TYPE_CHECKING:
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.score import EpisodeScore
    from robo.rollout import Episode

MODES = ("backward", "forward", "incremental", "mean", "consistent")
FIRST_SEED = 200_000
LIMITS = {
    "voc_plus": 0.90,
    "voc_minus": 0.85,
    "auc": 0.95,
    "spearman_true": 0.80,
    "difference_correlation_true": 0.70,
}
"""Each figure must reach its limit."""


@dataclass(frozen=True)
class Options:
    """Measure a GRM of mujoco/Lift on episodes that it was not fitted on."""

    grm: Path | None = None
    """Folder of a fitted GRM; None collects and fits one per --seeds."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the GRMs, where --grm is not given; the verdict is the first one's."""
    grm_iterations: int | None = None
    """Training steps of the GRM; None for the default."""
    policies: tuple[Path, ...] = ()
    """Half-trained policies or run folders; none trains them, shaped by true progress."""
    policy_steps: tuple[int, ...] = (40_000, 60_000)
    """Environment steps of the policies that are trained here."""
    demos: int = 60
    """Held-out demonstrations."""
    failures: int = 80
    """Held-out failures, a multiple of 4."""
    off_demo: int = 120
    """Off-demo episodes, a multiple of 4."""
    mode: str = "backward"
    """Anchor that the acceptance is about; the others are in the table."""
    resamples: int = 500
    """Bootstrap resamples of each interval."""
    minutes: float | None = None
    """Start no new stage later than this."""
    workers: int = 1
    """Policies trained at a time."""
    work: Path = Path("runs/benchmarks/grm_quality")
    """Folder of the finished stages, from which an interrupted run goes on."""
    out: Path | None = Path("benchmarks/results/grm_quality.json")
    """JSON file to write."""

    def __post_init__(self) -> None:
        """Refuse sets that cannot be composed."""
        if self.demos < 1 or min(self.failures, self.off_demo) < 4:
            raise ValueError("demos must be at least 1, failures and off_demo at least 4")
        if self.failures % 4 or self.off_demo % 4:
            raise ValueError("failures and off_demo must be multiples of 4")


def train_policy(run: Run, folder: Path) -> dict[str, Any]:
    """A half-trained policy, shaped by true progress. Settings: steps, seed."""
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.policies.trainer import Trainer
    from robo.rewards.potential import SignalPotential
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward
    from robo.sim.registry import make_vec

    ppo = lift_ppo()
    config = TrainConfig(
        total_steps=run.settings["steps"],
        seed=run.settings["seed"],
        ppo=ppo,
        network=lift_network(),
        evaluate_every_steps=0,
        checkpoint_every_iterations=1_000_000,
    )
    potential = SignalPotential("progress", STRIDE)
    reward = ShapedReward(SuccessReward(), potential, ppo.gamma, ppo.timeout)
    trainer = Trainer(config, make_vec(TASK, 64, threads=1), reward, folder, show=False)
    try:
        result = trainer.run()
    finally:
        trainer.close()
    return {"policy": str(folder / "policy"), "success_recent": result["success_recent"]}


def fit_grm_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Collect demonstrations and fit a GRM. Settings: seed, iterations."""
    from _lift_grm import collect_and_fit

    return collect_and_fit(folder, run.settings["seed"], run.settings["iterations"])


def figures_of(
    grm: CompactGRM, sets: dict[str, list[Episode]], mode: str, resamples: int
) -> dict[str, Any]:
    """Every figure of one mode; where ``resamples`` is above 0, with intervals."""
    from robo.assess import grm as assess
    from robo.assess.discrimination import false_positive_rate, success_auc
    from robo.commands.score import kinds_of, true_progress
    from robo.rewards.grm.score import reversed_progress, score_store

    scores = {
        name: list(score_store(grm, episodes, mode, STRIDE)) for name, episodes in sets.items()
    }
    order = assess.voc([score.progress for score in scores["demos"]])
    swapped = assess.voc([reversed_progress(grm, episode, STRIDE) for episode in sets["demos"]])
    both = scores["demos"] + scores["failures"]
    success = assess.outcomes(both)
    matched, uncut = (assess.final_progress(both, match) for match in (True, False))
    kinds = kinds_of(sets["demos"] + sets["failures"])
    off, truth = scores["off_demo"], true_progress("progress", sets["off_demo"])

    def on(figure: Callable[..., float], *more: Any) -> Callable[[np.ndarray], float]:
        return lambda i: figure([off[j] for j in i], [truth[j] for j in i], *more)

    figures: dict[str, tuple[Callable[[np.ndarray], float], int]] = {
        "voc_plus": (lambda i: float(order[i].mean()), len(order)),
        "voc_minus": (lambda i: float(swapped[i].mean()), len(swapped)),
        "auc": (lambda i: success_auc(matched[i], success[i]), len(both)),
        "auc_lengths_unmatched": (lambda i: success_auc(uncut[i], success[i]), len(both)),
        "spearman_true": (on(assess.spearman_with_truth), len(off)),
        "difference_correlation_true": (
            on(assess.difference_correlation_with_truth, STRIDE),
            len(off),
        ),
        "mean_final_excess": (on(mean_excess), len(off)),
    }
    result: dict[str, Any] = {
        name: figure(np.arange(count)) for name, (figure, count) in figures.items()
    }
    result["auc_by_kind"] = assess.auc_by_kind(matched, success, kinds)
    result["auc_by_kind_lengths_unmatched"] = assess.auc_by_kind(uncut, success, kinds)
    result["false_positive_rate"] = false_positive_rate(uncut, success, 0.95)
    result["by_off_demo_kind"] = by_kind(off, truth, kinds_of(sets["off_demo"]))
    if resamples:
        result["intervals"] = {
            name: list(assess.episode_interval(figure, count, resamples))
            for name, (figure, count) in figures.items()
        }
    return result


def mean_excess(scores: list[EpisodeScore], truth: list[np.ndarray]) -> float:
    """Mean of predicted minus true progress in the last states."""
    from robo.assess.grm import final_excess

    return float(final_excess(scores, truth).mean())


def by_kind(
    scores: list[EpisodeScore], truth: list[np.ndarray], kinds: list[str]
) -> dict[str, dict[str, float]]:
    """Agreement with true progress among the episodes of each kind."""
    from robo.assess import grm as assess

    result = {}
    for kind in sorted(set(kinds)):
        own = [i for i, name in enumerate(kinds) if name == kind]
        pair = [scores[i] for i in own], [truth[i] for i in own]
        result[kind] = {
            "episodes": len(own),
            "spearman_true": assess.spearman_with_truth(*pair),
            "difference_correlation_true": assess.difference_correlation_with_truth(*pair, STRIDE),
            "mean_final_excess": mean_excess(*pair),
        }
    return result


def judged(folder: Path, sets: dict[str, list[Episode]], options: Options) -> dict[str, Any]:
    """All modes of one GRM, and whether the chosen one reaches the limits."""
    from robo.rewards.grm.compact import CompactGRM

    grm = CompactGRM.load(folder)
    modes = {
        mode: figures_of(grm, sets, mode, options.resamples if mode == options.mode else 0)
        for mode in MODES
    }
    chosen = modes[options.mode]
    return {
        **chosen,
        "passes": {name: chosen[name] >= limit for name, limit in LIMITS.items()},
        "by_mode": {
            mode: {name: figures[name] for name in (*LIMITS, "mean_final_excess")}
            for mode, figures in modes.items()
        },
        "fit": {
            key: grm.summary.get(key)
            for key in ("seed", "iterations", "demonstrations", "failures", "cpu_seconds")
        },
    }


def stages(options: Options, study: Study) -> Iterator[list[Run]]:
    """Runs of each stage; a stage starts when the ones before are whole."""
    if options.grm is None:
        yield [
            Run(f"grm-{seed}", {"seed": seed, "iterations": options.grm_iterations})
            for seed in options.seeds
        ]
    policies = [str(policy) for policy in options.policies]
    if not policies:
        yield (
            training := [
                Run(f"policy-{steps}-s{100 + i}", {"steps": steps, "seed": 100 + i})
                for i, steps in enumerate(options.policy_steps)
            ]
        )
        policies = [str(study.folder / run.name / "policy") for run in training]
    yield [
        Run(f"set-{name}", {"parts": parts, "seed": FIRST_SEED + 100_000 * i})
        for i, (name, parts) in enumerate(
            parts_of(options.demos, options.failures, options.off_demo, policies).items()
        )
    ]


def do_stage(run: Run, folder: Path) -> dict[str, Any]:
    """Do a run of any stage, by its name."""
    work = {"grm": fit_grm_stage, "policy": train_policy, "set": record_set}
    return work[run.name.partition("-")[0]](run, folder)


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished stage."""
    took = "FAILED, see the error above" if result is None else f"{result['wall_seconds']:.0f} s"
    print(f"{run.name}: {took}", flush=True)


def main(options: Options) -> int:
    """Prepare and measure; the last line printed is one JSON object."""
    import time

    from robo.data import EpisodeStore
    from robo.policies.threads import set_threads

    study = Study(options.work)
    began, prepared = time.monotonic(), []
    for runs in stages(options, study):
        left = options.minutes and options.minutes - (time.monotonic() - began) / 60
        failed = execute(study, runs, do_stage, options.workers, left, tell)
        if missing := study.missing(runs):
            names = [run.name for run in missing]
            publish({"benchmark": "grm_quality", "finished": False, "missing": names}, None)
            return 1 if failed else 0
        prepared += runs
    set_threads(1)
    results = {run.name: study.result(run) or {} for run in prepared}
    sets = {
        name: list(EpisodeStore(options.work / f"set-{name}" / "episodes", mode="r"))
        for name in ("demos", "failures", "off_demo")
    }
    folders = (
        {"given": options.grm}
        if options.grm is not None
        else {f"grm-{seed}": options.work / f"grm-{seed}" / "grm" for seed in options.seeds}
    )
    grms = {name: judged(folder, sets, options) for name, folder in folders.items()}
    first = next(iter(grms.values()))
    result = {
        "benchmark": "grm_quality",
        "task": TASK,
        "finished": True,
        "mode": options.mode,
        "stride": STRIDE,
        "limits": LIMITS,
        "passes": first["passes"],
        "grms": grms,
        "sets": {name: results[f"set-{name}"]["episodes"] for name in sets},
        "policies_success": {
            name: run["success_recent"]
            for name, run in results.items()
            if name.startswith("policy-")
        },
        "machine": machine(),
    }
    publish(result, options.out)
    return 0


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
