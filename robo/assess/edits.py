"""Episodes made from episodes: played in another order, cut, or with other pictures.

What probes show a reward. Nothing of an edited episode is a success unless it is said to be: a
reward that reads the simulator's success bit is not fooled by a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robo.rollout import Episode

Views = dict[str, np.ndarray]
MOTION = frozenset({"speed", "distance", "throttle", "steer_change"})
"""Signals that are 0 for who stands still."""


def resequence(
    episode: Episode, states: Sequence[int] | np.ndarray, success: bool = False
) -> Episode:
    """The episode that goes through ``states`` of another one; it ends by a time-out or success.

    A step pays and signals what arriving in its state did. Frames come at the stride of the stored
    ones; of a state between two of those, the newest before it is shown. Signals ``delta_X`` are
    the differences of ``X`` along the new order; an ``X`` that never falls is a counter, and stays
    at its highest when the order goes back. Where a state is repeated, signals of motion are 0.

    Args:
        episode: of L steps.
        states: indices 0 ... L, at least two.
        success: whether the new episode's last step counts as a success.
    """
    order = np.asarray(states, np.int64)
    arriving = np.maximum(order[1:] - 1, 0)
    length = len(order) - 1
    signals = {name: np.asarray(values)[arriving] for name, values in episode.signals.items()}
    for name in episode.signals:
        base = name.removeprefix("delta_")
        if base != name and base in episode.signals:
            signals[name] = _differences(episode, base, name, order)
    standing = order[1:] == order[:-1]
    for name in set(signals) & MOTION:
        signals[name] = np.where(standing, np.float32(0), signals[name])
    frames, frame_step = _reordered_frames(episode, order)
    return replace(
        episode,
        observation={key: np.asarray(x)[order] for key, x in episode.observation.items()},
        action=np.asarray(episode.action)[np.minimum(order[:-1], len(episode) - 1)],
        reward=np.asarray(episode.reward)[arriving],
        success=success,
        terminated=success,
        signals=signals,
        frames=frames,
        frame_step=frame_step if frames else None,
        keyframes={},
        metadata={**episode.metadata, "edited": True, "steps": length},
    )


def _differences(episode: Episode, base: str, name: str, order: np.ndarray) -> np.ndarray:
    """``delta_X`` along a new order."""
    after = np.asarray(episode.signals[base], np.float64)
    start = after[0] - float(np.asarray(episode.signals[name])[0])
    value = np.concatenate([[start], after])
    along = value[order]
    if (np.diff(value) >= 0).all():
        along = np.maximum.accumulate(along)
    return np.diff(along).astype(np.float32)


def _reordered_frames(episode: Episode, order: np.ndarray) -> tuple[Views, np.ndarray]:
    if not episode.frames or episode.frame_step is None or len(episode.frame_step) == 0:
        return {}, np.zeros(0, np.int64)
    rows = np.asarray(episode.frame_step, np.int64)
    newest = np.maximum(np.searchsorted(rows, order, side="right") - 1, 0)
    # As a camera with the stride of the stored frames would have taken them.
    stride = int(np.diff(rows).max()) if len(rows) > 1 else len(order)
    at = np.unique(np.append(np.arange(0, len(order), stride), len(order) - 1))
    return {view: np.asarray(x)[newest[at]] for view, x in episode.frames.items()}, at


def with_frames(episode: Episode, change: Callable[[Views], Views], success: bool) -> Episode:
    """The same episode seen through other pictures.

    Args:
        episode: with camera frames.
        change: views ``[F, H, W, 3]`` to views of the same sizes.
        success: whether its last step counts as a success.
    """
    frames = change({view: np.asarray(images) for view, images in episode.frames.items()})
    return replace(episode, frames=frames, success=success, terminated=_ends(episode, success))


def frozen(episode: Episode) -> Episode:
    """The camera hangs: every frame is the first one."""
    return with_frames(
        episode,
        lambda views: {v: np.repeat(x[:1], len(x), axis=0) for v, x in views.items()},
        False,
    )


def blank(episode: Episode) -> Episode:
    """Every view is black."""
    return with_frames(
        episode, lambda views: {v: np.zeros_like(x) for v, x in views.items()}, False
    )


def without_view(episode: Episode, view: str) -> Episode:
    """One view is black; the outcome stays."""
    return with_frames(
        episode,
        lambda views: {v: np.zeros_like(x) if v == view else x for v, x in views.items()},
        episode.success,
    )


def swapped_views(episode: Episode, first: str, second: str) -> Episode:
    """Two views are plugged in the wrong way round; the outcome stays."""

    def swap(views: Views) -> Views:
        return {**views, first: views[second], second: views[first]}

    return with_frames(episode, swap, episode.success)


def goal_pasted(episode: Episode, goal: Episode) -> Episode:
    """A photograph of the goal lies in the picture: a quarter of every view, at its top left.

    Args:
        episode: a failure.
        goal: a success of the same task and cameras, whose last frame is the photograph.
    """

    def paste(views: Views) -> Views:
        pasted = {}
        for view, images in views.items():
            images = images.copy()
            height, width = images.shape[1] // 2, images.shape[2] // 2
            picture = np.asarray(goal.frames[view])[-1]
            images[:, :height, :width] = picture[: 2 * height : 2, : 2 * width : 2]
            pasted[view] = images
        return pasted

    return with_frames(episode, paste, False)


def reversed_time(episode: Episode) -> Episode:
    """Played backwards, from its last state to its first."""
    return resequence(episode, np.arange(len(episode), -1, -1))


def cut(episode: Episode, share: float) -> Episode:
    """The first ``share`` of its steps, at least one, then a time-out."""
    return resequence(episode, np.arange(max(1, int(share * len(episode))) + 1))


def instructed(episode: Episode, instruction: str, success: bool = False, **info: Any) -> Episode:
    """The same episode under another instruction."""
    return replace(
        episode,
        info=replace(episode.info, instruction=instruction, **info),
        success=success,
        terminated=_ends(episode, success),
    )


def _ends(episode: Episode, success: bool) -> bool:
    """Whether it terminates: a success that is none any more ends by a time-out."""
    return success or (episode.terminated and not episode.success)
