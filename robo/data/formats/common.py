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
from collections.abc import Mapping
from typing import Any

import numpy as np

from robo.errors import StoreError
from robo.rollout import CAMERA_ROLES, Episode, EpisodeInfo

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


def with_roles(episode: Episode, views: Mapping[str, str], notes: Notes) -> Episode:
    """``episode`` with the camera roles that the user gave its views.

    Args:
        episode: as it was imported.
        views: camera role to the view's name: the one that the import gave it, or the one that the
            file has (``agentview_rgb``, ``observation.images.top``, with or without its prefix).
        notes: gets the views whose names are no camera roles, which no reward can ask for.

    Raises:
        StoreError: where there is no such view, or two views would have one role.
    """
    held = episode.metadata.get("hdf5", {}).get("images", {})
    names = {view: {view, f"observation.images.{view}", held.get(view)} for view in episode.frames}
    role_of: dict[str, str] = {}
    for role, wanted in views.items():
        found = [view for view, known in names.items() if wanted in known]
        if not found:
            raise StoreError(
                f"there is no camera view {wanted} to be {role}; there are {sorted(names)}"
            )
        role_of[found[0]] = role
    roles = [role_of.get(view, view) for view in names]
    twice = sorted({role for role in roles if roles.count(role) > 1})
    if twice:
        raise StoreError(
            f"two camera views would be {twice[0]}; name a role for each of {sorted(names)}"
        )
    for role in roles:
        if role not in CAMERA_ROLES:
            notes.add(
                f"camera view {role}",
                f"kept, but no role that rewards take ({', '.join(CAMERA_ROLES)}): name one with "
                f"--views ROLE={role}",
            )
    if not role_of:
        return episode
    metadata = episode.metadata
    if held:
        images = {role_of.get(view, view): key for view, key in held.items()}
        metadata = {**metadata, "hdf5": {**metadata["hdf5"], "images": images}}
    frames = dict(zip(roles, episode.frames.values(), strict=True))
    return dataclasses.replace(episode, frames=frames, metadata=metadata)
