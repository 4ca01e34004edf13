"""What a GRM's potential is worth to PPO on mujoco/Lift, from scratch, beside its alternatives.

    python benchmarks/shaping_value.py --workers 2 --plot

Six arms, one PPO; only the reward and the time-out rule differ:

* grm_keep, grm_strict: sparse success shaped by the GRM's potential, from pixels only;
* true_keep, true_strict: shaped by the simulator's true progress, read as often (upper bound);
* sparse: success alone, three times the steps;
* naive: success plus the plain difference of the GRM's potential, no gamma, no terminal rule.

"keep" ends the task at a time-out and keeps the potential, "strict" bootstraps time-outs (the
policy-invariant rule). Selection seeds find the steps to 90 %, stop a run, and choose its policy;
the reported success is over other seeds. Interrupt and repeat the command: it goes on.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

if TYPE_CHECKING:
    from robo.policies.trainer import Iteration
    from robo.rewards.base import Reward

Arm = Literal["grm_keep", "true_keep", "grm_strict", "true_strict", "sparse", "naive"]
ARMS: tuple[Arm, ...] = ("grm_keep", "true_keep", "grm_strict", "true_strict", "naive", "sparse")
"""In order of importance."""
TASK, ENVS, STEPS, STRIDE = "mujoco/Lift", 64, 60, 5
EVALUATE_EVERY = 19_200
SELECTION_SEEDS, REPORT_SEEDS = "9000-9099", "5000-5099"
SOLVED, STOP = 0.90, 1.0
LAST_ITERATIONS = 5
"""Iterations of PPO over which hacking is measured."""


@dataclass(frozen=True)
class Options:
    """Compare shaped, naive and sparse rewards on mujoco/Lift."""

    arms: tuple[Arm, ...] = ARMS
    """Arms to run."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds of PPO."""
    grm: Path | None = None
    """Folder of a fitted GRM; None collects and fits one per --grm-seeds."""
    grm_seeds: tuple[int, ...] = (0,)
    """Seeds of the GRMs, each with all training seeds; read where --grm is not given."""
    grm_iterations: int | None = None
    """Training steps of the GRM; None for the default."""
    total_steps: int = 300_000
    """Environment steps of each run."""
    sparse_factor: int = 3
    """The sparse arm gets this many times the steps."""
    minutes: float | None = None
    """Start no run later than this; None: until all are done."""
    workers: int = 2
    """Runs at a time, one thread each."""
    work: Path = Path("runs/benchmarks/shaping_value")
    """Folder of the finished runs, from which an interrupted study goes on."""
    out: Path | None = Path("benchmarks/results/shaping_value.json")
    """JSON file to write."""
    plot: bool = False
    """Draw the learning curves beside --out, as PNG."""


