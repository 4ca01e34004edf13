"""Attempts that do not succeed, of any task with a scripted expert, and what a person says of them.

The verdicts that :func:`robo.assess.completion.completion` is held against come from what the actor
did (its kind), never from a model: ``partial`` for an attempt that stalls near the end,
``failure`` for one that wanders off early.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from robo.rollout import Episode

WANDERS, STALLS = "wanders", "stalls"
NEIGHBOURS = 0.06
"""Share of the demonstrations' states whose labels are averaged into what a signal is worth."""
PARTIAL, LOST = (0.5, 0.78), 0.3
"""Of a task of one subtask: progress at which an attempt that stalls stops, and the largest mean
progress of one that wanders."""


class Spoiled:
    """A scripted expert that at some step stops being one.

    ``wanders``: from a random early step of the first subtask on it moves about at random.
    ``stalls``: it does all subtasks but the last, and then stands still. A task of one subtask has
    no end to stop at: there both stop at a random step, and :func:`judged` says how far it came.
    """

    def __init__(self, expert: Any, kind: str, subtasks: int, usual: float, seed: int) -> None:
        """Spoil ``expert``, whose first of ``subtasks`` takes ``usual`` steps."""
        self.expert, self.kind, self.subtasks, self.usual = expert, kind, subtasks, usual
        self.rng = np.random.default_rng((seed, 11))
        self.step = np.zeros(0, np.int64)

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        self.expert.reset(num_envs)
        self.step = np.zeros(num_envs, np.int64)
        self.leave = np.zeros(num_envs, np.int64)
        self.ends: list[list[int]] = [[] for _ in range(num_envs)]
        self.before: np.ndarray | None = None

    def _draw(self, count: int) -> np.ndarray:
        """Steps at which ``count`` attempts stop being expert; never for a later subtask's end."""
        if self.kind == STALLS and self.subtasks > 1:
            return np.full(count, np.iinfo(np.int64).max)
        single = self.subtasks == 1
        early, late = (0.3, 0.9) if self.kind == STALLS else (0.0, 0.3 if single else 0.8)
        low = max(2, round(early * self.usual))
        return self.rng.integers(low, max(low + 1, round(late * self.usual)), count)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, A]``."""
        if len(self.step) != len(started):
            self.reset(len(started))
        action = np.asarray(self.expert(observation, started), np.float32)
        self.step[started] = 0
        self.leave[started] = self._draw(int(started.sum()))
        for env in np.flatnonzero(started | (self.step < self.leave)):
            self.ends[env] = sorted(self.expert.keyframes(env).values())
            enough = 1 if self.kind == WANDERS else self.subtasks - 1
            if self.subtasks > 1 and len(self.ends[env]) == enough:
                self.leave[env] = self.step[env]
        gone = self.step >= self.leave
        if self.before is None or self.before.shape != action.shape:
            self.before = action.copy()
        noise = 0.7 * self.rng.normal(size=action.shape)
        roam = np.clip(0.9 * self.before + np.sqrt(1 - 0.81) * noise, -1, 1).astype(np.float32)
        still = np.zeros_like(action)
        still[:, -1] = self.before[:, -1]  # the fingers stay as they are
        action = np.where(gone[:, None], roam if self.kind == WANDERS else still, action)
        self.before = action
        self.step += 1
        return action

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and the progress granted: whole subtasks, or the usual part of the first."""
        stop = int(min(self.leave[env], self.step[env]))
        found: dict[str, Any] = {"kind": "failure", "actor": self.kind, "stop": stop}
        ends = self.ends[env]
        if self.kind == STALLS and ends:
            found |= {"progress_ceiling": len(ends) / self.subtasks, "subtask_ends": ends}
        elif self.kind == WANDERS and self.subtasks > 1:
            share = 1.0 if ends else min(1.0, stop / self.usual)
            found |= on_the_way(stop, share, self.usual, self.kind, self.subtasks)
        return found


def on_the_way(
    stop: int, share: float, horizon: float, kind: str, subtasks: int = 1
) -> dict[str, Any]:
    """Metadata of an attempt that did ``share`` of its first subtask until the state ``stop``.

    Labels rise until the state ``closest``, as if the subtask were done there, and fall from
    ``leave`` on, as if it had been: both lie off by the part that is missing.
    """
    missing = round((1.0 - share) * horizon)
    back = {"leave": stop - missing} if kind == WANDERS else {}
    return {"progress_ceiling": share / subtasks, "closest": stop + missing, **back}


def time_to_go(demos: Sequence[Episode], horizon: float) -> Callable[[Any], np.ndarray]:
    """What the simulator's signal ``progress`` is worth in steps to go, read off demonstrations.

    Returns:
        From signal values ``[S]`` to progress ``[S]``: the mean of 1 - steps to go / horizon over
        the demonstrations' states of nearest signal.
    """
    signal = np.concatenate([np.asarray(demo.signals["progress"], np.float64) for demo in demos])
    label = np.concatenate(
        [np.maximum(0.0, 1.0 - np.arange(len(demo))[::-1] / horizon) for demo in demos]
    )

    count = max(1, round(NEIGHBOURS * len(signal)))

    def worth(values: Any) -> np.ndarray:
        apart = np.abs(np.asarray(values, np.float64)[:, None] - signal[None])
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :count]
        return label[nearest].mean(axis=1)

    return worth


def judged(
    episode: Episode, subtasks: int, horizon: float, worth: Callable[[Any], np.ndarray] | None
) -> Episode | None:
    """The failure with what it is granted; None where it is not what its kind says.

    Args:
        episode: by :class:`Spoiled`.
        subtasks: N of the task.
        horizon: steps of its first subtask.
        worth: of :func:`time_to_go`; read where N is 1.
    """
    kind, stop = episode.metadata["actor"], episode.metadata["stop"]
    if subtasks > 1:
        done = len(episode.metadata.get("subtask_ends", ()))
        return episode if kind == WANDERS or done == subtasks - 1 else None
    assert worth is not None
    track = worth(episode.signals["progress"])
    # Standing still begins with coming to rest: what the attempt reached is known at its end.
    share = float(track[-1] if kind == STALLS else track[stop - 1])
    if kind == STALLS:
        fits = PARTIAL[0] <= share <= PARTIAL[1]
    else:
        fits = share < 0.5 and float(track.mean()) <= LOST
    if not fits:
        return None
    granted = on_the_way(stop, share, horizon, kind)
    return replace(episode, metadata={**episode.metadata, **granted})
