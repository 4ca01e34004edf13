"""Subtask boundaries: read from the published JSON, written to it, or proposed from an episode.

Human keyframes cut a demonstration into subtasks, each of which owns the same share of progress.
Where nobody has marked any, gripper events and stops of the hand are a first guess, to be looked
at (:mod:`robo.media.segment_picture`) and corrected in the JSON file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robo.errors import StoreError
from robo.rollout import Episode
from robo.storage import write_bytes

NEAR = 0.06
"""Boundaries closer than this share of the episode are one."""
AT_EDGE = 0.03
"""Share of the episode at its ends in which no boundary is proposed."""


@dataclass(frozen=True)
class Segment:
    """One subtask: states ``start`` to ``end``, both included."""

    annotation: str
    """What is done."""
    start: int
    """State index."""
    end: int
    """State index, at which the next subtask starts."""


def read_segments(path: Path, states: int | None = None) -> list[Segment]:
    """Segments of ``annotated_keyframes.json``, in the published format.

    A list of ``{annotation, start_frame_id, end_frame_id}``. A missing file means one segment, as
    in the released pipeline, where the number of ``states`` is known.

    Raises:
        StoreError: a damaged file, or segments that do not follow each other.
    """
    if not Path(path).exists() and states is not None:
        return [Segment("", 0, states - 1)]
    try:
        listed = json.loads(Path(path).read_text(encoding="utf-8"))
        found = [
            Segment(
                str(entry.get("annotation", entry.get("anotation", ""))),
                int(entry["start_frame_id"]),
                int(entry["end_frame_id"]),
            )
            for entry in listed
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} holds no keyframes ({type(error).__name__}: {error}); expected a list of "
            '{"annotation": ..., "start_frame_id": 0, "end_frame_id": 10}'
        ) from error
    check_segments(found, states, str(path))
    return found


def check_segments(segments: Sequence[Segment], states: int | None, where: str) -> None:
    """Refuse segments that leave gaps, overlap or are empty.

    The published files let a segment start at the end of the one before or one frame later.

    Raises:
        StoreError: naming the segment.
    """
    if not segments:
        raise StoreError(f"{where} lists no segment; give at least one, or delete the file")
    if segments[0].start != 0:
        raise StoreError(f"the first segment of {where} starts at {segments[0].start}, expected 0")
    for left, right in itertools.pairwise(segments):
        if right.start not in (left.end, left.end + 1):
            raise StoreError(
                f"{where}: a segment ends at {left.end} and the next starts at {right.start}; "
                "make them meet"
            )
    for segment in segments:
        if segment.end <= segment.start:
            raise StoreError(f"{where}: the segment {segment.start} to {segment.end} is empty")
    if states is not None and segments[-1].end != states - 1:
        raise StoreError(
            f"{where} ends at {segments[-1].end}, but the episode's last state is {states - 1}"
        )


def write_segments(path: Path, segments: Sequence[Segment]) -> Path:
    """Write the published format, one segment a line, for a person to correct.

    Raises:
        RoboError: full disk, missing permission.
    """
    lines = [
        "  "
        + json.dumps(
            {
                "annotation": segment.annotation,
                "start_frame_id": segment.start,
                "end_frame_id": segment.end,
            }
        )
        for segment in segments
    ]
    return write_bytes(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def segments_of(episode: Episode) -> list[Segment]:
    """The segments that an episode's keyframes make."""
    inside = sorted((int(state), name) for name, state in episode.keyframes.items())
    bounds = [0, *(state for state, _ in inside), len(episode)]
    names = [*(name for _, name in inside), "end"]
    return [
        Segment(f"until {name}", start, end)
        for name, (start, end) in zip(names, itertools.pairwise(bounds), strict=True)
    ]


def with_segments(episode: Episode, segments: Sequence[Segment]) -> Episode:
    """A copy of the episode whose keyframes are the ends of ``segments``, but for the last.

    Raises:
        StoreError: segments that do not fit the episode.
    """
    check_segments(segments, len(episode) + 1, f"the segments of {episode.info.task}")
    inside = [segment.end for segment in segments[:-1]]
    return replace(episode, keyframes={f"subtask {i}": at for i, at in enumerate(inside, 1)})


def gripper_events(episode: Episode) -> list[int]:
    """States at which the gripper's command changes sign: the last number of the action.

    Commands that hold for less than three steps count as noise.
    """
    action = np.asarray(episode.action, dtype=np.float64)
    if action.ndim < 2 or len(action) < 4:
        return []
    command = np.sign(action[:, -1])
    command = np.where(command == 0, 1, command)
    wanted = np.sign(np.convolve(np.pad(command, 2, mode="edge"), np.ones(5), mode="valid"))
    wanted = np.where(wanted == 0, 1, wanted)
    return [int(at) + 1 for at in np.flatnonzero(np.diff(wanted))]


def stops(episode: Episode, share: float = 0.25) -> list[int]:
    """States in the middle of stretches in which the hand hardly moves.

    Motion is the mean over a few steps of the command's size without the gripper; a stop stays
    below ``share`` of its median over the episode.
    """
    action = np.asarray(episode.action, dtype=np.float64)
    if action.ndim < 2 or action.shape[1] < 2 or len(action) < 8:
        return []
    size = np.linalg.norm(action[:, :-1], axis=1)
    smooth = np.convolve(np.pad(size, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    slow = np.concatenate([[False], smooth < share * np.median(smooth), [False]])
    edges = np.flatnonzero(np.diff(slow.astype(np.int8)))
    return [int((first + last) // 2) for first, last in edges.reshape(-1, 2)]


def propose_segments(episode: Episode, most: int = 6) -> list[Segment]:
    """A first guess of an episode's subtasks: gripper events, then stops.

    Args:
        episode: with actions; the last number of each is taken for the gripper's command.
        most: subtasks at most; events count before stops, and earlier before later ones.

    Returns:
        At least one segment; they cover the episode.

    Raises:
        StoreError: an episode of less than two steps.
    """
    length = len(episode)
    if length < 2:
        raise StoreError(f"an episode of {length} steps has no subtasks; drop it")
    kept: list[tuple[int, str]] = []
    apart, edge = max(2, round(NEAR * length)), max(2, round(AT_EDGE * length))
    events = [(at, "gripper event") for at in gripper_events(episode)]
    for at, name in [*events, *((at, "stop") for at in stops(episode))]:
        far = all(abs(at - other) >= apart for other, _ in kept)
        if len(kept) < most - 1 and far and edge <= at <= length - edge:
            kept.append((at, name))
    ends = [*sorted(kept), (length, "end")]
    starts = [0, *(at for at, _ in ends)]
    return [
        Segment(f"until {name}", start, end)
        for start, (end, name) in zip(starts, ends, strict=False)
    ]
