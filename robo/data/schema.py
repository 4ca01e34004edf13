"""What the store writes about an episode beside its arrays: the header, and the schema version."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata as distributions
from typing import Any

import robo
from robo.rollout import EpisodeInfo

SCHEMA_VERSION = 2
"""Version of the layout on disk; raised when an older robo could no longer read it.

1: arrays in zarr chunks, one writer. 2: arrays in zarr shards, of which windows can be read
(:mod:`robo.data.shards`), video, several writers. Stores of schema 1 are read as they are, get
schema 2 with the first episode appended to them, and are rewritten by ``robo data migrate``.
"""

VERSIONED_DISTRIBUTIONS = (
    "mujoco",
    "gymnasium",
    "zarr",
    "numpy",
    "torch",
    "robosuite",
    "libero",
    "carla",
)
"""What decides how an episode came out; those that are installed are recorded."""


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    found = [("robo", robo.__version__)]
    for name in VERSIONED_DISTRIBUTIONS:
        try:
            found.append((name, distributions.version(name)))
        except distributions.PackageNotFoundError:
            continue
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of robo and of the installed simulators and libraries, none of them imported."""
    return dict(_installed())


@dataclass(frozen=True)
class ArraySpec:
    """One stored array of an episode."""

    name: str
    """``observation/<key>``, ``frames/<role>``, ``action``, ``reward``, ``signals`` or
    ``frame_step``."""
    shape: tuple[int, ...]
    """Its shape; the first axis is time or frame row."""
    dtype: str
    """Numpy name, such as ``float32``."""
    crc32: int
    """Of the array's bytes in C order, little endian; of a lossy video's file."""
    coding: str = "chunks"
    """How it is stored: a name of :data:`robo.data.coding.CODINGS`; "chunks" in schema 1."""
    chunk: int = 0
    """Rows per chunk; of a video, frames from one keyframe to the next."""
    offset: int = 0
    """First byte of the shard or video inside the episode's file."""
    nbytes: int = 0
    """Length of the shard or video in bytes; 0 for an array without elements."""
    mean_error: float = 0.0
    """Mean absolute difference between the pixels that are read and those that were given."""
    worst_error: int = 0
    """Largest such difference, 0 ... 255."""


@dataclass(frozen=True)
class EpisodeHeader:
    """All of an episode but its arrays; read from the manifest alone, so cheap for thousands."""

    info: EpisodeInfo
    """Task, instruction, initial state, group and seed."""
    length: int
    """Number of steps L."""
    success: bool
    """Whether the task was solved."""
    terminated: bool
    """Ended by success or failure; False for a time-out."""
    keyframes: Mapping[str, int]
    """Name of a subtask's end to state index, in order."""
    metadata: Mapping[str, Any]
    """JSON values: rendering profile, what acted."""
    versions: Mapping[str, str]
    """Of the packages that were installed where the episode was written."""
    signal_names: tuple[str, ...]
    """Columns of the stored ``signals`` array ``[L, S]``."""
    arrays: tuple[ArraySpec, ...]
    """Every stored array."""
    file: str = ""
    """Name of the episode's zarr file inside the store's folder; "" inside that file itself."""

    def __len__(self) -> int:
        """Number of steps L."""
        return self.length

    @property
    def schema(self) -> int:
        """Version of the layout of this episode's file."""
        return 1 if any(spec.coding == "chunks" for spec in self.arrays) else SCHEMA_VERSION

    def shapes(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """Key to shape of the arrays under ``prefix`` (``observation`` or ``frames``)."""
        start = prefix + "/"
        return {
            spec.name[len(start) :]: spec.shape
            for spec in self.arrays
            if spec.name.startswith(start)
        }

    @property
    def image_sizes(self) -> dict[str, tuple[int, int]]:
        """Camera role to (height, width) in pixels."""
        return {role: (shape[1], shape[2]) for role, shape in self.shapes("frames").items()}

    @property
    def frame_count(self) -> int:
        """Number of frame rows F; 0 where the episode has no frames."""
        return next((shape[0] for shape in self.shapes("frames").values()), 0)

    def to_json(self) -> dict[str, Any]:
        """The header as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EpisodeHeader:
        """The header that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: where a field is missing or unknown.
        """
        arrays = tuple(
            ArraySpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in values["arrays"]
        )
        return cls(
            **{
                **values,
                "info": EpisodeInfo(**values["info"]),
                "signal_names": tuple(values["signal_names"]),
                "arrays": arrays,
            }
        )
