"""Thread counts, set on purpose.

With small networks more threads are slower: on two shared cores PPO with torch's default ran
10 to 30 times slower than with one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


def set_threads(count: int = 1) -> None:
    """Give torch and the BLAS and OpenMP libraries behind numpy ``count`` threads each.

    Raises:
        ValueError: where count is below 1.
    """
    if count < 1:
        raise ValueError(f"thread count {count} must be at least 1")
    torch.set_num_threads(count)
    threadpool_limits(limits=count)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