class Watch:
    """Callback: what every iteration's ended episodes say, and every evaluation."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.rows: list[dict[str, Any]] = []
        self.evaluations: dict[int, float] = {}

    def __call__(self, iteration: Iteration) -> None:
        """One row per iteration; potentials are those of the states in which episodes ended."""
        rollout, terms = iteration.rollout, iteration.terms
        step, env = rollout.final_observation.step, rollout.final_observation.env
        self.see(iteration.trainer.last_evaluation)
        if not len(step):
            return
        success = rollout.success[step, env]
        truth = rollout.signals["progress"][step, env]
        row: dict[str, Any] = {
            "step": iteration.step,
            "episodes": len(step),
            "success": float(success.float().mean()),
            "true_progress": float(truth.mean()),
            "potential": None,
            "failures": int((~success).sum()),
            "excess_of_failures": 0.0,
        }
        if terms.final_critic_features is not None:
            potential = terms.final_critic_features[:, 0]
            row["potential"] = float(potential.mean())
            if not bool(success.all()):
                row["excess_of_failures"] = float((potential - truth)[~success].mean())
        self.rows.append(row)

    def see(self, evaluation: dict[str, Any] | None) -> None:
        """Note an evaluation; the same one may come again."""
        if evaluation is not None:
            self.evaluations[evaluation["step"]] = evaluation["success_rate"]

    def curve(self) -> list[dict[str, Any]]:
        """One entry per evaluation, with the training iteration after which it was made."""
        by_step = {row["step"]: row for row in self.rows}
        return [
            {
                "step": step,
                "success": success,
                "potential": by_step.get(step, {}).get("potential"),
                "true_progress": by_step.get(step, {}).get("true_progress"),
            }
            for step, success in sorted(self.evaluations.items())
        ]

    def hacking(self) -> dict[str, Any]:
        """Potential and true progress at the end of episodes, over the last iterations."""
        last = self.rows[-LAST_ITERATIONS:]
        if not last or last[-1]["potential"] is None:
            return {"potential": None, "true_progress": None, "excess": None}
        failures = sum(row["failures"] for row in last)
        worse = sum(row["failures"] * row["excess_of_failures"] for row in last)
        weights = [row["episodes"] for row in last]
        potential, truth = (
            statistics.fmean([row[name] for row in last], weights)
            for name in ("potential", "true_progress")
        )
        return {
            "potential": potential,
            "true_progress": truth,
            "excess": potential - truth,
            "excess_of_failures": worse / failures if failures else None,
            "episodes": sum(weights),
            "failures": failures,
        }


def make_arm_reward(arm: str, grm: str | None, gamma: float) -> Reward:
    """The reward of one arm, which fits :func:`timeout_of` it."""
    from robo.rewards.grm.potential import GRMPotential
    from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
    from robo.rewards.shaping import ShapedReward
    from robo.rewards.success import SuccessReward

    if arm == "sparse":
        return SuccessReward()
    if arm.startswith("true"):
        potential = SignalPotential("progress", STRIDE)
    else:
        assert grm is not None
        potential = GRMPotential.load(grm, stride=STRIDE)
    if arm == "naive":
        return ProgressDifferenceReward(SuccessReward(), potential)
    return ShapedReward(SuccessReward(), potential, gamma, timeout_of(arm))


def timeout_of(arm: str) -> Literal["keep", "bootstrap"]:
    """The time-out rule of an arm."""
    return "keep" if arm.endswith("keep") else "bootstrap"


def train_arm(run: Run, folder: Path) -> dict[str, Any]:
    """Train and evaluate one run. Settings: see :func:`planned`."""
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.policies.trainer import Trainer
    from robo.sim.registry import make_vec

    arm, seed, total = (run.settings[name] for name in ("arm", "seed", "total_steps"))
    ppo = replace(lift_ppo(), timeout=timeout_of(arm))
    config = TrainConfig(
        task=TASK,
        num_envs=ENVS,
        steps_per_rollout=STEPS,
        total_steps=total,
        seed=seed,
        ppo=ppo,
        network=lift_network(),
        evaluate_every_steps=EVALUATE_EVERY,
        evaluate_seeds=SELECTION_SEEDS,
        stop_success=STOP,
        checkpoint_every_iterations=1_000_000,
    )
    watch = Watch()
    reward = make_arm_reward(arm, run.settings["grm"], ppo.gamma)
    env, judge = (make_vec(TASK, count, threads=1) for count in (ENVS, 50))
    trainer = Trainer(config, env, reward, folder, judge, callbacks=[watch], show=False)
    try:
        result = trainer.run()
        watch.see(trainer.last_evaluation)
        final = report(Path(result["policy"]), judge)
    finally:
        trainer.close()
    curve = watch.curve()
    solved = [entry["step"] for entry in curve if entry["success"] >= SOLVED]
    return {
        "arm": arm,
        "seed": seed,
        "timeout": ppo.timeout,
        "steps": result["steps"],
        "steps_to_90": solved[0] if solved else None,
        "stopped_early": result["stopped_early"],
        "selected_at": (result["best"] or {}).get("step"),
        **final,
        "hacking": watch.hacking(),
        "curve": curve,
        "training": watch.rows,
    }


def report(policy: Path, env: Any) -> dict[str, Any]:
    """Success of a policy over the seeds that neither trained nor selected it."""
    from robo.assess.statistics import wilson
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.evaluate import evaluate, parse_seeds

    score = evaluate(ActorCritic.load(policy), env, parse_seeds(REPORT_SEEDS))
    return {
        "success": score["success_rate"],
        "interval": list(wilson(score["successes"], score["episodes"])),
        "episodes": score["episodes"],
    }


def fit_arm_grm(run: Run, folder: Path) -> dict[str, Any]:
    """Collect demonstrations and fit a GRM. Settings: seed, iterations."""
    from _lift_grm import collect_and_fit

    return collect_and_fit(folder, run.settings["seed"], run.settings["iterations"])


def grm_of(options: Options, study: Study) -> dict[str, str | None]:
    """Name to folder of the GRMs that the arms need; those missing are fitted."""
    if all(arm == "sparse" or arm.startswith("true") for arm in options.arms):
        return {"": None}
    if options.grm is not None:
        return {"": str(options.grm)}
    fits = [
        Run(f"grm-{seed}", {"seed": seed, "iterations": options.grm_iterations})
        for seed in options.grm_seeds
    ]
    if execute(study, fits, fit_arm_grm, min(options.workers, len(fits)), on_done=tell):
        sys.exit("the GRM could not be fitted; see the error above")
    return {f"-g{run.settings['seed']}": str(study.folder / run.name / "grm") for run in fits}


def fingerprint(grm: str | None) -> str | None:
    """What tells one fitted GRM from another in the same folder."""
    if grm is None:
        return None
    # As robo does: a folder without a GRM is refused with one sentence.
    from robo.rewards.grm.compact import CompactGRM

    CompactGRM.load(Path(grm))
    return hashlib.sha256((Path(grm) / "model.safetensors").read_bytes()).hexdigest()[:16]


def planned(options: Options, grms: dict[str, str | None]) -> list[Run]:
    """All runs, the two arms that the verdict compares first.

    Settings: arm, seed, total_steps, grm (folder) and fit (which one it holds).
    """
    runs = []
    for group in (("grm_keep", "true_keep"), tuple(arm for arm in ARMS[2:])):
        for seed in options.seeds:
            for arm in (arm for arm in group if arm in options.arms):
                factor = options.sparse_factor if arm == "sparse" else 1
                settings = {"arm": arm, "seed": seed, "total_steps": factor * options.total_steps}
                own = grms if arm.startswith("grm") or arm == "naive" else {"": None}
                runs += [
                    Run(f"{arm}{name}-s{seed}", {**settings, "grm": grm, "fit": fingerprint(grm)})
                    for name, grm in own.items()
                ]
    return runs


def summary_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm over its runs; a run that did not reach 90 % counts as infinitely many steps."""
    steps = [run["steps_to_90"] for run in results]
    median = statistics.median([float("inf") if step is None else step for step in steps])
    excess = [run["hacking"]["excess"] for run in results]
    return {
        "runs": len(results),
        "reached_90": sum(step is not None for step in steps),
        "median_steps_to_90": None if median == float("inf") else median,
        "steps_to_90": steps,
        "censored_at": [run["steps"] for run in results if run["steps_to_90"] is None],
        "success": [run["success"] for run in results],
        "median_success": statistics.median([run["success"] for run in results]),
        "hacking_excess": excess,
        "worst_hacking_excess": max((x for x in excess if x is not None), default=None),
        "timeout": results[0]["timeout"],
        "cpu_seconds": sum(run["cpu_seconds"] for run in results),
    }


