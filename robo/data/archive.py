"""One episode as one zarr v3 group in one zip file.

A file per episode keeps the number of files low, makes the commit a single rename, and gives
every chunk a CRC that is checked whenever it is read. The zip is stored, not deflated: the
chunks are already compressed by zarr.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from robo.data.layout import Arrays, checksum
from robo.data.schema import EpisodeHeader
from robo.errors import StoreError

CHUNK_BYTES = 512 * 1024
"""Largest uncompressed chunk: a few frames, or the whole of a small array."""

HEADER_ATTRIBUTE = "robo_episode"


def array_path(name: str) -> str:
    """Name of the zarr array inside the group, free of characters that zarr or zip reserve."""
    prefix, separator, key = name.partition("/")
    return prefix + "." + quote(key, safe=" ") if separator else name


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks along the first axis, of even length and at most ``CHUNK_BYTES`` (or one row)."""
    row_bytes = itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = max(1, CHUNK_BYTES // max(1, row_bytes))
    chunks = -(-shape[0] // rows)
    return -(-shape[0] // chunks), *(max(1, size) for size in shape[1:])


def write_archive(path: Path, header: EpisodeHeader, arrays: Arrays) -> None:
    """Write the episode to ``path`` and flush it to the medium.

    Raises:
        OSError: where the medium is full or not writable; a part may be left at ``path``.
    """
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.storage import ZipStore

    store = ZipStore(path, mode="w")
    try:
        zarr.create_group(store, attributes={HEADER_ATTRIBUTE: header.to_json()})
        for name, array in arrays.items():
            target = zarr.create_array(
                store,
                name=array_path(name),
                shape=array.shape,
                dtype=array.dtype,
                chunks=chunk_shape(array.shape, array.itemsize),
                compressors=ZstdCodec(level=1),
                # All-zero chunks too, so that a lost chunk never reads as zeros.
                config={"write_empty_chunks": True},
            )
            target[...] = array
        store.close()
    except BaseException:
        # Closing writes the zip's directory, which fails again on a full disk.
        with contextlib.suppress(Exception):
            store.close()
        raise
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_archive(path: Path, header: EpisodeHeader, names: Iterable[str]) -> Arrays:
    """The named arrays of an episode, checked against its header's shapes and dtypes.

    Raises:
        StoreError: naming the first array that is missing, damaged or of another shape.
    """
    import zarr
    from zarr.storage import ZipStore

    specs = {spec.name: spec for spec in header.arrays}
    arrays: Arrays = {}
    name = "file"
    try:
        with ZipStore(path, mode="r") as store:
            for name in names:
                stored = zarr.open_array(store, path=array_path(name), mode="r")
                array = np.asarray(stored[...])
                spec = specs[name]
                if array.shape != spec.shape or array.dtype.name != spec.dtype:
                    raise ValueError(
                        f"it is {array.dtype} {array.shape}, the manifest says {spec.dtype} "
                        f"{spec.shape}"
                    )
                arrays[name] = array
    except MemoryError:
        raise
    # Damage surfaces anywhere: zip, zarr's metadata, the codec, the medium.
    except Exception as error:
        raise StoreError(f"{name}: {type(error).__name__}: {error}") from error
    return arrays


def verify_archive(path: Path, header: EpisodeHeader) -> None:
    """Read everything and compare it with the header's checksums.

    Raises:
        StoreError: naming the first thing that differs.
    """
    attributes = _read_attributes(path)
    if EpisodeHeader.from_json(attributes) != header:
        raise StoreError("the file's header differs from the manifest's")
    # One array at a time: a long episode's views need not fit into memory together.
    for spec in header.arrays:
        array = read_archive(path, header, [spec.name])[spec.name]
        if checksum(array) != spec.crc32:
            raise StoreError(f"{spec.name}: its checksum differs from the manifest's")


def _read_attributes(path: Path) -> dict[str, Any]:
    import zarr
    from zarr.storage import ZipStore

    try:
        with ZipStore(path, mode="r") as store:
            attributes: Any = zarr.open_group(store, mode="r").attrs[HEADER_ATTRIBUTE]
            return dict(attributes)
    except MemoryError:
        raise
    except Exception as error:
        raise StoreError(f"header: {type(error).__name__}: {error}") from error
