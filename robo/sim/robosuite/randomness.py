"""robosuite draws from global generators; here each episode draws from a seed of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_LOCK = threading.RLock()


@contextmanager
def seeded(seed: int, raw: Any = None) -> Iterator[None]:
    """Seed every generator that robosuite draws from; the caller's are put back afterwards.

    Args:
        seed: 0 ... 2**32 - 1.
        raw: robosuite environment; version 1.5 has a generator of its own (``rng``), shared with
            its samplers and therefore seeded in place.
    """
    with _LOCK:  # the global generators are one for all threads
        numpy_state, python_state = np.random.get_state(), random.getstate()
        np.random.seed(seed)
        random.seed(seed)
        own = getattr(raw, "rng", None)
        if isinstance(own, np.random.Generator):
            own.bit_generator.state = type(own.bit_generator)(seed).state
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