def verdict_of(arms: dict[str, dict[str, Any]]) -> dict[str, bool | None]:
    """The acceptance lines; None where their runs are missing, or fewer than five."""
    enough = {name: arm for name, arm in arms.items() if arm["runs"] >= 5}
    grm, true = enough.get("grm_keep"), enough.get("true_keep")
    ratio = (grm or {}).get("ratio_to_true_progress")
    return {
        "grm_keep_90_on_4_of_5": None if grm is None else grm["reached_90"] >= 0.8 * grm["runs"],
        "grm_keep_at_most_twice_true": None
        if grm is None or true is None
        else ratio is not None and ratio <= 2,
        "no_hacking": None
        if grm is None or grm["worst_hacking_excess"] is None
        else grm["worst_hacking_excess"] <= 0.10,
    }


def collected(options: Options, study: Study, runs: list[Run]) -> dict[str, Any]:
    """The study's result from the runs that are finished."""
    found = [(run, study.result(run)) for run in runs]
    done = [{"name": run.name, **result} for run, result in found if result is not None]
    arms = {
        arm: summary_of(own) for arm in ARMS if (own := [run for run in done if run["arm"] == arm])
    }
    best = arms.get("true_keep", {}).get("median_steps_to_90")
    for summary in arms.values():
        median = summary["median_steps_to_90"]
        summary["ratio_to_true_progress"] = median / best if median and best else None
    return {
        "benchmark": "shaping_value",
        "task": TASK,
        "arms": arms,
        "verdict": verdict_of(arms),
        "finished": len(done),
        "missing": [run.name for run, result in found if result is None],
        "settings": {
            "envs": ENVS,
            "steps_per_rollout": STEPS,
            "stride": STRIDE,
            "total_steps": options.total_steps,
            "sparse_factor": options.sparse_factor,
            "evaluate_every_steps": EVALUATE_EVERY,
            "selection_seeds": SELECTION_SEEDS,
            "report_seeds": REPORT_SEEDS,
            "seeds": list(options.seeds),
        },
        "machine": machine(),
        "workers": options.workers,
        "runs": [{k: v for k, v in run.items() if k not in ("training", "policy")} for run in done],
    }


