"""Train a driving policy with CaRL's route-completion reward, or by goals in words.

    python launch/train_carla.py --out runs/driving --preset smoke
    python launch/train_carla.py --out runs/words --reward language-goal --algorithm sac \
        --language.clip.model runs/clip --language.preset fitted
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
from robo.assess.driving_metrics import metrics_table
from robo.commands.driving import (
    ActorOf,
    DriveConfig,
    actor_evaluation,
    driving_evaluation,
    driving_pictures,
    generalisation,
    policy_actor,
)
from robo.commands.driving_sac import sac_run
from robo.errors import RoboError
from robo.policies.launcher import ProcessConfig, run_in_processes, train_rank
from robo.policies.presets import CARL_PRESETS
from robo.policies.run_folder import RunFolder
from robo.policies.sac_config import SacConfig
from robo.policies.train_config import TrainConfig
from robo.rewards.config import RewardConfig
from robo.rewards.language_config import LanguageGoalConfig
from robo.sim.in_process import available_cores
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
    reward: Literal[
        "route_completion", "roach", "additive", "nuplan",
        "language-goal", "vlm-sr", "roboclip", "vlm-rm", "lord", "lord-speed",
        "tirl", "chatscene", "revolve", "chen", "asap",
    ] = "route_completion"  # fmt: skip
    """CaRL's reward and what it is compared with; VLM-RL's goals in words, and the same."""
    language: LanguageGoalConfig = field(default_factory=LanguageGoalConfig)
    """Goals in words and the model that compares them with frames."""
    stride: int = 1
    """Steps between two frames that a reward looks at."""
    algorithm: Literal["ppo", "sac"] = "ppo"
    """Our PPO, or SAC of Stable-Baselines3 with its images packed."""
    sac: SacConfig = field(default_factory=SacConfig)
    """VLM-RL's settings of SAC."""
    total_steps: int | None = None
    """Environment steps, over all environments; None takes the preset's."""
    seed: int = 0
    """Decides initial parameters, training routes and every sample."""
    selection_seeds: str = "9000-9023"
    """Routes that select the best policy of PPO; ten are too few to tell two apart."""
    evaluations: int = 6
    """Times in a run that the selection routes are driven; SAC's last policy counts."""
    report_seeds: str = "5000-5009"
    """Routes of the evaluation before and after training; training has seen none of them."""
    towns: tuple[str, ...] = ()
    """Further tasks in which VLM-RL's five figures are taken on the report's routes."""
    densities: tuple[int, ...] = ()
    """Numbers of other vehicles at which they are taken."""
    device: str = "cpu"
    """Torch device of the reward's model and of SAC."""
    video: bool = True
    """Write a video of the first of the report's routes, after PPO."""
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
        reward=RewardConfig(
            kind=config.reward.replace("-", "_"),  # type: ignore[arg-type]
            stride=config.stride,
            language=config.language,
            device=config.device,
        ),
        evaluate_every_steps=max(total // max(config.evaluations, 1), 1),
        update_threads=1 if config.processes.several else min(2, available_cores()),
        evaluate_seeds=config.selection_seeds,
        evaluate_metric="route_completion",
    )


def main(config: Config) -> None:
    """Train, evaluate on held-out routes before and after, draw."""
    train = training(config)
    if config.algorithm == "sac" and config.processes.several:
        raise RoboError("SAC trains in one process: leave out --nproc and --nnodes, or take ppo")
    drive = DriveConfig(train.task, train.options, config.report_seeds, train.num_envs)
    if config.algorithm == "sac":
        return finish(config, drive, *sac_run(config.sac, train, drive, config.out, config.resume))
    before = driving_evaluation(drive, None, train)
    arguments = (train, config.out, config.resume, True)
    if config.processes.several:
        result = run_in_processes(config.processes, train_rank, *arguments)
    else:
        result = train_rank(*arguments)
    result["vector_backend"] = result["backend"]
    actor_of = policy_actor(config.out, train)
    pictures = driving_pictures(drive, config.out, train, config.video)
    return finish(config, drive, {**result, **pictures, "untrained": before}, actor_of)


def finish(config: Config, drive: DriveConfig, result: dict[str, Any], actor_of: ActorOf) -> None:
    """Drive the report's routes, and those of other towns and densities; write and print all."""
    report = actor_evaluation(drive, actor_of)
    # Which server drove: scores of the stand-in are no CARLA results.
    result = {**result, "backend": report["backend"], "report": report}
    rows = {drive.task: report["metrics"]}
    if config.towns or config.densities:
        tasks = (drive.task, *config.towns)
        result["elsewhere"] = generalisation(drive, actor_of, tasks, config.densities)
        rows |= result["elsewhere"]
    write_json(RunFolder(config.out).result, result)
    print("\n".join([*driving_table(report), "", *metrics_table(rows)]))
    untrained = result["untrained"]["mean"]["route_completion"]
    print(
        f"{drive.task} ({report['backend']}): route completion {untrained:.0f} % untrained, "
        f"{report['mean']['route_completion']:.0f} % after {result['steps']:,} steps; "
        f"see {config.out}"
    )


if __name__ == "__main__":
    from script import run

    run(main, Config)
