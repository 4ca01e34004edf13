"""What the formats share: last states that a format does not record, and long texts.

An episode of robo has L steps and L + 1 states. Files of robomimic, LIBERO and LeRobot have T rows
for T steps: the state in which an episode ended is missing. On import the last row is repeated
and ``metadata["final_state"]`` says so; on export such a repetition is left out again, and a true
last state goes where other readers do not look and ours does.
"""

from __future__ import annotations

import base64
import dataclasses
import zlib
from typing import Any

import numpy as np

from robo.rollout import Episode, EpisodeInfo

REPEATED = "repeats the state before it"
"""Value of ``metadata["final_state"]`` where the file recorded none."""
PACKED = "zlib+base64"
_LONG = 1000


def padded(rows: np.ndarray) -> np.ndarray:
    """``rows`` with the last one repeated: ``[T, ...]`` to ``[T + 1, ...]``."""
    return np.concatenate([rows, rows[-1:]])


def has_final_state(episode: Episode) -> bool:
    """Whether the episode's last state was recorded, not repeated."""
    return episode.metadata.get("final_state") != REPEATED


def pack(text: str) -> Any:
    """``text`` as a JSON value; long ones (scenes in XML) compressed: headers stay in memory."""
    if len(text) < _LONG:
        return text
    return {PACKED: base64.b64encode(zlib.compress(text.encode(), 9)).decode()}


def unpack(value: Any) -> Any:
    """What :func:`pack` was given; other values as they are."""
    if isinstance(value, dict) and set(value) == {PACKED}:
        return zlib.decompress(base64.b64decode(value[PACKED])).decode()
    return value


def describe(episode: Episode) -> dict[str, Any]:
    """All of an episode but its arrays, as JSON values; see :func:`restore`."""
    return {
        "info": dataclasses.asdict(episode.info),
        "success": bool(episode.success),
        "terminated": bool(episode.terminated),
        "keyframes": {name: int(state) for name, state in episode.keyframes.items()},
        "metadata": episode.metadata,
    }


def restore(values: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of :class:`~robo.rollout.Episode` from what :func:`describe` gave."""
    return {**values, "info": EpisodeInfo(**values["info"])}


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that a format could not hold, or holds only where other readers do not look."""

    what: str
    """Which part of the data."""
    why: str
    """Why, and what became of it."""


class Notes:
    """Notes, each kept once."""

    def __init__(self) -> None:
        """None yet."""
        self.notes: dict[tuple[str, str], Note] = {}

    def add(self, what: str, why: str) -> None:
        """Keep a note."""
        self.notes.setdefault((what, why), Note(what, why))

    def list(self) -> list[Note]:
        """All notes, in the order in which they came."""
        return list(self.notes.values())
