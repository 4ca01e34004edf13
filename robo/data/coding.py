"""How arrays are stored: named codings, their zarr codecs, and the code that runs them.

Measured on camera views of 128 x 128 (``benchmarks/data_throughput.py``): on rendered frames
LZ4-HC is read a third faster than plain LZ4 and takes two thirds of the space, but is written at a
quarter of the speed. On frames with sensor noise plain LZ4 is read half as fast again, and LZ4-HC
is slow to write: choose ``lz4`` for those.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from robo.errors import StoreError

Coding = Literal["lz4hc", "lz4", "zstd", "video", "video-lossless"]

CHUNK_BYTES = 200 * 1024
"""Largest uncompressed chunk (or one row), four images of 128 x 128: what a window may read in vain
at either end."""


@dataclass(frozen=True)
class Compressor:
    """One of the codings that keep every bit."""

    cname: str
    """Blosc's name of the algorithm."""
    clevel: int
    """Blosc's level, 0 ... 9."""


COMPRESSORS = {
    "lz4hc": Compressor("lz4hc", 4),
    "lz4": Compressor("lz4", 9),
    "zstd": Compressor("zstd", 5),
}
VIDEOS = ("video", "video-lossless")
CODINGS = (*COMPRESSORS, *VIDEOS)
"""``lz4hc`` (the default), ``lz4`` (written quicker, larger), ``zstd`` (smaller, read more
slowly); of camera frames only: ``video`` (H.264, lossy: the error is recorded with each array) and
``video-lossless``."""


def check_coding(name: str) -> str:
    """``name`` itself.

    Raises:
        StoreError: where there is no such coding.
    """
    if name not in CODINGS:
        raise StoreError(f"image coding {name!r} does not exist; choose one of {list(CODINGS)}")
    return name


def rows_per_chunk(shape: tuple[int, ...], itemsize: int) -> int:
    """Rows of a chunk: even shares of the first axis, of at most ``CHUNK_BYTES`` (or one row)."""
    row_bytes = itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = max(1, CHUNK_BYTES // max(1, row_bytes))
    if shape[0] <= rows:
        return max(1, shape[0])
    return rows


@lru_cache(maxsize=1)
def blosc() -> Any:
    """Blosc of numcodecs with its own threads off: many small chunks, many callers."""
    import numcodecs.blosc

    numcodecs.blosc.use_threads = False
    return numcodecs.blosc


def shuffle(itemsize: int) -> int:
    """Blosc's shuffle: bytes of numbers of equal weight come together; pixels stay."""
    return 1 if itemsize > 1 else 0


def zarr_codecs(coding: str, itemsize: int) -> list[dict[str, Any]]:
    """The codecs of a chunk as zarr v3 metadata."""
    compressor = COMPRESSORS[coding]
    endian = {"configuration": {"endian": "little"}} if itemsize > 1 else {}
    configuration = {
        "cname": compressor.cname,
        "clevel": compressor.clevel,
        "shuffle": ("noshuffle", "shuffle")[shuffle(itemsize)],
        "typesize": itemsize,
        "blocksize": 0,
    }
    return [
        {"name": "bytes", **endian},
        {"name": "blosc", "configuration": configuration},
        {"name": "crc32c"},
    ]


def encode(coding: str, array: np.ndarray) -> bytes:
    """A contiguous array's bytes, compressed, with their CRC-32C at the end."""
    compressor = COMPRESSORS[coding]
    body = blosc().compress(
        array, compressor.cname.encode(), compressor.clevel, shuffle(array.itemsize), 0
    )
    return body + crc32c(body).to_bytes(4, "little")


def decode(encoded: np.ndarray, target: np.ndarray) -> None:
    """Decompress what :func:`encode` gave into the contiguous ``target``.

    Args:
        encoded: uint8; a view of what was read from the file, so that nothing is copied.
        target: of the chunk's shape and dtype.

    Raises:
        ValueError: where its checksum or its size differs.
    """
    body = encoded[:-4]
    if crc32c(body) != int.from_bytes(encoded[-4:].tobytes(), "little"):
        raise ValueError("its checksum differs")
    try:
        blosc().decompress(body, target)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error


@lru_cache(maxsize=1)
def _crc32c() -> Any:
    import google_crc32c

    return google_crc32c.value


def crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C (Castagnoli), zarr's checksum, of bytes or of a contiguous uint8 array."""
    return _crc32c()(data)
