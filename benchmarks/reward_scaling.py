"""Do large minibatches want a simple reward? Route completion against Roach's reward, 2 x 2.

CaRL's argument (arXiv 2504.17838): with a reward that adds up many terms, PPO gets worse as the
minibatch grows; with route completion alone it gets better. Both rewards train the small network
``carl_small`` in the ``carl_smoke`` preset's towns, each with a small and a large minibatch, all
from the same number of samples and of samples per rollout, by PPO without an exploration loss. The
learning rate grows with the root of the minibatch. What is compared is neither reward, but the mean
route completion and the route score of the deterministic policy on held-out routes.

The weights of value (0.02) and entropy (0.001) are the preset's for both rewards. They were tuned
for the returns of route completion, near 15; those of Roach's reward have another scale, so a
difference between the rewards may be one of tuning. Roach's reward is not all of Roach: the -1
at time-outs and finished routes, the end of an episode far beside the route, and the exploration
loss before infractions are left out.

These are stand-in runs of minutes, orders of magnitude shorter than CaRL's. Finished runs are
files in the work folder: interrupt it, repeat the command, and it goes on.

    python benchmarks/reward_scaling.py
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from _study import Run, Study, execute, machine, one_thread, publish

REPORT = "5000-5019"
"""Held-out routes, apart from training's and selection's."""
RESULT = Path(__file__).parent / "results" / "reward_scaling.json"
MEASURES = ("route_completion", "score", "collisions")


@dataclass(frozen=True)
class Options:
    """Study the reward against the minibatch."""

    rewards: tuple[str, ...] = ("route_completion", "roach")
    """Rewards to train with."""
    minibatches: tuple[int, ...] = (256, 4096)
    """Minibatch sizes; the largest is also the number of samples per rollout."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run per seed, reward and minibatch."""
    samples: int = 150_000
    """Environment steps of every run."""
    workers: int = 1
    """Runs at a time."""
    minutes: float | None = None
    """Start no run later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/reward_scaling")
    """Folder of the finished runs."""
    out: Path | None = RESULT
    """JSON of the result; None writes none."""


def configuration(settings: dict[str, Any]) -> Any:
    """The training run that the settings ask for."""
    from robo.policies.presets import CARL_SMOKE
    from robo.policies.train_config import TrainConfig
    from robo.rewards.config import RewardConfig

    # Plain PPO, so that nothing but the reward and the minibatch decides.
    ppo = replace(
        CARL_SMOKE.ppo,
        gamma=0.99,
        minibatch_size=settings["minibatch"],
        learning_rate=5e-4,
        learning_rate_scaling="sqrt",
        reference_minibatch_size=512,
        exploration_coefficient=0.0,
    )
    return TrainConfig(
        task=CARL_SMOKE.task,
        options=CARL_SMOKE.options,
        num_envs=CARL_SMOKE.num_envs,
        steps_per_rollout=settings["batch"] // CARL_SMOKE.num_envs,
        total_steps=settings["samples"],
        seed=settings["seed"],
        ppo=ppo,
        network=replace(CARL_SMOKE.network, kind="carl_small"),
        reward=RewardConfig(kind=settings["reward"]),
        evaluate_every_steps=0,
    )


def run_one(run: Run, folder: Path) -> dict[str, Any]:
    """Train once, then drive the held-out routes."""
    from robo.commands.driving import DriveConfig, driving_evaluation
    from robo.policies.launcher import train_rank

    train = configuration(run.settings)
    trained = train_rank(train, folder / "run", False, False)
    drive = DriveConfig(train.task, dict(train.options), REPORT, train.num_envs)
    report = driving_evaluation(drive, folder / "run", train)
    return {**report["mean"], "steps": trained["steps"], "backend": report["backend"]}


def plan(options: Options) -> list[Run]:
    """Runs, seed by seed."""
    batch = max(options.minibatches)
    runs = []
    for seed, reward, minibatch in product(options.seeds, options.rewards, options.minibatches):
        settings = {
            "reward": reward,
            "minibatch": minibatch,
            "batch": batch,
            "seed": seed,
            "samples": options.samples,
        }
        runs.append(Run(f"{reward}-{minibatch}-{seed}", settings))
    return runs


def rows_of(study: Study, runs: list[Run]) -> list[dict[str, Any]]:
    """One row per reward and minibatch, over its finished seeds."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        result = study.result(run)
        if result is not None:
            key = (run.settings["reward"], run.settings["minibatch"])
            groups.setdefault(key, []).append(result)
    rows = []
    for (reward, minibatch), some in groups.items():
        row: dict[str, Any] = {
            "name": f"{reward.replace('_', ' ')}, minibatch {minibatch}",
            "unit": "route completion, % of held-out routes, mean over seeds",
            "reward": reward,
            "minibatch": minibatch,
            "ours": statistics.fmean(one["route_completion"] for one in some),
            "peers": {},
            "ratio_to_best": None,
            "seeds": len(some),
        }
        for name in MEASURES:
            row[name] = [round(one[name], 3) for one in some]
        rows.append(row)
    return rows


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Reward to what the largest minibatch gains over the smallest, points of completion."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["reward"], {})[row["minibatch"]] = row["ours"]
    return {reward: by[max(by)] - by[min(by)] for reward, by in found.items() if len(by) > 1}


def main(options: Options) -> None:
    """Train all; the last line printed is one JSON object."""
    one_thread()
    runs = plan(options)
    study = Study(options.work)

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        said = "failed" if result is None else f"{result['route_completion']:.0f} % completed"
        print(f"{run.name}: {said}", flush=True)

    failed = execute(study, runs, run_one, options.workers, options.minutes, tell)
    rows = rows_of(study, runs)
    result = {
        "benchmark": "reward_scaling",
        "backend": "carla-standin",
        "rows": rows,
        "gain_of_the_large_minibatch": gains(rows),
        "complete": not study.missing(runs),
        "failed": [run.name for run in failed],
        "settings": {
            key: value for key, value in asdict(options).items() if key not in ("work", "out")
        },
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
