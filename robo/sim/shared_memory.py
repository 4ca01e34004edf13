"""Arrays that live in memory shared between processes, without names to leak.

The memory is an unlinked file passed by descriptor (``memfd`` on Linux), so it disappears with
the last process that maps it, also after ``kill -9``. ``multiprocessing.shared_memory`` names its
segments and, before Python 3.13, lets an attaching process unlink them when it exits.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping

import numpy as np

Layout = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Array name to (shape, dtype)."""

_ALIGNMENT = 64


def allocate(layout: Layout) -> dict[str, np.ndarray]:
    """Zero-filled arrays in this process's own memory."""
    return {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}


def _offsets(layout: Layout) -> tuple[dict[str, int], int]:
    """Byte offset of every array, each on its own cache line, and the total size."""
    offsets, position = {}, 0
    for name, (shape, dtype) in layout.items():
        offsets[name] = position
        size = math.prod(shape) * dtype.itemsize
        position += -(-size // _ALIGNMENT) * _ALIGNMENT
    return offsets, max(position, _ALIGNMENT)


class SharedArrays:
    """Zero-filled arrays that another process can map through ``descriptor``.

    Attributes:
        arrays: name to array, views of the shared memory.
        descriptor: open file descriptor, to be sent to the other process.
    """

    def __init__(self, layout: Layout, descriptor: int | None = None) -> None:
        """Create the memory, or map that of ``descriptor`` (which this object then owns)."""
        offsets, size = _offsets(layout)
        if descriptor is None:
            descriptor = _anonymous_file(size)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)
        self.arrays = {
            name: np.ndarray(shape, dtype, buffer=self._memory, offset=offsets[name])
            for name, (shape, dtype) in layout.items()
        }

    def close(self) -> None:
        """Close the descriptor; the memory goes when the last array that views it goes."""
        self.arrays = {}
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _anonymous_file(size: int) -> int:
    """Descriptor of ``size`` zero bytes without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("robo-vector")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
