"""The sides of ``data_throughput.py``: how each stores episodes and reads a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo.data import EpisodeStore
from robo.rollout import Episode

Window = dict[str, np.ndarray]
"""Views by role, ``state`` and ``action``."""

HDF5_CACHE = 8 * 2**20
"""Bytes of decoded chunks that HDF5 2.0, which h5py 3.16 brings, keeps of each open data set."""


class Side(Protocol):
    """One way of storing and reading."""

    path: Path
    """Folder of its files."""

    def write(self, episodes: list[Episode]) -> None:
        """Write all episodes, flushed."""
        ...

    def open(self) -> None:
        """Open for reading, as a training run would, once."""
        ...

    def read(self, episode: int, start: int, length: int) -> Window:
        """States ``start`` ... of an episode, fresh arrays."""
        ...


@dataclass
class StoreSide:
    """The episode store. Each chunk's CRC-32C is compared whenever it is decoded."""

    path: Path
    images: Any = "lz4hc"
    cache: int = 0
    """Bytes kept per array of pictures; together one cache of their sum."""

    def write(self, episodes: list[Episode]) -> None:
        """Append."""
        EpisodeStore(self.path, images=self.images).extend(episodes)

    def open(self) -> None:
        """Its manifest is read."""
        store = EpisodeStore(self.path, mode="r")
        self.roles = list(store.info(0).image_sizes)
        arrays = len(store) * len(self.roles)
        self.store = EpisodeStore(self.path, mode="r", cache_bytes=self.cache * arrays)

    def read(self, episode: int, start: int, length: int) -> Window:
        """Rows of each array."""
        store, stop = self.store, start + length
        window = {role: store.rows(episode, f"frames/{role}", start, stop) for role in self.roles}
        window["state"] = store.rows(episode, "observation/state", start, stop)
        steps = min(stop, store.info(episode).length)
        window["action"] = store.rows(episode, "action", min(start, steps), steps)
        return window


@dataclass
class Hdf5Side:
    """h5py, one file, a group per episode; no checksums."""

    path: Path
    compression: str | None = None
    level: int | None = None
    chunk: int = 1
    """Images per chunk."""
    cache: int | None = None
    """Bytes kept per open data set; None leaves HDF5's default, :data:`HDF5_CACHE`."""
    reopen: bool = False
    """Look the data sets up for every window, as robomimic's data loader does: what HDF5 kept of
    them is dropped when they are closed."""

    def write(self, episodes: list[Episode]) -> None:
        """One group per episode."""
        import os

        import h5py

        self.path.mkdir(parents=True)
        with h5py.File(self.path / "data.hdf5", "w") as file:
            for number, episode in enumerate(episodes):
                group = file.create_group(f"demo_{number}")
                for role, images in episode.frames.items():
                    group.create_dataset(
                        role,
                        data=images,
                        chunks=(min(self.chunk, len(images)), *images.shape[1:]),
                        compression=self.compression,
                        compression_opts=self.level,
                    )
                group["state"] = episode.observation["state"]
                group["action"] = episode.action
        with (self.path / "data.hdf5").open("rb") as file:
            os.fsync(file.fileno())

    def open(self) -> None:
        """Data sets are looked up once."""
        import h5py

        self.file: Any = h5py.File(self.path / "data.hdf5", rdcc_nbytes=self.cache)
        if not self.reopen:
            self.sets = [self._sets(episode) for episode in range(len(self.file))]

    def read(self, episode: int, start: int, length: int) -> Window:
        """Slices."""
        sets = self._sets(episode) if self.reopen else self.sets[episode]
        return {name: data[start : start + length] for name, data in sets.items()}

    def _sets(self, episode: int) -> dict[str, Any]:
        return dict(self.file[f"demo_{episode}"].items())


@dataclass
class NpySide:
    """Raw arrays in files, mapped into memory: no compression, no checksums."""

    path: Path

    def write(self, episodes: list[Episode]) -> None:
        """A file per array."""
        self.path.mkdir(parents=True)
        for number, episode in enumerate(episodes):
            arrays = {**episode.frames, "state": episode.observation["state"]}
            for name, array in {**arrays, "action": episode.action}.items():
                np.save(self.path / f"{number}-{name}.npy", array)

    def open(self) -> None:
        """Every file is mapped."""
        self.maps: dict[int, dict[str, np.ndarray]] = {}
        for file in self.path.iterdir():
            number, _, name = file.stem.partition("-")
            self.maps.setdefault(int(number), {})[name] = np.load(file, mmap_mode="r")

    def read(self, episode: int, start: int, length: int) -> Window:
        """Copies of slices."""
        return {name: x[start : start + length].copy() for name, x in self.maps[episode].items()}


@dataclass(frozen=True)
class Option:
    """A side as it is measured."""

    make: Callable[[Path], Side]
    files: str
    """Name of what it writes; of sides that write the same, one writes and the others copy."""
    keeps: bool = False
    """Whether it keeps decoded chunks from one window to the next."""


_LZF = partial(Hdf5Side, compression="lzf")
_LZF4 = partial(Hdf5Side, compression="lzf", chunk=4)
_GZIP = partial(Hdf5Side, compression="gzip", level=4)

SIDES: dict[str, Option] = {
    "store": Option(StoreSide, "lz4hc"),
    "store, cache": Option(partial(StoreSide, cache=HDF5_CACHE), "lz4hc", keeps=True),
    "store lz4": Option(partial(StoreSide, images="lz4"), "lz4"),
    "store zstd": Option(partial(StoreSide, images="zstd"), "zstd"),
    "hdf5 lzf": Option(_LZF, "lzf", keeps=True),
    "hdf5 lzf, no cache": Option(partial(_LZF, cache=0), "lzf"),
    "hdf5 lzf, looked up per window": Option(partial(_LZF, reopen=True), "lzf"),
    "hdf5 lzf, chunks of 4": Option(_LZF4, "lzf_4", keeps=True),
    "hdf5 lzf, chunks of 4, no cache": Option(partial(_LZF4, cache=0), "lzf_4"),
    "hdf5 gzip 4": Option(_GZIP, "gzip", keeps=True),
    "hdf5 gzip 4, no cache": Option(partial(_GZIP, cache=0), "gzip"),
    "hdf5 uncompressed": Option(Hdf5Side, "hdf5", keeps=True),
    "npy": Option(NpySide, "npy"),
}


def bytes_under(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def warm(path: Path) -> None:
    """Read every file once, so that all sides find theirs in the page cache."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            with file.open("rb") as opened:
                while opened.read(2**22):
                    pass
