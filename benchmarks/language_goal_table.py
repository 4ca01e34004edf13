"""VLM-RL's table on the stand-in: rewards from goals in words beside hand-made ones.

Every reward trains the same learner for the same steps in one stand-in town; the five figures are
those of the deterministic policy on ten fixed routes that training has not seen. All rewards from
words read one domain model (robo fit clip, made here first). VLM-RL, LORD-Speed and Chen's
hand-made reward get three seeds, the others one. These are no CARLA results.

    python benchmarks/language_goal_table.py --out benchmarks/results/language_goal_table.json

Finished runs are files in the work folder: interrupt it, repeat the command, and it goes on.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from _domain_frames import EPISODES, ITERATIONS, driving_runs, fit_run, made
from _route_follower import RouteFollower
from _study import Run, Study, execute, machine, minutes_left, one_thread, publish

FOLLOWER = "follower"
NAMES = {
    "language_goal": "VLM-RL",
    "lord_speed": "LORD-Speed",
    "chen": "Chen",
    "vlm_sr": "VLM-SR",
    "roboclip": "RoboCLIP",
    "vlm_rm": "VLM-RM",
    "lord": "LORD",
    "tirl": "TIRL",
    "chatscene": "ChatScene",
    "revolve": "Revolve",
    "asap": "ASAP",
    FOLLOWER: "none: follows the route's points, blind",
}
"""Kind of reward to its name, in order of importance."""
THREE = ("language_goal", "lord_speed", "chen")
"""Rewards with all seeds; the others get the first."""
PROTOCOL = {
    "route_points": 15,
    "end_on_infraction": False,
    "vehicles": 20,
    "pedestrians": 0,
    "birdseye_size": 48,
    "metres_behind": 10.0,
    "bird_fov": round(2 * math.degrees(math.atan(0.3)), 2),
}
"""As in VLM-RL: the route ahead is in the state; red lights end nothing; regular traffic. The
route's shape is told in numbers, so that fewer pixels do. The camera renders what the model's
crop keeps, and no more."""
TARGET = 0.8
"""Success rate that VLM-RL should reach."""


@dataclass(frozen=True)
class Options:
    """Train with every reward and compare."""

    rewards: tuple[str, ...] = tuple(NAMES)
    """Kinds of reward."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of VLM-RL, LORD-Speed and Chen; the others get the first."""
    steps: int = 100_000
    """Environment steps of every run."""
    algorithm: str = "ppo"
    """ppo (ours) or sac (of Stable-Baselines3)."""
    task: str = "carla-standin/Grid"
    """Town."""
    routes: str = "5000-5009"
    """Seeds of the ten routes."""
    stride: int = 2
    """Steps between two frames."""
    episodes: int = EPISODES
    """Episodes per town that the model is fitted on."""
    iterations: int = ITERATIONS
    """Training steps of its fit."""
    workers: int = 1
    """Runs at a time."""
    minutes: float | None = None
    """Start no run later than this; repeat the command to go on."""
    work: Path = Path("runs/benchmarks/language_goal_table")
    """Folder of the finished runs."""
    go_on_from: Path | None = None
    """Published JSON whose finished runs are not repeated: hours may be spread over machines."""
    out: Path | None = None
    """JSON file to write."""


def configuration(settings: dict[str, Any], model: Path) -> Any:
    """The training run that the settings ask for."""
    from robo.perception.clip_config import ClipConfig, ImageSource
    from robo.policies.presets import CARL_SMOKE
    from robo.policies.train_config import TrainConfig
    from robo.rewards.captions import DRIVING
    from robo.rewards.config import RewardConfig
    from robo.rewards.language_config import LanguageGoalConfig

    # Nothing is learned by the follower: any reward does.
    kind = "route_completion" if settings["reward"] == FOLLOWER else settings["reward"]
    left, _, right, _ = DRIVING.crop
    assert PROTOCOL["bird_fov"] == round(2 * math.degrees(math.atan(right - left)), 2)
    image = ImageSource(DRIVING.view, 64, 64)
    language = LanguageGoalConfig(clip=ClipConfig(model=str(model)), image=image, preset="fitted")
    if settings["reward"] != "vlm_rm":  # which keeps its own pair: a goal and a neutral sentence
        positive, negative = DRIVING.goals
        language = replace(language, positive=(positive,), negative=(negative,))
    return TrainConfig(
        task=settings["task"],
        options={**CARL_SMOKE.options, **PROTOCOL},
        num_envs=CARL_SMOKE.num_envs,
        # Few steps in all: more and smaller updates than a run of CaRL's makes of them.
        steps_per_rollout=128,
        total_steps=settings["steps"],
        seed=settings["seed"],
        ppo=replace(
            CARL_SMOKE.ppo,
            learning_rate=3e-4,
            gamma=0.98,
            epochs=4,
            minibatch_size=128,
            chunk_size=128,
            exploration_coefficient=0.0,
            normalise_observation=True,
        ),
        network=CARL_SMOKE.network,
        reward=RewardConfig(kind=kind, stride=settings["stride"], language=language),
        evaluate_every_steps=0,
    )


