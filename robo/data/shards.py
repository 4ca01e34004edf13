"""One array as one zarr v3 shard, written and read chunk by chunk.

A shard is its chunks one after another, then an index of (offset, length) pairs, then the index's
CRC-32C: the layout of zarr's ``sharding_indexed`` codec, which zarr itself reads. It is written
here so that an array of any length takes the memory of one chunk, and read here so that a window
costs one read of the file and no more than the chunks that it touches.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from robo.data.cache import ChunkCache
from robo.data.coding import crc32c, decode, encode, rows_per_chunk, zarr_codecs
from robo.data.schema import ArraySpec
from robo.errors import StoreError


class Blob(Protocol):
    """A file of which any part can be read."""

    def read_at(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; fewer at the file's end.

        Raises:
            OSError: where the medium cannot be read.
        """
        ...


def array_metadata(shape: tuple[int, ...], dtype: np.dtype, coding: str) -> dict[str, Any]:
    """The array's ``zarr.json``: one shard that holds all of it."""
    rows = rows_per_chunk(shape, dtype.itemsize)
    chunk = [rows, *(max(1, size) for size in shape[1:])]
    shard = [-(-shape[0] // rows) * rows, *chunk[1:]]
    sharding = {
        "chunk_shape": chunk,
        "codecs": zarr_codecs(coding, dtype.itemsize),
        "index_codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if dtype.kind == "b" else 0 if dtype.kind in "iu" else 0.0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "storage_transformers": [],
    }


def write_shard(
    write: Callable[[bytes], Any], name: str, array: np.ndarray, coding: str
) -> ArraySpec:
    """Write ``array`` as a shard; its specification, whose ``offset`` is left 0.

    Raises:
        OSError: where ``write`` does.
    """
    rows = rows_per_chunk(array.shape, array.itemsize)
    index, position, checksum = [], 0, 0
    for start in range(0, array.shape[0] if array.size else 0, rows):
        part = np.ascontiguousarray(array[start : start + rows])
        checksum = zlib.crc32(part.reshape(-1).view(np.uint8).data, checksum)
        if len(part) < rows:  # zarr's chunks are all of one shape
            padding = np.zeros((rows - len(part), *part.shape[1:]), part.dtype)
            part = np.concatenate([part, padding])
        encoded = encode(coding, part)
        write(encoded)
        index.append((position, len(encoded)))
        position += len(encoded)
    if index:
        table = np.array(index, "<u8").tobytes()
        write(table + crc32c(table).to_bytes(4, "little"))
        position += len(table) + 4
    return ArraySpec(name, array.shape, array.dtype.name, checksum, coding, rows, 0, position)


class ShardReader:
    """Rows of one stored shard. Any number of threads may share it."""

    def __init__(
        self, blob: Blob, spec: ArraySpec, cache: ChunkCache | None = None, file: str = ""
    ) -> None:
        """Read the index.

        Args:
            blob: the file.
            spec: of the array.
            cache: keeps decoded chunks; several readers may share it.
            file: distinguishes this reader's file from others in the cache.

        Raises:
            StoreError: where it is damaged.
            OSError: where the medium cannot be read.
        """
        self.spec = spec
        self.dtype = np.dtype(spec.dtype)
        self._blob = blob
        self._cache = cache
        self._key = (file, spec.name, spec.crc32)
        self.chunks = -(-spec.shape[0] // spec.chunk) if spec.nbytes else 0
        size = 16 * self.chunks
        raw = blob.read_at(spec.offset + spec.nbytes - size - 4, size + 4) if size else b""
        if size and (len(raw) < size + 4 or crc32c(raw[:-4]) != int.from_bytes(raw[-4:], "little")):
            raise StoreError(f"{spec.name}: the index of its chunks is damaged")
        index = np.frombuffer(raw[:size], "<u8").reshape(-1, 2)
        # Plain numbers: a window costs a few of them, and arrays of two take longer.
        self._offsets, self._sizes = index[:, 0].tolist(), index[:, 1].tolist()

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` (not included), a fresh array.

        Raises:
            StoreError: naming the first damaged chunk and the rows in it.
            OSError: where the medium cannot be read.
        """
        out = np.empty((stop - start, *self.spec.shape[1:]), self.dtype)
        self.read_into(out, start)
        return out

    def read_into(self, out: np.ndarray, start: int) -> None:
        """Fill the contiguous ``out`` with the rows from ``start`` on; see :meth:`rows`."""
        if not out.size:
            return
        rows, stop = self.spec.chunk, start + len(out)
        first, last = start // rows, (stop - 1) // rows
        held = self._held(range(first, last + 1))
        missing = [chunk for chunk in range(first, last + 1) if chunk not in held]
        encoded, begin = self._encoded(missing[0], missing[-1]) if missing else (None, 0)
        spare = None
        for chunk in range(first, last + 1):
            low = chunk * rows
            high = low + rows
            decoded = held.get(chunk)
            if decoded is None:
                assert encoded is not None
                if self._cache is None and start <= low and high <= stop:
                    self._decode(encoded, begin, chunk, out[low - start : high - start])
                    continue
                if self._cache is not None or spare is None:
                    spare = np.empty((rows, *self.spec.shape[1:]), self.dtype)
                self._decode(encoded, begin, chunk, spare)
                self._keep(chunk, spare)
                decoded = spare
            a, b = max(low, start), min(high, stop)
            out[a - start : b - start] = decoded[a - low : b - low]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The listed rows, in any order; each chunk is read once. See :meth:`rows`."""
        rows = np.asarray(rows, np.int64)
        out = np.empty((len(rows), *self.spec.shape[1:]), self.dtype)
        if not out.size:
            return out
        chunk_of = rows // self.spec.chunk
        chunks = np.unique(chunk_of).tolist()
        held = self._held(chunks)
        spare = None
        for chunk in chunks:
            decoded = held.get(chunk)
            if decoded is None:
                if self._cache is not None or spare is None:
                    spare = np.empty((self.spec.chunk, *self.spec.shape[1:]), self.dtype)
                encoded, begin = self._encoded(chunk, chunk)
                self._decode(encoded, begin, chunk, spare)
                self._keep(chunk, spare)
                decoded = spare
            wanted = chunk_of == chunk
            out[wanted] = decoded[rows[wanted] - chunk * self.spec.chunk]
        return out

    def checksum(self) -> int:
        """CRC-32 of the whole array's bytes, read chunk by chunk; see :meth:`rows`."""
        value, length = 0, self.spec.shape[0]
        for start in range(0, length if self.chunks else 0, self.spec.chunk):
            part = self.rows(start, min(start + self.spec.chunk, length))
            value = zlib.crc32(part.reshape(-1).view(np.uint8).data, value)
        return value

    def _held(self, chunks: Iterable[int]) -> dict[int, np.ndarray]:
        """Those of the chunks that the cache holds."""
        if self._cache is None:
            return {}
        found = {chunk: self._cache.get((*self._key, chunk)) for chunk in chunks}
        return {chunk: decoded for chunk, decoded in found.items() if decoded is not None}

    def _keep(self, chunk: int, decoded: np.ndarray) -> None:
        if self._cache is not None:
            self._cache.put((*self._key, chunk), decoded)

    def _encoded(self, first: int, last: int) -> tuple[np.ndarray, int]:
        """The bytes of the chunks ``first`` to ``last``, by one read, and where they begin."""
        begin = self._offsets[first]
        size = self._offsets[last] + self._sizes[last] - begin
        return np.frombuffer(self._blob.read_at(self.spec.offset + begin, size), np.uint8), begin

    def _decode(self, encoded: np.ndarray, begin: int, chunk: int, target: np.ndarray) -> None:
        offset = self._offsets[chunk] - begin
        try:
            decode(encoded[offset : offset + self._sizes[chunk]], target)
        except ValueError as error:
            low = chunk * self.spec.chunk
            high = min(low + self.spec.chunk, self.spec.shape[0])
            raise StoreError(
                f"{self.spec.name}: rows {low} to {high - 1} (chunk {chunk}) are damaged, {error}"
            ) from error
