"""``robo demo``: the main job in one command.

Collect demonstrations, fit the General Reward Model on their pixels, train a policy from scratch
on sparse success shaped by it, evaluate on seeds that nothing was chosen on, write reward videos.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError
from robo.storage import plain, read_json, write_json

if TYPE_CHECKING:
    from robo.policies.train_config import TrainConfig
    from robo.rollout import Episode

FAILURES = ("beside:20", "closed:20", "open:12", "wander:24")
"""Scripted failures that the GRM learns from, beside the demonstrations."""
SELECTION_SEEDS = "9000-9099"
"""Seeds that stop the run and choose the policy."""
REPORT_SEEDS = "6000-6099"
"""Seeds of the closing evaluation."""


@dataclass(frozen=True)
class Demo:
    """Demonstrations to reward to policy to video, on one task."""

    task: str = "mujoco/Lift"
    """Task id with a scripted expert and failure scripts."""
    demonstrations: int = 30
    """Demonstrations to record."""
    grm_iterations: int = 400
    """Training steps of the reward model."""
    total_steps: int = 300_000
    """Environment steps that PPO may take; it stops once the selection seeds are solved."""
    seed: int = 0
    """Of data, reward model and policy."""
    out: Path = Path("runs/demo")
    """Run folder."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Run all stages.

        Returns:
            ``success_shaped`` (over 100 seeds that nothing was chosen on), ``interval``,
            ``environment_steps``, ``timeout``, ``stages`` (seconds each), ``videos``, ``grm``,
            ``policy``, ``backend``, ``seeds``.

        Raises:
            RoboError: what any stage raises; the folder holds a demo of other settings.
        """
        # The trainer imports torch._dynamo, which must come before the first GL context.
        import robo.policies.trainer  # noqa: F401  # isort: skip

        stages = Stages(self)
        collected = stages.do("collect", lambda: collect_stage(self))
        fitted = stages.do("fit", lambda: fit_stage(self))
        trained = stages.do("train", lambda: train_stage(self))
        score = stages.do("evaluate", lambda: evaluate_stage(self))
        videos = stages.do("video", lambda: video_stage(self, score["outcomes"]))
        result = {
            "task": self.task,
            "success_shaped": score["success_rate"],
            "interval": score["interval"],
            "episodes": score["episodes"],
            "seeds": REPORT_SEEDS,
            "selection_seeds": SELECTION_SEEDS,
            "seed": self.seed,
            "environment_steps": trained["steps"],
            "timeout": trained["timeout"],
            "gamma": trained["gamma"],
            "backend": trained["backend"],
            "expert_success_rate": collected["expert_success_rate"],
            "grm": fitted["grm"],
            "policy": trained["policy"],
            "potential_at_the_end": trained["potential_at_the_end"],
            "stages": stages.seconds,
            "seconds": round(sum(stages.seconds.values()), 1),
            "videos": videos,
        }
        self._print(result)
        return result

    def _print(self, result: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.table import Table

        low, high = result["interval"]
        table = Table("", "", title=f"robo demo: {self.task}", show_header=False)
        table.add_row(
            "success on 100 unseen seeds",
            f"{result['success_shaped']:.0%} (95 % interval {low:.1%} to {high:.1%})",
        )
        table.add_row("environment steps", f"{result['environment_steps']:,}")
        table.add_row("time-out rule", f"{result['timeout']} (not policy-invariant)")
        for stage, seconds in result["stages"].items():
            table.add_row(f"{stage}, seconds", f"{seconds:.1f}")
        table.add_row("all stages, seconds", f"{result['seconds']:.1f}")
        for kind, path in result["videos"].items():
            table.add_row(f"reward video, {kind}", path or "none occurred")
        table.add_row("policy", result["policy"])
        table.add_row("reward model", result["grm"])
        Console(stderr=True, soft_wrap=True).print(table)


class Stages:
    """Runs stages once: what a finished stage returned is read back when the demo is repeated."""

    def __init__(self, config: Demo) -> None:
        """Stages of the demo in ``config.out``.

        Raises:
            RoboError: the folder holds a demo of other settings.
        """
        self.folder = config.out / "stages"
        self.seconds: dict[str, float] = {}
        settings = {
            "task": config.task,
            "demonstrations": config.demonstrations,
            "grm_iterations": config.grm_iterations,
            "total_steps": config.total_steps,
            "seed": config.seed,
        }
        path = self.folder / "settings.json"
        if path.exists() and read_json(path) != settings:
            raise RoboError(
                f"{config.out} holds a demo with the settings {read_json(path)}, not {settings}; "
                "remove it or choose another --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

    def do(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of stage ``name``: from its file, or from ``work``."""
        from rich.console import Console

        console = Console(stderr=True)
        path = self.folder / f"{name}.json"
        if path.exists():
            saved = read_json(path)
            console.print(f"{name}: done before", highlight=False)
        else:
            console.rule(name, align="left")
            start = time.perf_counter()
            result = plain(work())
            saved = {"seconds": round(time.perf_counter() - start, 2), "result": result}
            write_json(path, saved)
        self.seconds[name] = saved["seconds"]
        return saved["result"]


