"""An episode as named arrays and back, with every check that is made before a byte is written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from robo.data.schema import EpisodeHeader, versions
from robo.errors import StoreError
from robo.rollout import Episode, EpisodeInfo

Arrays = dict[str, np.ndarray]


def checksum(array: np.ndarray) -> int:
    """CRC-32 of the array's bytes in C order."""
    contiguous = np.ascontiguousarray(array)
    return zlib.crc32(contiguous.data) if contiguous.size else 0


def disassemble(episode: Episode) -> tuple[EpisodeHeader, Arrays]:
    """Header and named arrays of a checked episode; the header's files and arrays are left empty.

    Raises:
        StoreError: naming the field that breaks the shapes that :class:`~robo.rollout.Episode`
            states, or that JSON cannot hold.
    """
    action = _numeric("action", episode.action)
    length = len(action)
    if length < 1:
        raise StoreError("episode.action has no steps; store episodes of at least one step")
    arrays: Arrays = {"action": action}
    for key, value in episode.observation.items():
        name = f"observation[{key!r}]"
        array = _numeric(name, value)
        _expect(name, "states", len(array), length + 1, f"{length} steps have {length + 1} states")
        arrays[f"observation/{key}"] = array
    arrays["reward"] = _per_step("reward", episode.reward, length)
    signals = [
        _per_step(f"signals[{name!r}]", value, length) for name, value in episode.signals.items()
    ]
    if signals:
        # One array for all of them: they are small, and each array costs time to open.
        arrays["signals"] = np.stack(signals, axis=1)
    arrays.update(_frame_arrays(episode, length))
    header = EpisodeHeader(
        info=_checked_info(episode.info),
        length=length,
        success=bool(episode.success),
        terminated=bool(episode.terminated),
        keyframes=_checked_keyframes(episode.keyframes, length),
        metadata=_checked_metadata(episode.metadata),
        versions=versions(),
        signal_names=tuple(episode.signals),
        arrays=(),
    )
    return header, arrays


def assemble(header: EpisodeHeader, arrays: Arrays) -> Episode:
    """The episode of a header and its arrays; frame views that are not in ``arrays`` are left out.

    Without any view, ``frame_step`` is None.
    """

    def under(prefix: str) -> Arrays:
        return {key: arrays[f"{prefix}/{key}"] for key in header.shapes(prefix)}

    frames = {
        role: arrays[f"frames/{role}"]
        for role in header.shapes("frames")
        if f"frames/{role}" in arrays
    }
    signals = arrays.get("signals")
    return Episode(
        info=header.info,
        observation=under("observation"),
        action=arrays["action"],
        reward=arrays["reward"],
        success=header.success,
        terminated=header.terminated,
        signals={}
        if signals is None
        else {
            name: np.ascontiguousarray(signals[:, column])
            for column, name in enumerate(header.signal_names)
        },
        frames=frames,
        frame_step=arrays["frame_step"] if frames else None,
        keyframes=dict(header.keyframes),
        # A deep copy by way of JSON, so that a caller cannot change the store's own header.
        metadata=json.loads(json.dumps(header.metadata)),
    )


def image_sizes(arrays: Arrays) -> dict[str, tuple[int, int]]:
    """Camera role to (height, width) of an episode's arrays."""
    start = "frames/"
    return {
        name[len(start) :]: (array.shape[1], array.shape[2])
        for name, array in arrays.items()
        if name.startswith(start)
    }


def check_same_cameras(sizes: Mapping[str, tuple[int, int]], first: EpisodeHeader) -> None:
    """Refuse an episode whose camera views or image sizes differ from the store's first.

    Raises:
        StoreError: naming both.
    """
    if sizes != first.image_sizes:
        raise StoreError(
            f"episode.frames has views and sizes (height, width) {dict(sizes)}, but this "
            f"store's first episode has {first.image_sizes}; record with the same camera "
            "schedule, or use another store"
        )


def _numeric(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise StoreError(
            f"episode.{name} has dtype {array.dtype}, expected booleans, integers or floats of at "
            "most 64 bits"
        )
    if array.ndim < 1:
        raise StoreError(f"episode.{name} is a single number, expected an array over time")
    # Little endian, C order: the bytes that the checksum and the file both hold.
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _expect(name: str, rows: str, got: int, expected: int, why: str) -> None:
    if got != expected:
        raise StoreError(f"episode.{name} has {got} {rows}, expected {expected}: {why}")


def _per_step(name: str, value: Any, length: int) -> np.ndarray:
    array = _numeric(name, value)
    if array.shape != (length,) or array.dtype != np.float32:
        raise StoreError(
            f"episode.{name} is {array.dtype} of shape {array.shape}, expected float32 of shape "
            f"{(length,)}: one number per step"
        )
    return array


def _frame_arrays(episode: Episode, length: int) -> Arrays:
    if not episode.frames:
        if episode.frame_step is not None and len(episode.frame_step):
            raise StoreError("episode.frame_step is given but episode.frames is empty; give both")
        return {}
    if episode.frame_step is None:
        raise StoreError("episode.frame_step is missing; give the state index of each frame row")
    step = _numeric("frame_step", episode.frame_step)
    if step.dtype != np.int64 or step.ndim != 1 or not step.size:
        raise StoreError(
            f"episode.frame_step is {step.dtype} of shape {step.shape}, expected int64 of shape "
            "(F,) with F at least 1"
        )
    if step[0] < 0 or step[-1] > length or bool((np.diff(step) <= 0).any()):
        raise StoreError(
            f"episode.frame_step must rise within 0 ... {length} (the episode's states), "
            f"got {step.tolist()[:20]}"
        )
    arrays: Arrays = {}
    for role, value in episode.frames.items():
        image = np.ascontiguousarray(value)
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3 or not image.size:
            raise StoreError(
                f"episode.frames[{role!r}] is {image.dtype} of shape {image.shape}, expected "
                "uint8 of shape (F, H, W, 3)"
            )
        _expect(f"frames[{role!r}]", "rows", len(image), len(step), "one per frame_step")
        arrays[f"frames/{role}"] = image
    arrays["frame_step"] = step
    return arrays


def _checked_info(info: EpisodeInfo) -> EpisodeInfo:
    def integer(value: Any) -> int | None:
        return None if value is None else int(value)

    return EpisodeInfo(
        task=str(info.task),
        instruction=str(info.instruction),
        initial_state=integer(info.initial_state),
        group=integer(info.group),
        seed=integer(info.seed),
    )


def _checked_keyframes(keyframes: Mapping[str, int], length: int) -> dict[str, int]:
    checked = {str(name): int(state) for name, state in keyframes.items()}
    states = [0, *checked.values(), length]
    if checked and any(after <= before for before, after in pairwise(states)):
        raise StoreError(
            f"episode.keyframes {checked} must rise strictly between state 0 and the last state "
            f"{length}, neither included"
        )
    return checked


def _checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"episode.metadata must hold JSON values (text, finite numbers, booleans, lists, "
            f"dicts): {error}"
        ) from error
