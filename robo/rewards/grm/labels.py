"""Progress labels of stored episodes: what the GRM learns hops from.

Demonstrations: keyframes cut an episode into N subtasks of 1/N each (step-wise discretisation,
Robo-Dopamine section 3.1.1). By default the first subtask is labelled by the time to go before its
keyframe, because demonstrations that start in different places are not all equally far from the
goal. Failures rise in the same way, and stop at a ceiling.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robo.errors import StoreError
from robo.rewards.grm.fit_config import LabelConfig
from robo.rewards.progress import subtask_progress
from robo.rollout import Episode

CEILING_KEY = "progress_ceiling"
REACHED_KEYS = ("closest", "grasp")
LEAVE_KEY = "leave"
ENDS_KEY = "subtask_ends"


def boundaries(episode: Episode) -> list[int]:
    """State indices 0 = b0 < b1 < ... < bN = L of the subtasks.

    Raises:
        StoreError: if the keyframes do not increase strictly between 0 and L.
    """
    inside = [int(index) for index in episode.keyframes.values()]
    bounds = [0, *inside, len(episode)]
    if any(left >= right for left, right in itertools.pairwise(bounds)):
        raise StoreError(
            f"keyframes {dict(episode.keyframes)} of an episode of {len(episode)} steps must "
            "increase strictly and lie between its first and last state; mend or drop the episode"
        )
    return bounds


def is_labelled(episode: Episode) -> bool:
    """Whether the episode can be labelled: a success, or a failure with a ceiling."""
    return bool(episode.success) or CEILING_KEY in episode.metadata


@dataclass(frozen=True)
class Labeller:
    """Labels every state of an episode in [0, 1]."""

    subtasks: int
    """N of the demonstrations."""
    horizon: float
    """States to go at which the first subtask counts 0."""
    first_subtask: Literal["time_to_go", "linear"] = "time_to_go"
    """See :class:`LabelConfig`."""

    @classmethod
    def of(cls, episodes: Iterable[Episode], config: LabelConfig | None = None) -> Labeller:
        """Number of subtasks and horizon, read from the demonstrations among ``episodes``.

        Raises:
            StoreError: if there is no demonstration, or they differ in the number of keyframes.
        """
        config = config or LabelConfig()
        demos = [boundaries(episode) for episode in episodes if episode.success]
        if not demos:
            raise StoreError(
                "no successful episode to read progress from; collect demonstrations first"
            )
        counts = sorted({len(bounds) - 1 for bounds in demos})
        if len(counts) > 1:
            raise StoreError(
                f"demonstrations have different numbers of subtasks {counts}; give each the same "
                "keyframes, or none"
            )
        horizon = config.horizon
        if horizon is None:
            horizon = float(np.median([bounds[1] for bounds in demos]))
        if not (math.isfinite(horizon) and horizon > 0):
            raise StoreError(f"label horizon {horizon} must be a positive number of states")
        return cls(counts[0], horizon, config.first_subtask)

    def reach(self, reached: int, states: int) -> np.ndarray:
        """Label of the first subtask, ``[states]``: 1/N from state ``reached`` on."""
        step = np.arange(states)
        togo = np.maximum(reached - step, 0)
        span = self.horizon if self.first_subtask == "time_to_go" else max(reached, 1)
        return np.maximum(0.0, 1.0 - togo / span) / self.subtasks

    def demonstration(self, episode: Episode) -> np.ndarray:
        """Labels ``[L+1]`` of a success; ends at 1."""
        bounds = boundaries(episode)
        label = np.asarray(subtask_progress(bounds, len(episode) + 1), dtype=np.float64).copy()
        if self.first_subtask == "time_to_go":
            label[: bounds[1]] = self.reach(bounds[1], bounds[1])
        return label.astype(np.float32)

    def passed(self, ends: list[int], states: int) -> np.ndarray:
        """Labels ``[states]`` up to the end of the last subtask done, which holds from there on.

        Raises:
            StoreError: ends that do not rise within the episode, or too many of them.
        """
        rising = all(left < right for left, right in itertools.pairwise([0, *ends, states]))
        if not rising or len(ends) >= self.subtasks:
            raise StoreError(
                f"failed episode of {states - 1} steps has {ENDS_KEY} {ends}, expected fewer than "
                f"{self.subtasks} state indices that rise strictly from above 0; mend its metadata"
            )
        label = np.interp(np.arange(states), [0, *ends], np.arange(len(ends) + 1) / self.subtasks)
        if self.first_subtask == "time_to_go":
            label[: ends[0]] = self.reach(ends[0], ends[0])
        return label

    def failure(self, episode: Episode) -> np.ndarray:
        """Labels ``[L+1]`` of a failure: the reach as far as it went, its ceiling, the way back.

        The state where the attempt came nearest is a keyframe or a metadata entry named
        ``closest`` or ``grasp``; where neither is given, it is taken to be reached at the
        demonstrations' pace. An attempt that did its first subtasks lists the states at which they
        ended in metadata ``subtask_ends``: it is labelled as a demonstration up to there. From a
        state named ``leave`` on, progress is lost at the pace at which the first subtask gains it:
        otherwise a policy would be paid for having been there.

        Raises:
            StoreError: if the ceiling is missing or outside [0, 1], or the subtasks' ends do not
                rise within the episode.
        """
        ceiling = episode.metadata.get(CEILING_KEY)
        if ceiling is None or not 0.0 <= float(ceiling) <= 1.0:
            raise StoreError(
                f"failed episode has {CEILING_KEY} {ceiling!r}, expected a number in [0, 1]: how "
                "much progress it reached at most; set it in metadata or leave the episode out"
            )
        places = {**episode.metadata, **episode.keyframes}
        ends = [int(index) for index in places.get(ENDS_KEY, ())]
        states = len(episode) + 1
        given = [int(places[key]) for key in REACHED_KEYS if places.get(key) is not None]
        reached = min(given[0] if given else round(self.horizon), len(episode))
        label = self.passed(ends, states) if ends else self.reach(reached, states)
        label = np.minimum(label, float(ceiling))
        label[ends[-1] if ends else reached :] = float(ceiling)
        if places.get(LEAVE_KEY) is not None:
            gone = np.arange(len(label)) - int(places[LEAVE_KEY])
            away = np.maximum(0.0, 1.0 - gone / self.horizon) / self.subtasks
            label = np.where(gone > 0, np.minimum(label, away), label)
        return label.astype(np.float32)

    def __call__(self, episode: Episode) -> np.ndarray:
        """float32 ``[L+1]``: progress of every state s_0 ... s_L."""
        return self.demonstration(episode) if episode.success else self.failure(episode)

    def at_frames(self, episode: Episode) -> np.ndarray:
        """float32 ``[F]``: progress of the states that the episode's frame rows show."""
        return self(episode)[np.asarray(episode.frame_step, dtype=np.int64)]