def collect_stage(config: Demo) -> dict[str, Any]:
    """Demonstrations and scripted failures, with three cameras.

    A store that an interrupted demo left is made anew: the seeds give the same episodes.
    """
    from robo.commands.collect import Collect

    shutil.rmtree(config.out / "collect", ignore_errors=True)
    return Collect(
        task=config.task,
        demonstrations=config.demonstrations,
        failures=FAILURES,
        seed=100_000 + 10_000 * config.seed,
        out=config.out / "collect",
    ).run()


def fit_stage(config: Demo) -> dict[str, Any]:
    """The GRM, from pixels and keyframes."""
    from robo.commands.fit import FitGRM
    from robo.rewards.grm.fit import FitConfig

    fit = FitGRM(
        store=config.out / "collect",
        config=FitConfig(iterations=config.grm_iterations, seed=config.seed),
        out=config.out / "grm",
    )
    return fit.run()


def training(config: Demo) -> TrainConfig:
    """PPO from scratch on sparse success shaped by the GRM, time-outs kept."""
    from robo.policies.train_config import TrainConfig, lift_network, lift_ppo
    from robo.rewards.config import RewardConfig

    return TrainConfig(
        task=config.task,
        total_steps=config.total_steps,
        seed=config.seed,
        ppo=lift_ppo(),
        network=lift_network(),
        reward=RewardConfig(kind="grm", grm=config.out / "grm"),
        evaluate_every_steps=19_200,
        evaluate_seeds=SELECTION_SEEDS,
        stop_success=1.0,
    )


def train_stage(config: Demo) -> dict[str, Any]:
    """Train; also the mean potential at the end of the last iteration's episodes."""
    from robo.policies.trainer import Iteration, make_trainer

    last: dict[str, float] = {}

    def remember(iteration: Iteration) -> None:
        last.update(
            {
                name.removeprefix("episode/"): value
                for name, value in iteration.metrics.items()
                if name.startswith("episode/potential")
            }
        )

    trainer = make_trainer(training(config), config.out, callbacks=[remember])
    try:
        resume = bool(trainer.checkpoints.paths())
        return {**trainer.run(resume=resume), "potential_at_the_end": last}
    finally:
        trainer.close()


def evaluate_stage(config: Demo) -> dict[str, Any]:
    """The chosen policy on the report seeds."""
    from robo.commands.evaluate import Evaluate

    return Evaluate(policy=config.out, task=config.task, seeds=REPORT_SEEDS, num_envs=64).run()


def video_stage(config: Demo, outcomes: list[dict[str, Any]]) -> dict[str, str | None]:
    """Reward videos of a success and of a failure.

    A policy that fails on none of the report seeds has no failure to show; the failure is then
    one of the untrained policy, and its title says so.
    """
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.run_folder import find_policy

    chosen = ActorCritic.load(find_policy(config.out))
    won = [row["seed"] for row in outcomes if row["success"]]
    lost = [row["seed"] for row in outcomes if not row["success"]]
    videos: dict[str, str | None] = {"success": None, "failure": None}
    if won:
        episode = play(config, chosen, won[0])
        videos["success"] = write_video(config, episode, "success", "trained policy")
    if lost:
        episode = play(config, chosen, lost[0])
        videos["failure"] = write_video(config, episode, "failure", "trained policy")
    else:
        fresh = ActorCritic(
            chosen.observation_space, chosen.action_space, chosen.config, seed=config.seed
        )
        episode = play(config, fresh, int(won[0]), deterministic=False)
        if not episode.success:
            videos["failure"] = write_video(config, episode, "failure", "untrained policy")
    return videos


def play(config: Demo, policy: Any, seed: int, deterministic: bool = True) -> Episode:
    """One episode with large frames of every step."""
    from robo.policies.recorder import PolicyActor, record_episodes
    from robo.rewards.grm.compact import CompactGRM
    from robo.rollout import CameraSchedule
    from robo.sim.registry import make_vec

    shape = CompactGRM.load(config.out / "grm").config
    env = make_vec(config.task, 1)
    try:
        camera = CameraSchedule(shape.views, shape.height, shape.width, stride=1)
        actor = PolicyActor(policy, deterministic, seed)
        small = record_episodes(env, actor, [seed], camera)[0]
        # The same episode again, larger: actions are deterministic given the seed.
        actor = PolicyActor(policy, deterministic, seed)
        large = record_episodes(env, actor, [seed], replace(camera, height=360, width=360))[0]
    finally:
        env.close()
    small.metadata["shown"] = large
    return small


def write_video(config: Demo, episode: Episode, kind: str, actor: str) -> str:
    """Score the small frames, show the large ones."""
    from robo.media import shaped_trace, write_reward_video
    from robo.policies.train_config import lift_ppo
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.score import score_episode

    shown = episode.metadata.pop("shown")
    reward = training(config).reward
    grm = CompactGRM.load(config.out / "grm")
    score = score_episode(grm, episode, reward.mode, reward.stride)
    title = f"{config.task}, {actor}: sparse success shaped by the GRM from pixels"
    trace = shaped_trace(episode, score.potential, lift_ppo().gamma, reward.weight, title)
    path = config.out / "videos" / f"{kind}.mp4"
    return str(write_reward_video(path, shown, trace))