def train(run: Run, folder: Path) -> dict[str, Any]:
    """Train one policy and drive the routes."""
    from robo.commands.driving import DriveConfig, policy_actor
    from robo.commands.driving_sac import sac_run
    from robo.policies.launcher import train_rank
    from robo.policies.sac_config import SacConfig

    settings = run.settings
    config = configuration(settings, folder.parent / "clip-driving")
    if settings["reward"] == FOLLOWER:
        return driven(config, settings, lambda env: RouteFollower(), {"steps": 0})
    drive = DriveConfig(config.task, dict(config.options), settings["routes"], config.num_envs)
    if settings["algorithm"] == "sac":
        # Eight environments: a fifth of the random steps at the start, per environment the same.
        result, actor_of = sac_run(SacConfig(), config, drive, folder / "run", False)
    else:
        result = train_rank(config, folder / "run", False, False)
        actor_of = policy_actor(folder / "run", config)
    known = {"steps": result["steps"], "train_seconds": result["wall_seconds"]}
    return driven(config, settings, actor_of, known)


def driven(config: Any, settings: dict[str, Any], actor_of: Any, known: dict) -> dict[str, Any]:
    """The five figures on the routes, with what is ``known`` of the training."""
    from robo.commands.driving import DriveConfig, actor_evaluation

    drive = DriveConfig(config.task, dict(config.options), settings["routes"], config.num_envs)
    report = actor_evaluation(drive, actor_of)
    return {**report["metrics"], "backend": report["backend"], **known, "machine": machine()}


def plan(options: Options) -> list[Run]:
    """All runs, one seed of every reward before further seeds."""
    shared = {
        "algorithm": options.algorithm,
        "task": options.task,
        "steps": options.steps,
        "routes": options.routes,
        "stride": options.stride,
        **PROTOCOL,
    }
    runs = []
    for index, seed in enumerate(options.seeds):
        for reward in options.rewards:
            if index == 0 or reward in THREE:
                settings = {"reward": reward, "seed": seed, **shared}
                runs.append(Run(f"{options.algorithm}-{reward}-{seed}", settings))
    return runs


def rows_of(study: Study, runs: list[Run]) -> list[dict[str, Any]]:
    """One row per reward, over its finished seeds."""
    from robo.assess.driving_metrics import METRICS

    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        result = study.result(run)
        if result is not None:
            groups.setdefault(run.settings["reward"], []).append(result)
    best = max(
        (statistics.fmean(one["success_rate"] for one in some) for some in groups.values()),
        default=0.0,
    )
    rows = []
    for reward, some in groups.items():
        success = statistics.fmean(one["success_rate"] for one in some)
        row: dict[str, Any] = {
            "name": NAMES.get(reward, reward),
            "unit": "success rate on ten fixed routes, mean over seeds",
            "ours": success,
            "peers": {},
            "ratio_to_best": success / best if best else None,
            "seeds": len(some),
        }
        row |= {name: [round(one[name], 3) for one in some] for name in METRICS}
        rows.append(row)
    return rows


def main(options: Options) -> None:
    """Fit the model, train all; the last line printed is one JSON object."""
    one_thread()
    study, runs = Study(options.work), plan(options)
    earlier: dict[str, Any] = {}
    if options.go_on_from is not None:
        earlier = study.go_on_from(options.go_on_from, runs)
    frames = driving_runs(options.episodes)
    # The settings of domain_clip's fit: with the same work folder it is made once.
    settings = {"episodes": options.episodes, "iterations": options.iterations}
    names = tuple(run.name for run in frames)
    fit = fit_run("driving", names, fit_minutes=None, seed=0, **settings)
    began = time.monotonic()
    made(study, frames, options.workers, options.minutes)
    made(study, [fit], options.workers, minutes_left(options.minutes, began))

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        said = "failed" if result is None else f"{result['success_rate']:.0%} success"
        print(f"{run.name}: {said}", flush=True)

    left = minutes_left(options.minutes, began)
    execute(study, runs, train, options.workers, left, tell)
    rows = rows_of(study, runs)
    ours = next((row["ours"] for row in rows if row["name"] == "VLM-RL"), None)
    publish(
        {
            "benchmark": "language_goal_table",
            "rows": rows,
            "target": TARGET,
            "reached": None if ours is None else ours >= TARGET,
            "runs": {**earlier, **study.published(runs)},
            "missing": [run.name for run in study.missing(runs)],
            "steps": options.steps,
            "algorithm": options.algorithm,
            "task": options.task,
            "model": study.result(fit),
            "backend": options.task.split("/")[0],
            "machine": machine(),
        },
        options.out,
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
