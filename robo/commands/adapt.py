"""One-shot adaptation: a fitted GRM learns a new task from one demonstration of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError, StoreError

if TYPE_CHECKING:
    from robo.commands.fit import FitGRM
    from robo.rewards.grm.potential import AnyGRM
    from robo.rewards.grm.training import FitProgress
    from robo.rollout import Episode

ROWS = 48
"""Frames of the one demonstration in a training step."""


def adapt(config: FitGRM, on_progress: Callable[[FitProgress], None] | None) -> dict[str, Any]:
    """Adapt ``config.adapt`` to the task of ``config.demos`` and compare before with after.

    Before and after see the same START and GOAL, those of the demonstration; only the weights
    differ.

    Returns:
        See :meth:`robo.commands.fit.FitGRM.run`.

    Raises:
        RoboError: a model that cannot be trained, no demonstration, a bad keyframe file.
    """
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.folder import load_model

    assert config.adapt is not None and config.demos is not None
    demo = one_demonstration(config.demos)
    summary: dict[str, Any] = {}
    if config.keyframes is not None:
        demo, summary["keyframes"] = marked(demo, config.keyframes)
    elif not demo.keyframes:
        from robo.rewards.grm.segments import propose_segments, with_segments

        demo = with_segments(demo, propose_segments(demo))
    model = load_model(config.adapt, config.config.device)
    before, after, trained = (
        _compact(config, model, demo, on_progress)
        if isinstance(model, CompactGRM)
        else _vlm(config, model, demo, on_progress)
    )
    summary |= {"grm": str(config.out), "task": demo.info.task, "adapted_from": str(config.adapt)}
    summary |= trained
    if config.held_out is not None:
        summary |= compared(config, before, after)
    return summary


def _compact(
    config: FitGRM,
    base: Any,
    demo: Episode,
    on_progress: Callable[[FitProgress], None] | None,
) -> tuple[AnyGRM, AnyGRM, dict[str, Any]]:
    from robo.commands.fit import references_of
    from robo.data import open_store
    from robo.rewards.grm.fit import fit_grm

    task, words = demo.info.task, demo.info.instruction
    before = copy.deepcopy(base)
    wanted = {view: demo.frames[view] for view in base.config.views if view in demo.frames}
    before.set_task(task, words, references_of(replace(demo, frames=wanted)))
    before.use_task(task)
    old = [open_store(path) for path in (config.store, *config.also) if path is not None]
    options = replace(
        config.config,
        views=base.config.views,
        reference_views=base.config.reference_views,
        rows_per_episode=min(ROWS, max(2, len(demo.frame_step))),
    )
    after, trained = fit_grm(
        [demo],
        options,
        on_progress,
        base=base,
        also=old,
        folder=config.out,
        resume=config.resume,
        # Half of the training is the new task, however many old ones are kept in mind.
        weights=[1.0, *(1.0 / len(old) for _ in old)],
    )
    after.save(config.out)
    return before, after, trained


def _vlm(
    config: FitGRM,
    model: Any,
    demo: Episode,
    on_progress: Callable[[FitProgress], None] | None,
) -> tuple[AnyGRM, AnyGRM, dict[str, Any]]:
    from robo.commands.fit import image_size, references_of
    from robo.data import open_store
    from robo.rewards.grm.pair_model import PairModel
    from robo.rewards.grm.vlm_config import VLMConfig

    if not isinstance(model, PairModel) or not isinstance(model.config, VLMConfig):
        raise RoboError(
            f"{config.adapt} holds a served model or several models, which cannot be trained here; "
            "adapt it where its weights are"
        )
    if config.tune.steps < 1:
        raise RoboError("--tune.steps is 0, so that nothing would be adapted; give 100, say")
    from robo.rewards.grm.vlm.tuning import tune

    def about(copy_of: PairModel) -> PairModel:
        """The model with views, sizes and references of the new task's demonstration."""
        return replace(
            copy_of,
            views=tuple(demo.frames),
            size=image_size(demo),
            task=demo.info.task,
            instruction=demo.info.instruction,
            reference=references_of(demo),
        )

    before = about(model)
    # Weights are changed in place: only a comparison needs the old ones too.
    fresh = model
    if config.held_out is not None:
        fresh = PairModel.load(Path(str(config.adapt)), config.config.device)
    after = about(fresh)
    old = [] if config.store is None else list(open_store(config.store))
    others = sorted({episode.info.task for episode in old} - {demo.info.task})
    if others or config.also:
        raise RoboError(
            f"--store holds episodes of {others} and --also names {len(config.also)} stores, but a "
            f"vision-language model is adapted on the new task alone, {demo.info.task}; leave them "
            "out"
        )
    trained = tune(after, [demo, *old], config.tune, config.out, on_progress, config.resume)
    return before, after, trained


def one_demonstration(text: str) -> Episode:
    """The demonstration that STORE or STORE:INDEX names; without an index the first success.

    Raises:
        StoreError: no such episode, a failure, or one without frames.
    """
    from robo.data import open_store

    path, colon, index = text.rpartition(":")
    if not colon or not index.isdigit() or Path(text).exists():
        path, index = text, ""
    store = open_store(Path(path))
    if index:
        if int(index) >= len(store):
            raise StoreError(
                f"{path} holds {len(store)} episodes, counted from 0: there is no {index}"
            )
        demo = store[int(index)]
    else:
        demo = next((episode for episode in store if episode.success), None)
    if demo is None or not demo.success:
        raise StoreError(f"{text} names no success; adaptation needs one demonstration")
    if not demo.frames:
        raise StoreError(f"the demonstration {text} has no camera frames; collect it again")
    return demo


def marked(demo: Episode, path: Path) -> tuple[Episode, str]:
    """The demonstration with the subtasks of a JSON file, which is written where missing.

    Returns:
        The episode, and ``read`` or ``proposed``.
    """
    from robo.media.segment_picture import draw_segments
    from robo.rewards.grm.segments import (
        propose_segments,
        read_segments,
        with_segments,
        write_segments,
    )

    if path.exists():
        return with_segments(demo, read_segments(path, len(demo) + 1)), "read"
    segments = propose_segments(demo)
    write_segments(path, segments)
    draw_segments(demo, segments, path.with_suffix(".png"))
    return with_segments(demo, segments), "proposed"


def compared(config: FitGRM, before: AnyGRM, after: AnyGRM) -> dict[str, Any]:
    """Figures of ``robo score`` on the held-out episodes, before and after."""
    from robo.commands.score import Score, assess_episodes
    from robo.data import open_store

    assert config.held_out is not None
    episodes = list(open_store(config.held_out))
    how = Score(
        config.out, config.held_out, mode=config.mode, stride=1, device=config.config.device
    )
    return {
        "before": assess_episodes(how, before, episodes),
        "after": assess_episodes(how, after, episodes),
    }
