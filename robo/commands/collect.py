"""``robo collect``: demonstrations and scripted failures into an episode store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robo.errors import RoboError
from robo.sim.mujoco.expert import FAILURES, ExpertStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from robo.data import EpisodeStore
    from robo.rollout import CameraSchedule, Episode
    from robo.sim.contract import VectorEnvironment


@dataclass(frozen=True)
class Collect:
    """Record scripted demonstrations (successes only) and failures of a task with its cameras."""

    task: str = "mujoco/Lift"
    """Task id with a scripted expert: mujoco/Reach, mujoco/Push, mujoco/Lift, robosuite/Lift,
    robosuite/Stack, robosuite/PickPlaceCan, robosuite/Door, libero/libero_object/0 ..."""
    source: Literal["expert", "human"] = "expert"
    """Who demonstrates: a script, or people (robosuite/Lift: the 3 recordings of robosuite 1.4)."""
    demonstrations: int = 30
    """Successful episodes to record; of people, as many as there are up to this number."""
    failures: tuple[str, ...] = ()
    """Failure scripts to record, NAME or NAME:COUNT (mujoco/Lift: see robo.sim.mujoco.expert)."""
    style: ExpertStyle = field(default_factory=ExpertStyle)
    """How clean the scripted motion is."""
    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles to record."""
    size: int = 64
    """Image height and width in pixels."""
    stride: int = 1
    """Steps between two frames."""
    seed: int = 0
    """First seed; every attempt takes the next one."""
    num_envs: int | None = None
    """Environments stepped together; by default 16 of mujoco/*, 2 of others (1 to 2 GB each)."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """The simulator's own options, name and value in turn: --options profile faithful
    observation_views front,wrist."""
    out: Path = Path("runs/collect")
    """Run folder; the store goes to its folder episodes."""
    json: bool = False
    """Print the result as the last line."""

    def run(self) -> dict[str, Any]:
        """Record until the counts are reached.

        Returns:
            ``store`` (path), ``episodes``, ``demonstrations``, ``failures`` (count per script),
            ``attempts`` and ``expert_success_rate`` (of the expert's attempts).

        Raises:
            RoboError: unknown task or script, no rendering, full disk, or an expert or failure
                script that hardly ever does what it should.
        """
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        console = Console(stderr=True)
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        # Where there is no terminal, a transient bar would leave an empty line.
        quiet = not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
            wanted = self.demonstrations + sum(count for _, count in self._failure_counts())
            line = bar.add_task("collect", total=wanted)
            return record(self, on_episode=lambda: bar.advance(line))

    def _failure_counts(self) -> list[tuple[str, int]]:
        parsed = []
        for text in self.failures:
            name, _, count = text.partition(":")
            if name not in FAILURES or not (count or "1").isdigit():
                raise RoboError(
                    f"failure {text!r} is not NAME or NAME:COUNT with a name of {list(FAILURES)}"
                )
            parsed.append((name, int(count or 1)))
        return parsed


def record(config: Collect, on_episode: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Do what :meth:`Collect.run` says, calling ``on_episode`` after each kept episode."""
    from robo.data import EpisodeStore
    from robo.policies.train_config import check_options
    from robo.rollout import CameraSchedule
    from robo.sim.registry import make_vec

    # Before anything is made or written.
    camera = CameraSchedule(config.views, config.size, config.size, config.stride)
    if config.source == "human":
        return _record_human(config, camera, on_episode)
    failures = config._failure_counts()
    if config.demonstrations < 0 or config.demonstrations + sum(n for _, n in failures) == 0:
        raise RoboError(
            f"demonstrations is {config.demonstrations} beside {sum(n for _, n in failures)} "
            "failures, expected at least one episode to record"
        )
    usual = 16 if config.task.startswith("mujoco/") else 2
    options: dict[str, Any] = dict(config.options)
    check_options(options)
    env = make_vec(config.task, config.num_envs or usual, **options)
    counts: dict[str, int] = {}
    try:
        with EpisodeStore(config.out / "episodes") as store:
            _check_empty(store)
            attempts, seed = _fill(
                config, camera, env, store, "expert", config.demonstrations, config.seed, on_episode
            )
            for name, count in failures:
                _, seed = _fill(config, camera, env, store, name, count, seed, on_episode)
                counts[name] = counts.get(name, 0) + count
            total = len(store)
    finally:
        env.close()
    return {
        "store": str(config.out / "episodes"),
        "task": config.task,
        "episodes": total,
        "demonstrations": config.demonstrations,
        "failures": counts,
        "attempts": attempts,
        "expert_success_rate": config.demonstrations / attempts if attempts else None,
    }


def _record_human(
    config: Collect, camera: CameraSchedule, on_episode: Callable[[], None]
) -> dict[str, Any]:
    """Store demonstrations of people; see :mod:`robo.sim.robosuite.demonstrations`."""
    from itertools import islice

    from robo.data import EpisodeStore
    from robo.sim.robosuite.demonstrations import TASK, human_episodes

    if config.options:
        raise RoboError(
            f"human recordings are as they were made, but options {config.options} are given; "
            "leave them out"
        )
    if config.task != TASK or config.failures:
        raise RoboError(
            f"there are no human recordings of {config.task}"
            f"{' that fail' if config.failures else ''}; use --task {TASK} without --failures"
        )
    with EpisodeStore(config.out / "episodes") as store:
        _check_empty(store)
        for episode in islice(human_episodes(camera), config.demonstrations):
            store.append(episode)
            on_episode()
        total = len(store)
    return {
        "store": str(config.out / "episodes"),
        "task": config.task,
        "episodes": total,
        "demonstrations": total,
        "failures": {},
        "attempts": total,
        "expert_success_rate": None,
    }


def _check_empty(store: EpisodeStore) -> None:
    if len(store):
        raise RoboError(f"{store.path} already holds {len(store)} episodes; choose another --out")


def fits(episode: Episode, script: str, phases: Sequence[str]) -> bool:
    """Whether an episode is what ``script`` was asked for: a failure, or a whole demonstration.

    An expert that began anew may succeed by accident before its phases are through. Such a success
    has other keyframes than the rest, and no place among demonstrations whose subtasks are counted.
    """
    if script != "expert":
        return not episode.success
    return episode.success and (not phases or len(episode.keyframes) == len(phases))


def _fill(
    config: Collect,
    camera: CameraSchedule,
    env: VectorEnvironment,
    store: EpisodeStore,
    script: str,
    count: int,
    seed: int,
    on_episode: Callable[[], None],
) -> tuple[int, int]:
    """Append ``count`` episodes of ``script``; (attempts until the last kept one, next seed)."""
    from robo.policies.recorder import stream_episodes
    from robo.sim.experts import make_expert

    actor = make_expert(config.task, config.style, seed, script, config.options)
    kept = attempts = last = 0
    while kept < count:
        if attempts > 20 * count + 100:
            raise RoboError(
                f"script {script!r} of {config.task} gave {kept} fitting episodes in {attempts} "
                "attempts; make the style cleaner (less --style.noise)"
            )
        batch = range(seed, seed + env.num_envs)
        for episode in stream_episodes(env, actor, batch, camera):
            attempts += 1
            if kept < count and fits(episode, script, getattr(actor, "phases", ())):
                store.append(episode)
                kept += 1
                last = attempts
                on_episode()
        seed += env.num_envs
    return last, seed
