"""Decoded chunks that are kept in memory, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from robo.errors import StoreError


class ChunkCache:
    """The decoded chunks that were used last. Any number of threads may share it.

    A window of pictures costs a copy where its chunks are held, and decompression where not. It
    pays where the decoded data is not much larger than the cache, or neighbouring windows are read
    soon after each other; shuffled windows of data ten times its size find a tenth of what they
    ask for.
    """

    def __init__(self, limit: int) -> None:
        """Holds at most ``limit`` bytes.

        Raises:
            StoreError: ``limit`` is negative.
        """
        if limit < 0:
            raise StoreError(f"cache_bytes is {limit}, expected at least 0 (0: nothing is kept)")
        self.limit = limit
        self.bytes = 0
        """Held now."""
        self.hits = 0
        """Chunks that were found."""
        self.misses = 0
        """Chunks that were not."""
        self._chunks: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The chunk, not to be written to; None where it is not held."""
        with self._guard:
            chunk = self._chunks.get(key)
            if chunk is None:
                self.misses += 1
            else:
                self.hits += 1
                self._chunks.move_to_end(key)
            return chunk

    def put(self, key: Hashable, chunk: np.ndarray) -> None:
        """Keep the chunk, and drop those that were not used for longest to make room."""
        if chunk.nbytes > self.limit:
            return
        with self._guard:
            before = self._chunks.pop(key, None)
            self.bytes += chunk.nbytes - (0 if before is None else before.nbytes)
            self._chunks[key] = chunk
            while self.bytes > self.limit:
                self.bytes -= self._chunks.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop everything."""
        with self._guard:
            self._chunks.clear()
            self.bytes = 0