def tell(run: Run, result: dict[str, Any] | None) -> None:
    """One line per finished run."""
    if result is None:
        print(f"{run.name}: FAILED, see the error above", flush=True)
    elif "arm" not in result:
        print(f"{run.name}: fitted, {result['wall_seconds']:.0f} s", flush=True)
    else:
        steps = result["steps_to_90"]
        reached = f"90 % at {steps:,}" if steps else f"90 % not within {result['steps']:,}"
        excess = result["hacking"]["excess"]
        print(
            f"{run.name}: {reached} steps, success {result['success']:.0%}"
            + ("" if excess is None else f", potential minus truth {excess:+.2f}")
            + f", {result['wall_seconds']:.0f} s",
            flush=True,
        )


def plot_curves(result: dict[str, Any], path: Path) -> None:
    """Success over steps, one panel per arm: every seed thin, their median thick."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    arms = list(result["arms"])
    columns = min(3, len(arms))
    rows = -(-len(arms) // columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 3.0 * rows), sharey=True, squeeze=False
    )
    for panel, arm in zip(panels.flat, arms, strict=False):
        curves = [run["curve"] for run in result["runs"] if run["arm"] == arm]
        # A stopped run holds its last success: it stopped because it had solved the task.
        grid = sorted({entry["step"] for curve in curves for entry in curve})
        held = [[held_success(curve, step) for step in grid] for curve in curves]
        grid, held = [0, *grid], [[0.0, *values] for values in held]
        for values in held:
            panel.plot(grid, values, color="tab:blue", alpha=0.35, linewidth=1)
        median = [statistics.median(column) for column in zip(*held, strict=True)]
        panel.plot(grid, median, color="tab:blue", linewidth=2.5)
        panel.axhline(SOLVED, color="grey", linewidth=0.8, linestyle=":")
        panel.set_title(f"{arm}: {result['arms'][arm]['reached_90']} of {len(curves)} reach 90 %")
        panel.set_xlim(0, max(grid))
        panel.set_ylim(-0.03, 1.03)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:.0f}k")
        panel.set_xlabel("environment steps")
    for panel in panels.flat[len(arms) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel("success on selection seeds")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def held_success(curve: list[dict[str, Any]], step: int) -> float:
    """Success of the newest evaluation at or before ``step``; 0 before the first."""
    return next((entry["success"] for entry in reversed(curve) if entry["step"] <= step), 0.0)


def main(options: Options) -> int:
    """Run what is missing; the last line printed is one JSON object."""
    study = Study(options.work)
    runs = planned(options, grm_of(options, study))
    failed = execute(study, runs, train_arm, options.workers, options.minutes, tell)
    result = collected(options, study, runs)
    if options.plot and options.out is not None and result["finished"]:
        plot_curves(result, options.out.with_suffix(".png"))
    publish(result, options.out)
    return 1 if failed else 0


if __name__ == "__main__":
    one_thread()
    sys.exit(main(tyro.cli(Options, description=__doc__)))
