"""The sides of ``data_throughput.py``: how each stores episodes and reads a window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robo.data import EpisodeStore
from robo.rollout import Episode

Window = dict[str, np.ndarray]
"""Views by role, ``state`` and ``action``."""


class Side:
    """One way of storing."""

    def __init__(self, path: Path) -> None:
        """Files go to ``path``."""
        self.path = path

    def write(self, episodes: list[Episode]) -> None:
        """Write all episodes, flushed."""
        raise NotImplementedError

    def open(self) -> None:
        """Open for reading, as a training run would, once."""
        raise NotImplementedError

    def read(self, episode: int, start: int, length: int) -> Window:
        """States ``start`` ... of an episode."""
        raise NotImplementedError


class StoreSide(Side):
    """The episode store."""

    images: Any = "lz4hc"

    def write(self, episodes: list[Episode]) -> None:
        """Append."""
        EpisodeStore(self.path, images=self.images).extend(episodes)

    def open(self) -> None:
        """Its manifest is read."""
        self.store = EpisodeStore(self.path, mode="r")
        self.roles = list(self.store.info(0).image_sizes)

    def read(self, episode: int, start: int, length: int) -> Window:
        """Rows of each array."""
        store, stop = self.store, start + length
        window = {role: store.rows(episode, f"frames/{role}", start, stop) for role in self.roles}
        window["state"] = store.rows(episode, "observation/state", start, stop)
        steps = min(stop, store.info(episode).length)
        window["action"] = store.rows(episode, "action", min(start, steps), steps)
        return window


class FastStoreSide(StoreSide):
    """The episode store with the coding that is written quickest."""

    images = "lz4"


class SmallStoreSide(StoreSide):
    """The episode store with the lossless coding that takes least space."""

    images = "zstd"


class Hdf5Side(Side):
    """h5py, one file, chunks of one image row (the quickest of 1, 4 and 8 on random windows)."""

    compression: str | None = None
    chunk = 1

    def write(self, episodes: list[Episode]) -> None:
        """One group per episode."""
        import os

        import h5py

        self.path.mkdir(parents=True)
        with h5py.File(self.path / "data.hdf5", "w") as file:
            for number, episode in enumerate(episodes):
                group = file.create_group(f"demo_{number}")
                for role, images in episode.frames.items():
                    chunks = (min(self.chunk, len(images)), *images.shape[1:])
                    group.create_dataset(
                        role, data=images, chunks=chunks, compression=self.compression
                    )
                group["state"] = episode.observation["state"]
                group["action"] = episode.action
        with (self.path / "data.hdf5").open("rb") as file:
            os.fsync(file.fileno())

    def open(self) -> None:
        """Data sets are looked up once."""
        import h5py

        file: Any = h5py.File(self.path / "data.hdf5")
        self.sets = [dict(file[f"demo_{i}"].items()) for i in range(len(file))]

    def read(self, episode: int, start: int, length: int) -> Window:
        """Slices."""
        return {name: data[start : start + length] for name, data in self.sets[episode].items()}


class Hdf5LzfSide(Hdf5Side):
    """h5py with its quick compression."""

    compression = "lzf"


class Hdf5Lzf4Side(Hdf5LzfSide):
    """The same in chunks of four images."""

    chunk = 4


class NpySide(Side):
    """Raw arrays in files, mapped into memory: no compression, no checksums."""

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


SIDES: dict[str, Callable[[Path], Side]] = {
    "store": StoreSide,
    "store lz4": FastStoreSide,
    "store zstd": SmallStoreSide,
    "hdf5 lzf": Hdf5LzfSide,
    "hdf5 lzf, chunks of 4": Hdf5Lzf4Side,
    "hdf5": Hdf5Side,
    "npy": NpySide,
}


def bytes_under(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
