"""What happens at one step of an episode, to be marked in time: infractions, success, hops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from robo.rollout import Episode

INFRACTIONS: dict[str, str] = {
    "collision": "collision",
    "red_light": "red light",
    "stop_sign": "stop sign",
    "off_road": "off the road",
    "outside_lanes": "outside the lanes",
    "wrong_lane": "wrong lane",
    "route_deviation": "off the route",
    "blocked": "blocked",
}
"""Signals that are 1 while a traffic rule is broken, and what they are called in a picture."""


@dataclass(frozen=True)
class Event:
    """One marked moment."""

    step: int
    """State index 0 ... L at which it is known."""
    name: str
    """What it is called in the picture."""
    kind: Literal["success", "infraction", "keyframe", "limit"]
    """Decides its colour: solved, a broken rule, a subtask's end, a detector's time-out."""


@dataclass(frozen=True)
class HopTrack:
    """Hops that a progress model predicted, at the frame rows that it looked at."""

    step: np.ndarray
    """int64 ``[K]``, the state that each AFTER frame shows."""
    value: np.ndarray
    """``[K]`` in -1 ... 1; NaN where none was predicted."""
    name: str = "hop"
    """Which hop it is, such as ``incremental``."""


def signal_events(signals: Mapping[str, Any]) -> list[Event]:
    """The steps on which an infraction begins, from signals ``[L]`` by name.

    Signal t describes the step s_t -> s_{t+1}: its event is known at state t + 1.
    """
    events = []
    for signal, name in INFRACTIONS.items():
        if signal not in signals:
            continue
        active = np.asarray(signals[signal]) != 0
        begins = active & ~np.concatenate([[False], active[:-1]])
        events += [Event(int(t) + 1, name, "infraction") for t in np.flatnonzero(begins)]
    return sorted(events, key=lambda event: event.step)


def episode_events(episode: Episode) -> list[Event]:
    """Infractions, the ends of subtasks and success, in the order of time."""
    events = signal_events(episode.signals)
    events += [
        Event(int(step), name.replace("_", " "), "keyframe")
        for name, step in episode.keyframes.items()
    ]
    if episode.success:
        events.append(Event(len(episode), "success", "success"))
    return sorted(events, key=lambda event: event.step)
