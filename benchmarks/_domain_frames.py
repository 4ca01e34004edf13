"""Frames and domain image-text models that several benchmarks start from, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _study import Run, Study, execute

from robo.errors import RoboError

EPISODES, ITERATIONS = 240, 3000
"""Training episodes per driving town, and training steps of a fit."""
DRIVING: dict[str, float] = {
    "size": 216,
    "stride": 3,
    "blind": 0.8,
    "vehicles": 100,
    "time_limit": 15.0,
}
"""How driving is recorded: part of a run's settings, so that older frames are not taken over."""
LIFT_FAILURES = ("beside", "closed", "open", "above", "drop", "hover", "knock", "wander")


def frame_run(name: str, task: str, episodes: int, seed: int, lanes: int = 0) -> Run:
    """A run that records episodes with frames and signals; ``lanes``: of a grid of its own."""
    settings: dict[str, Any] = {"what": "frames", "task": task, "episodes": episodes, "seed": seed}
    if lanes:
        settings["lanes"] = lanes
    if not task.startswith("mujoco/"):
        settings |= DRIVING
    return Run(f"frames-{name}", settings)


def driving_runs(episodes: int) -> list[Run]:
    """Recordings that a domain model of driving is fitted on.

    Streets of one and of two lanes each way: lane markings and cars beside one's own are
    otherwise taken for cars in the way in a town that has them.
    """
    return [
        frame_run("grid", "carla-standin/Grid", episodes, 0),
        frame_run("junctions", "carla-standin/Junctions", episodes, 1000),
        frame_run("avenues", "carla-standin/Grid", episodes, 4000, lanes=2),
    ]


def fit_run(captions: str, frames: tuple[str, ...], **settings: Any) -> Run:
    """A run that fits a model, of the sizes of ``robo fit clip``, on the frames of other runs."""
    from robo.perception.clip_config import ClipFitConfig

    usual = ClipFitConfig()
    sizes = {"width": usual.shape.width, "batch_size": usual.batch_size, "peak": usual.peak}
    return Run(
        f"clip-{captions}",
        {"what": "fit", "captions": captions, "frames": list(frames), **sizes, **settings},
    )


def do(run: Run, folder: Path) -> dict[str, Any]:
    """One of the two, in its folder."""
    if run.settings["what"] == "frames":
        return _record(run.settings, folder)
    return _fit(run.settings, folder)


def made(study: Study, runs: list[Run], workers: int = 1, minutes: float | None = None) -> None:
    """Do the runs that are missing.

    Raises:
        RoboError: one failed, or there was no time for it.
    """

    def tell(run: Run, result: dict[str, Any] | None) -> None:
        print(f"{run.name}: {'failed' if result is None else 'done'}", flush=True)

    execute(study, runs, do, workers, minutes, tell)
    missing = [run.name for run in study.missing(runs)]
    if missing:
        raise RoboError(f"{', '.join(missing)} did not finish: repeat the command to go on")


def _record(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    if settings["task"].startswith("mujoco/"):
        from robo.commands.collect import Collect, record

        each = max(1, settings["episodes"] // (2 * len(LIFT_FAILURES)))
        config = Collect(
            task=settings["task"],
            demonstrations=settings["episodes"] // 2,
            failures=tuple(f"{name}:{each}" for name in LIFT_FAILURES),
            views=("front",),
            stride=2,
            seed=settings["seed"],
            out=folder,
        )
        return record(config)
    import importlib.util
    import sys

    path = Path(__file__).parents[1] / "datasets" / "driving_frames.py"
    spec = importlib.util.spec_from_file_location("driving_frames", path)
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    sys.modules["driving_frames"] = recipe
    spec.loader.exec_module(recipe)
    return recipe.record(
        recipe.Config(
            task=settings["task"],
            episodes=settings["episodes"],
            seed=settings["seed"],
            blind=settings["blind"],
            size=settings["size"],
            stride=settings["stride"],
            lanes=settings.get("lanes", 0),
            options={name: settings[name] for name in ("vehicles", "time_limit")},
            out=folder,
        )
    )


def _fit(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    from robo.data import EpisodeStore
    from robo.perception.clip_config import ClipFitConfig
    from robo.rewards.captions import caption_set
    from robo.rewards.language_fit import fit_clip

    def episodes() -> Any:
        for name in settings["frames"]:
            yield from EpisodeStore(folder.parent / name / "episodes", mode="r")

    config = ClipFitConfig(
        iterations=settings["iterations"], minutes=settings["fit_minutes"], seed=settings["seed"]
    )
    return fit_clip(episodes(), caption_set(settings["captions"]), config, folder)
