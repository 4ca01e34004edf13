"""One episode as one zarr v3 group in one zip file.

A file per episode makes the commit a single rename, and keeps copies and uploads simple. Each
array is one shard (:mod:`robo.data.shards`) whose chunks have checksums of their own; the zip is
stored, not deflated, so that a shard lies in the file as it is and the manifest can say where.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from robo.data.cache import ChunkCache
from robo.data.coding import VIDEOS
from robo.data.layout import Arrays
from robo.data.schema import ArraySpec, EpisodeHeader
from robo.data.shards import Blob, ShardReader, array_metadata, write_shard
from robo.data.video import COMPARED, GROUP, VideoReader, changed_by, encode_video
from robo.errors import StoreError

HEADER_ATTRIBUTE = "robo_episode"
_TIME = (1980, 1, 1, 0, 0, 0)
"""The same episode gives the same file."""


def array_path(name: str) -> str:
    """Name of the zarr array inside the group, free of characters that zarr or zip reserve."""
    prefix, separator, key = name.partition("/")
    return prefix + "." + quote(key, safe=" ") if separator else name


def write_archive(
    path: Path, header: EpisodeHeader, arrays: Arrays, coding: str = "lz4hc"
) -> EpisodeHeader:
    """Write the episode to ``path`` and flush it to the medium; the header with what was written.

    Args:
        path: file to write.
        header: its ``arrays`` are filled in here.
        arrays: may lie in memory-mapped files: no more than a chunk is copied at a time.
        coding: of camera frames; all else is stored as "lz4hc" where this names a video.

    Raises:
        OSError: where the medium is full or not writable; a part may be left at ``path``.
        StoreError: where a view cannot be coded so.
    """
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
    try:
        specs = []
        for name, array in arrays.items():
            if coding in VIDEOS and name.startswith("frames/"):
                specs.append(_write_video(archive, name, array, coding))
            else:
                plain = "lz4hc" if coding in VIDEOS else coding
                specs.append(_write_array(archive, name, array, plain))
        header = dataclasses.replace(header, arrays=tuple(specs), file="")
        group = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {HEADER_ATTRIBUTE: header.to_json()},
        }
        _write_entry(archive, "zarr.json", json.dumps(group).encode())
        archive.close()
    except BaseException:
        # Closing writes the zip's directory, which fails again on a full disk.
        with contextlib.suppress(Exception):
            archive.close()
        raise
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return header


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray, coding: str) -> ArraySpec:
    path = array_path(name)
    metadata = array_metadata(array.shape, array.dtype, coding)
    _write_entry(archive, f"{path}/zarr.json", json.dumps(metadata).encode())
    if not array.size:
        return write_shard(lambda data: None, name, array, coding)
    key = "/".join(["c", *("0" * array.ndim)])
    with archive.open(zipfile.ZipInfo(f"{path}/{key}", _TIME), "w", force_zip64=True) as entry:
        offset = archive.fp.tell()  # type: ignore[union-attr]
        spec = write_shard(entry.write, name, array, coding)
    return dataclasses.replace(spec, offset=offset)


def _write_video(archive: zipfile.ZipFile, name: str, images: np.ndarray, coding: str) -> ArraySpec:
    encoded = encode_video(images, coding)
    changed = changed_by(encoded, images)
    if coding == "video-lossless" and changed.worst:
        raise StoreError(
            f"{name}: this machine's H.264 coder is not lossless (pixels differ by up to "
            f"{changed.worst}); use coding 'lz4hc'"
        )
    info = zipfile.ZipInfo(f"{array_path(name)}.mp4", _TIME)
    with archive.open(info, "w", force_zip64=True) as entry:
        offset = archive.fp.tell()  # type: ignore[union-attr]
        entry.write(encoded)
    return ArraySpec(
        name,
        images.shape,
        "uint8",
        zlib.crc32(encoded),
        coding,
        GROUP,
        offset,
        len(encoded),
        round(changed.mean, 4),
        changed.worst,
    )


def _write_entry(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _TIME), data)


class ArchiveReader:
    """Reads arrays, or rows of arrays, of one episode's file. Threads may share it."""

    def __init__(self, blob: Blob, header: EpisodeHeader, cache: ChunkCache | None = None) -> None:
        """Nothing is read before it is asked for; ``cache`` keeps decoded chunks."""
        self.header = header
        self._cache = cache
        self._blob = blob
        self.specs = {spec.name: spec for spec in header.arrays}
        self._readers: dict[str, ShardReader | VideoReader] = {}

    def rows(self, name: str, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows ``start`` to ``stop`` (not included) of the array ``name``.

        Args:
            name: of the array.
            start: first row.
            stop: row after the last one.
            out: contiguous, of their shape and dtype; filled and returned. None makes one.

        Raises:
            StoreError: naming the array and what is damaged.
        """
        reader = self._reader(name)
        if not isinstance(reader, ShardReader):
            taken = self.take(name, np.arange(start, stop))
            return taken if out is None else filled(out, taken)
        try:
            if out is None:
                return reader.rows(start, stop)
            reader.read_into(out, start)
            return out
        except OSError as error:
            raise StoreError(f"{name}: {type(error).__name__}: {error}") from error

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """The listed rows of the array ``name``, in any order; see :meth:`rows`."""
        reader = self._reader(name)
        with _named(name):
            return reader.take(rows)

    def read(self, names: Iterable[str]) -> Arrays:
        """The named arrays, whole; see :meth:`rows`."""
        return {name: self.rows(name, 0, self.specs[name].shape[0]) for name in names}

    def verify(self, spec: ArraySpec) -> None:
        """Read one array and compare it with its checksum.

        Raises:
            StoreError: where it differs or cannot be read.
        """
        reader = self._reader(spec.name)
        with _named(spec.name):
            if isinstance(reader, VideoReader):
                for start in range(0, spec.shape[0], COMPARED):
                    reader.take(np.arange(start, min(start + COMPARED, spec.shape[0])))
            elif reader.checksum() != spec.crc32:
                raise StoreError(f"{spec.name}: its checksum differs from the manifest's")

    def _reader(self, name: str) -> ShardReader | VideoReader:
        reader = self._readers.get(name)
        if reader is None:
            spec = self.specs[name]
            with _named(name):
                if spec.coding in VIDEOS:
                    encoded = self._blob.read_at(spec.offset, spec.nbytes)
                    if zlib.crc32(encoded) != spec.crc32:
                        raise StoreError(f"{name}: its video's checksum differs")
                    reader = VideoReader(encoded, spec.shape)
                else:
                    reader = ShardReader(self._blob, spec, self._cache, self.header.file)
            self._readers[name] = reader
        return reader


def filled(out: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``out`` with the values in it."""
    out[...] = values
    return out


@contextlib.contextmanager
def _named(name: str) -> Any:
    """Errors of the medium as one of the array ``name``."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{name}: {type(error).__name__}: {error}") from error
    except StoreError as error:
        if name in str(error):
            raise
        raise StoreError(f"{name}: {error}") from error


def embedded_header(file: Any) -> EpisodeHeader:
    """The header inside an episode's file (a path, or an open binary file), ``file`` left empty.

    Raises:
        StoreError: where it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            values = json.loads(archive.read("zarr.json"))["attributes"][HEADER_ATTRIBUTE]
        return dataclasses.replace(EpisodeHeader.from_json(values), file="")
    except MemoryError:
        raise
    # Damage surfaces anywhere: zip, JSON, the medium.
    except Exception as error:
        raise StoreError(f"header: {type(error).__name__}: {error}") from error


def verify_zip(file: Any) -> None:
    """Compare every entry of the zip with its CRC-32, zarr's metadata among them.

    Raises:
        StoreError: naming the first entry that differs.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise StoreError(f"file: {type(error).__name__}: {error}") from error
    if broken is not None:
        raise StoreError(f"{broken}: its checksum differs from the zip's")
