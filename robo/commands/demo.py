"""``robo demo``: the main job in one command.

Collect demonstrations, fit the General Reward Model on their pixels, train a policy from scratch
on sparse success shaped by it, evaluate on seeds that nothing was chosen on, write reward videos.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError
from robo.storage import plain, read_json, write_json

if TYPE_CHECKING:
    from robo.policies.train_config import TrainConfig
    from robo.rollout import Episode
    from robo.sim.contract import VectorEnvironment

FAILURES = ("beside:20", "closed:20", "open:12", "wander:24")
"""Scripted failures of mujoco/Lift that its GRM learns from, beside the demonstrations."""
SELECTION_SEEDS = "9000-9099"
"""Seeds that stop the run and choose the policy."""
REPORT_SEEDS = "6000-6099"
"""Seeds of the closing evaluation."""


@dataclass(frozen=True)
class Demo:
    """Demonstrations to reward to policy to video, on one task."""

    task: str = "mujoco/Lift"
    """Task id with a scripted expert: mujoco/Reach, mujoco/Push, mujoco/Lift."""
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

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in ("demonstrations", "grm_iterations", "total_steps"):
            if getattr(self, name) < 1:
                raise RoboError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.seed < 0:
            raise RoboError(f"seed is {self.seed}, expected at least 0")

    def run(self) -> dict[str, Any]:
        """Run all stages.

        Returns:
            ``success_shaped`` (over 100 seeds that nothing was chosen on), ``interval``,
            ``environment_steps``, ``timeout``, ``stages`` (seconds each), ``videos`` (paths),
            ``video_actors`` (whose episode each shows), ``grm``, ``policy``, ``backend``,
            ``seeds``.

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
        shown = stages.do("video", lambda: video_stage(self, score["outcomes"]))
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
            "videos": {kind: video and video["path"] for kind, video in shown.items()},
            "video_actors": {kind: video and video["actor"] for kind, video in shown.items()},
        }
        print_closing(self, result)
        return result


WHAT = {
    "collect": "scripted demonstrations and failures of {task}, seen by its cameras",
    "fit": "a General Reward Model that reads progress from those pixels",
    "train": "PPO from scratch on sparse success shaped by it, at most {total_steps:,} steps",
    "evaluate": "the chosen policy on seeds {seeds}, on which nothing was chosen",
    "video": "views, progress and reward of a success and of a failure",
}
"""What each stage does, for the person who waits."""


class Stages:
    """Runs stages once: what a finished stage returned is read back when the demo is repeated."""

    def __init__(self, config: Demo) -> None:
        """Stages of the demo in ``config.out``.

        Raises:
            RoboError: the folder holds a demo of other settings.
        """
        from rich.console import Console

        self.config = config
        self.console = Console(stderr=True, soft_wrap=True)
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
        path = self.folder / f"{name}.json"
        heading = f"{list(WHAT).index(name) + 1}/{len(WHAT)} {name}"
        if path.exists():
            saved = read_json(path)
            self._say(f"{heading}: done before, in {saved['seconds']:.1f} s")
        else:
            what = WHAT[name].format(
                task=self.config.task, total_steps=self.config.total_steps, seeds=REPORT_SEEDS
            )
            self._say(f"{heading}: {what}")
            start = time.perf_counter()
            result = plain(work())
            saved = {"seconds": round(time.perf_counter() - start, 2), "result": result}
            write_json(path, saved)
            self._say(f"  {self._summary(name, saved['result'])}{saved['seconds']:.1f} s")
        self.seconds[name] = saved["seconds"]
        return saved["result"]

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    @staticmethod
    def _summary(name: str, result: dict[str, Any]) -> str:
        """What came of a stage that does not tell it by itself."""
        if name == "collect":
            return (
                f"{result['demonstrations']} demonstrations (the expert solved "
                f"{result['expert_success_rate']:.0%} of its attempts), "
                f"{sum(result['failures'].values())} failures, "
            )
        if name == "fit":
            return f"{result['frames']:,} frames, {result['parameters']:,} parameters, "
        if name == "train" and result["stopped_early"]:
            return f"every selection seed solved after {result['steps']:,} steps, "
        return ""


