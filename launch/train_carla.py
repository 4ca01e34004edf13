"""Train a driving policy with CaRL's route-completion reward.

    python launch/train_carla.py --out runs/driving --preset smoke
    python launch/train_carla.py --out runs/carl --preset carl --task carla/Town01 \
        --options carla_root /opt/carla --nproc 8

Without a CARLA server it drives in our stand-in, whose scores are route scores and no CARLA
results. Reads top to bottom: preset, training, evaluation on held-out routes, curve, video.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from robo.assess.driving import driving_table
from robo.commands.driving import DriveConfig, driving_evaluation, driving_pictures
from robo.errors import RoboError
from robo.policies.launcher import ProcessConfig, run_in_processes, train_rank
from robo.policies.presets import CARL_PRESETS
from robo.policies.run_folder import RunFolder
from robo.policies.train_config import TrainConfig
from robo.rewards.config import RewardConfig
from robo.storage import write_json


@dataclass(frozen=True)
class Config:
    """One run."""

    out: Path
    """Run folder."""
    preset: Literal["smoke", "tiny", "carl"] = "smoke"
    """smoke: small network, 8 environments, minutes on a CPU; tiny: CaRL's network, 8 servers;
    carl: CaRL's own, 128 servers."""
    task: str | None = None
    """Driving task; None takes the preset's."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """Options of the simulator over the preset's: --options vehicles 10 carla_root /opt/carla."""
    reward: Literal["route_completion", "roach", "additive", "nuplan"] = "route_completion"
    """CaRL's reward, or one to compare with it."""
    total_steps: int | None = None
    """Environment steps, over all environments; None takes the preset's."""
    seed: int = 0
    """Decides initial parameters, training routes and every sample."""
    selection_seeds: str = "9000-9009"
    """Routes that select the best policy."""
    report_seeds: str = "5000-5009"
    """Routes of the evaluation before and after training; training has seen none of them."""
    video: bool = True
    """Write a video of the first of the report's routes."""
    processes: Annotated[ProcessConfig, tyro.conf.arg(name="")] = field(
        default_factory=ProcessConfig
    )
    """Processes and machines; the result is that of one process, up to rounding."""
    resume: bool = False
    """Go on from the newest checkpoint."""


def training(config: Config) -> TrainConfig:
    """The preset with what the command line changes."""
    preset = CARL_PRESETS[f"carl_{config.preset}" if config.preset != "carl" else "carl"]
    total = config.total_steps or preset.total_steps
    return TrainConfig(
        task=config.task or preset.task,
        options={**preset.options, **config.options},
        num_envs=preset.num_envs,
        steps_per_rollout=preset.steps,
        total_steps=total,
        seed=config.seed,
        ppo=preset.ppo,
        network=preset.network,
        reward=RewardConfig(kind=config.reward),
        evaluate_every_steps=max(total // 12, 1),
        evaluate_seeds=config.selection_seeds,
        evaluate_metric="route_completion",
    )


def main(config: Config) -> None:
    """Train, evaluate on held-out routes before and after, draw."""
    train = training(config)
    drive = DriveConfig(train.task, train.options, config.report_seeds, train.num_envs)
    before = driving_evaluation(drive, None, train)
    arguments = (train, config.out, config.resume, True)
    if config.processes.several:
        result = run_in_processes(config.processes, train_rank, *arguments)
    else:
        result = train_rank(*arguments)
    after = driving_evaluation(drive, config.out, train)
    pictures: dict[str, Any] = driving_pictures(drive, config.out, train, config.video)
    write_json(
        RunFolder(config.out).result,
        {
            **result,
            # Which server drove: scores of the stand-in are no CARLA results.
            "backend": after["backend"],
            "vector_backend": result["backend"],
            "untrained": before,
            "report": after,
            **pictures,
        },
    )
    print("\n".join(driving_table(after)))
    first, last = (score["mean"]["route_completion"] for score in (before, after))
    print(
        f"{train.task} ({after['backend']}): route completion {first:.0f} % untrained, "
        f"{last:.0f} % after {result['steps']:,} steps; see {config.out}"
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except RoboError as error:
        raise SystemExit(f"train_carla: {error}") from error
