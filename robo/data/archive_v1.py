"""Episodes of schema 1: arrays in plain zarr chunks, read through zarr."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from robo.data.archive import array_path, filled
from robo.data.layout import Arrays, checksum
from robo.data.schema import ArraySpec, EpisodeHeader
from robo.errors import StoreError


class ArchiveReaderV1:
    """As :class:`~robo.data.archive.ArchiveReader`, for a local file of schema 1."""

    def __init__(self, path: Path, header: EpisodeHeader) -> None:
        """Nothing is read before it is asked for."""
        self.path = path
        self.header = header
        self.specs = {spec.name: spec for spec in header.arrays}

    def rows(self, name: str, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows ``start`` to ``stop`` (not included) of the array ``name``, in ``out`` if given.

        Raises:
            StoreError: where the array is missing, damaged or of another shape.
        """
        import zarr
        from zarr.storage import ZipStore

        spec = self.specs[name]
        try:
            with ZipStore(self.path, mode="r") as store:
                stored = zarr.open_array(store, path=array_path(name), mode="r")
                if stored.shape != spec.shape or stored.dtype.name != spec.dtype:
                    raise ValueError(
                        f"it is {stored.dtype} {stored.shape}, the manifest says {spec.dtype} "
                        f"{spec.shape}"
                    )
                found = np.asarray(stored[start:stop])
                return found if out is None else filled(out, found)
        except MemoryError:
            raise
        # Damage surfaces anywhere: zip, zarr's metadata, the codec, the medium.
        except Exception as error:
            raise StoreError(f"{name}: {type(error).__name__}: {error}") from error

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """The listed rows of the array ``name``, in any order; see :meth:`rows`."""
        rows = np.asarray(rows, np.int64)
        if not len(rows):
            return self.rows(name, 0, 0)
        low = int(rows.min())
        return self.rows(name, low, int(rows.max()) + 1)[rows - low]

    def read(self, names: Iterable[str]) -> Arrays:
        """The named arrays, whole; see :meth:`rows`."""
        return {name: self.rows(name, 0, self.specs[name].shape[0]) for name in names}

    def verify(self, spec: ArraySpec) -> None:
        """Read one array and compare it with its checksum.

        Raises:
            StoreError: where it differs or cannot be read.
        """
        if checksum(self.rows(spec.name, 0, spec.shape[0])) != spec.crc32:
            raise StoreError(f"{spec.name}: its checksum differs from the manifest's")
