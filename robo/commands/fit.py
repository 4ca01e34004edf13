"""``robo fit grm``: a General Reward Model from episodes: compact, vision-language or served."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from robo.errors import RoboError, StoreError
from robo.rewards.grm.fit_config import FitConfig
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.tune_config import TuneConfig
from robo.rewards.grm.vlm_config import VLMConfig

if TYPE_CHECKING:
    from robo.rewards.grm.fit import FitProgress
    from robo.rollout import Episode


@dataclass(frozen=True)
class FitGRM:
    """Fit a General Reward Model on stored demonstrations and failures, or adapt one to a task."""

    store: Path | None = None
    """Episode store, or the run folder of robo collect. With --adapt: old tasks to keep in mind."""
    config: Annotated[FitConfig, tyro.conf.arg(name="")] = field(default_factory=FitConfig)
    """How the compact model is fitted."""
    also: tuple[Path, ...] = ()
    """Stores of further tasks, one each: a compact model that serves all of them."""
    ensemble: int = 1
    """Compact models to fit, by seeds that follow each other; with 2 or more the potential is the
    lower bound of what they agree on."""
    spread: float = 1.0
    """Of an ensemble: standard deviations below the mean."""
    backbone: Literal["compact", "vlm", "http"] = "compact"
    """compact: a small network of our own; vlm: Qwen2.5-VL or Qwen3-VL (--vlm.model), fine-tuned
    for --tune.steps; http: a served model (--http.url). The last two take the references of the
    store's first success."""
    vlm: VLMConfig = field(default_factory=VLMConfig)
    """The vision-language model."""
    http: HTTPConfig = field(default_factory=HTTPConfig)
    """The served model."""
    tune: TuneConfig = field(default_factory=TuneConfig)
    """Fine-tuning of the vision-language model."""
    adapt: Path | None = None
    """Folder of a fitted GRM that is adapted to the task of --demos."""
    demos: str | None = None
    """With --adapt: the one demonstration, as STORE or STORE:INDEX."""
    held_out: Path | None = None
    """With --adapt: episodes of the new task on which before and after are compared."""
    keyframes: Path | None = None
    """Subtasks in the published JSON format. With --adapt the file of the demonstration; else a
    folder with a file for each success of --store, episode_0000.json and so on. A missing file is
    written with a proposal and a picture of it beside, to be corrected."""
    mode: Literal["backward", "forward", "incremental", "mean", "consistent"] = "backward"
    """With --held-out: progress mode of the comparison."""
    resume: bool = False
    """Go on from the checkpoint in --out (--checkpoint-every, --tune.checkpoint-every)."""
    threads: int = 1
    """Threads of torch; more help only where the cores are idle."""
    out: Path = Path("runs/grm")
    """Run folder, which is the GRM's folder too."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse what lacks its data."""
        if self.adapt is None and self.store is None:
            raise RoboError(
                "name the episodes to fit on: --store FOLDER (or --adapt GRM --demos STORE)"
            )
        if self.ensemble < 1 or not self.spread >= 0:
            raise RoboError(
                f"ensemble is {self.ensemble}, expected at least 1, and spread {self.spread}, "
                "expected at least 0"
            )
        if (self.adapt is None) != (self.demos is None):
            raise RoboError("--adapt GRM and --demos STORE go together; give both or neither")
        single = "adaptation" if self.adapt is not None else f"backbone {self.backbone}"
        if self.ensemble > 1 and (self.adapt is not None or self.backbone != "compact"):
            raise RoboError(
                f"ensemble is {self.ensemble}, but {single} makes one model; leave --ensemble out"
            )
        if self.also and self.adapt is None and self.backbone != "compact":
            raise RoboError(
                f"backbone {self.backbone} takes the references of one task; leave --also out and "
                "make a model for each task"
            )
        if self.keyframes is not None and self.adapt is None and self.also:
            raise RoboError(
                "--keyframes marks the episodes of --store alone; leave --also out, or mark the "
                "other stores by fits of their own"
            )
        if self.held_out is not None and self.adapt is None:
            raise RoboError(
                "--held-out compares before and after an adaptation; leave it out, and run `robo "
                "score` on those episodes"
            )

    def run(self) -> dict[str, Any]:
        """Fit and save.

        Returns:
            ``grm`` (folder) and the training summary; with --adapt and --held-out also
            ``before`` and ``after`` (see ``robo score``); with --keyframes ``keyframes``: read or
            proposed, or how many of each.

        Raises:
            RoboError: empty or unfit store, missing views, divergence, full disk, missing extra,
                no service.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        loss = TextColumn("{task.fields[loss]}")
        columns = (TextColumn("fit grm"), BarColumn(), loss, TimeRemainingColumn())
        console = Console(stderr=True)
        # Where there is no terminal, a transient bar would leave an empty line.
        quiet = not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
            line = bar.add_task("fit", total=None, loss="")

            def show(step: FitProgress) -> None:
                bar.update(
                    line,
                    completed=step.iteration,
                    total=step.iterations,
                    loss=f"loss {step.loss:.4f}",
                )

            return fit(self, show)


def fit(config: FitGRM, on_progress: Callable[[FitProgress], None] | None = None) -> dict[str, Any]:
    """Do what :meth:`FitGRM.run` says, calling ``on_progress`` after each training step."""
    import torch

    from robo.rewards.grm.training import take_device

    take_device()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        if config.adapt is not None:
            from robo.commands.adapt import adapt

            return adapt(config, on_progress)
        if config.backbone != "compact":
            return _fit_pair_model(config, on_progress)
        return _fit_compact(config, on_progress)
    finally:
        torch.set_num_threads(before)


def _fit_compact(
    config: FitGRM, on_progress: Callable[[FitProgress], None] | None
) -> dict[str, Any]:
    from robo.data import open_store
    from robo.rewards.grm.fit import fit_grm

    assert config.store is not None
    if config.ensemble > 1:
        return _fit_ensemble(config, on_progress)
    episodes, marks = marked_episodes(config)
    grm, summary = fit_grm(
        episodes,
        config.config,
        on_progress,
        also=[open_store(path) for path in config.also],
        folder=config.out,
        resume=config.resume,
    )
    grm.save(config.out)
    return {"grm": str(config.out), **summary, **marks}


def _fit_ensemble(
    config: FitGRM, on_progress: Callable[[FitProgress], None] | None
) -> dict[str, Any]:
    """Members in folders of their own, and a folder that names them."""
    from robo.rewards.grm.ensemble import EnsembleGRM

    folders = [config.out / f"member_{i}" for i in range(config.ensemble)]
    members = [
        _fit_compact(
            replace(
                config,
                ensemble=1,
                out=folder,
                config=replace(config.config, seed=config.config.seed + i),
            ),
            on_progress,
        )
        for i, folder in enumerate(folders)
    ]
    EnsembleGRM.write(config.out, folders, config.spread)
    return {"grm": str(config.out), "spread": config.spread, "members": members}


def _fit_pair_model(
    config: FitGRM, on_progress: Callable[[FitProgress], None] | None
) -> dict[str, Any]:
    """A vision-language or served model with the references of the first success."""
    from robo.rewards.grm.pair_model import PairModel, make_backbone

    assert config.store is not None
    marked, marks = marked_episodes(config)
    episodes = list(marked)
    demo = next((episode for episode in episodes if episode.success and episode.frames), None)
    if demo is None:
        raise StoreError(
            f"{config.store} holds no success with camera frames, from which START and GOAL could "
            "be taken; collect a demonstration"
        )
    choice = config.vlm if config.backbone == "vlm" else config.http
    model = PairModel(choice, make_backbone(choice), tuple(demo.frames), image_size(demo))
    model.task, model.instruction = demo.info.task, demo.info.instruction
    model.reference = references_of(demo)
    if config.backbone == "http" or config.tune.steps == 0:
        model.save(config.out)
        summary: dict[str, Any] = {"steps": 0}
    else:
        from robo.rewards.grm.vlm.tuning import tune

        summary = tune(model, episodes, config.tune, config.out, on_progress, config.resume)
    known = {"grm": str(config.out), "backbone": config.backbone, "task": model.task}
    return {**known, **summary, **marks}


def marked_episodes(config: FitGRM) -> tuple[Iterable[Episode], dict[str, Any]]:
    """The episodes of --store, and what was done about the subtasks of its successes.

    Returns:
        The store itself without --keyframes; with it, its episodes with the subtasks of its files,
        and ``keyframes``: how many files were read, and how many proposed.

    Raises:
        StoreError: a bad file, or subtasks that do not fit their episode.
    """
    from robo.data import open_store

    assert config.store is not None
    store = open_store(config.store)
    if config.keyframes is None:
        return store, {}
    from robo.commands.adapt import marked

    counts = {"read": 0, "proposed": 0}
    episodes = []
    for index, episode in enumerate(store):
        if episode.success and episode.frames:
            path = config.keyframes / f"episode_{index:04d}.json"
            episode, how = marked(episode, path)
            counts[how] += 1
        episodes.append(episode)
    return episodes, {"keyframes": counts}


def references_of(demo: Episode) -> dict[str, dict[str, Any]]:
    """START and GOAL pictures: the first and last frames of a demonstration."""
    import torch

    return {
        kind: {view: torch.from_numpy(image[[row]].copy()) for view, image in demo.frames.items()}
        for kind, row in (("start", 0), ("goal", -1))
    }


def image_size(demo: Episode) -> tuple[int, int]:
    """(height, width) of an episode's frames."""
    height, width = next(iter(demo.frames.values())).shape[1:3]
    return int(height), int(width)