def collect_stage(config: Demo) -> dict[str, Any]:
    """Demonstrations and scripted failures, with three cameras.

    A store that an interrupted demo left is made anew: the seeds give the same episodes.
    """
    from robo.commands.collect import Collect

    shutil.rmtree(config.out / "collect", ignore_errors=True)
    return Collect(
        task=config.task,
        demonstrations=config.demonstrations,
        failures=FAILURES if config.task == "mujoco/Lift" else (),
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
        """Keep ``potential_of_success`` and ``potential_of_failure`` where there are any."""
        for name, value in iteration.metrics.items():
            if name.startswith("episode/potential"):
                last[name.removeprefix("episode/")] = value

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


def video_stage(config: Demo, outcomes: list[dict[str, Any]]) -> dict[str, dict[str, str] | None]:
    """Reward videos of a success and of a failure: ``path`` and ``actor``, None where none was.

    A policy that fails on none of the report seeds has no failure to show; the failure is then
    one of the untrained policy, and its title says so.
    """
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.run_folder import find_policy

    chosen = ActorCritic.load(find_policy(config.out))
    videos: dict[str, dict[str, str] | None] = {}
    for kind, wanted in (("success", True), ("failure", False)):
        seeds = [int(row["seed"]) for row in outcomes if row["success"] == wanted]
        actor, found = "trained policy", play(config, chosen, seeds, wanted)
        if not seeds and not wanted:
            fresh = ActorCritic(
                chosen.observation_space, chosen.action_space, chosen.config, seed=config.seed
            )
            seeds = [int(row["seed"]) for row in outcomes]
            actor, found = "untrained policy", play(config, fresh, seeds, wanted, False)
        videos[kind] = found and {
            "path": write_video(config, *found, kind, actor),
            "actor": actor,
        }
    return videos


def play(
    config: Demo, policy: Any, seeds: list[int], success: bool, deterministic: bool = True
) -> tuple[Episode, Episode] | None:
    """The first episode that ends as wanted, as the GRM sees it, and drawn larger; None if none.

    Both have frames of every step.
    """
    from robo.policies.recorder import PolicyActor, record_episodes
    from robo.rewards.grm.compact import CompactGRM
    from robo.rollout import CameraSchedule
    from robo.sim.registry import make_vec

    shape = CompactGRM.load(config.out / "grm").config
    small = CameraSchedule(shape.views, shape.height, shape.width, stride=1)
    large = replace(small, height=360, width=360)

    def drawn(env: VectorEnvironment, seed: int, camera: CameraSchedule) -> Episode:
        """The same episode each time: actions are the same given the seed."""
        actor = PolicyActor(policy, deterministic, seed)
        return record_episodes(env, actor, [seed], camera)[0]

    with (
        closing(make_vec(config.task, 1)) as env,
        closing(make_vec(config.task, 1, profile="faithful")) as faithful,
    ):
        for seed in seeds:
            scored = drawn(env, seed, small)
            # A borderline episode may end otherwise when it is played alone: rounding differs.
            if scored.success == success:
                return scored, drawn(faithful, seed, large)
    return None


def write_video(config: Demo, scored: Episode, shown: Episode, kind: str, actor: str) -> str:
    """Score the small frames, show the large ones; returns the path."""
    from robo.media import shaped_trace, write_reward_video
    from robo.policies.train_config import lift_ppo
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.score import score_episode

    reward = training(config).reward
    grm = CompactGRM.load(config.out / "grm")
    score = score_episode(grm, scored, reward.mode, reward.stride)
    title = f"{config.task}, {actor}: sparse success shaped by the GRM from pixels"
    trace = shaped_trace(scored, score.potential, lift_ppo().gamma, reward.weight, title)
    path = config.out / "videos" / f"{kind}.mp4"
    return str(write_reward_video(path, shown, trace))


def print_closing(config: Demo, result: dict[str, Any]) -> None:
    """The closing table, and what to do next."""
    from rich.console import Console
    from rich.table import Table

    low, high = result["interval"]
    ends = [
        f"{name.removeprefix('potential_of_')} {value:.2f}"
        for name, value in result["potential_at_the_end"].items()
    ]
    rows = {
        f"success on seeds {REPORT_SEEDS}, unseen": f"{result['success_shaped']:.0%} "
        f"(95 % interval {low:.1%} to {high:.1%})",
        "environment steps": f"{result['environment_steps']:,}",
        "time-out rule": f"{result['timeout']} (not policy-invariant)",
        "potential at the end of episodes": ", ".join(ends) or "not known",
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in result["stages"].items()),
        "seconds, all stages": f"{result['seconds']:.1f}",
    }
    for kind, path in result["videos"].items():
        actor = result["video_actors"][kind]
        rows[f"reward video, {kind}"] = f"{path} ({actor})" if path else "none occurred"
    rows |= {"policy": result["policy"], "reward model": result["grm"]}
    table = Table(title=f"robo demo: {config.task}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console = Console(stderr=True)
    console.print(table)
    console.print(
        f"check it on other seeds: robo evaluate --policy {config.out} --task {config.task} "
        "--seeds 5000-5099\n"
        f"curves of training: tensorboard --logdir {config.out / 'metrics'}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
