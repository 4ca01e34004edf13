"""Action noise drawn per environment, so that it does not depend on who owns which environment.

Environment e of the global list has a stream of its own in every rollout: Philox (Salmon et al.,
"Parallel Random Numbers: As Easy as 1, 2, 3", 2011) with the key (seed, e) and the rollout's
number in the counter. Ranks, groups of environments and resumed runs then draw the same numbers,
and there is nothing to save but the number of rollouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class EnvironmentNoise:
    """The methods of ``numpy.random.Generator`` that policies sample actions with.

    Each call is for one step of all N environments: the first axis of what is drawn is theirs.
    """

    def __init__(self, seed: int, environments: range, steps: int) -> None:
        """``environments`` are global indices; ``steps`` is T, drawn ahead for fixed shapes."""
        self.seed, self.environments, self.steps = seed, environments, steps
        self._streams: list[np.random.Generator] = []
        self._ahead: dict[Any, tuple[np.ndarray, int]] = {}
        self.begin(0)

    def begin(self, rollout: int) -> None:
        """Start the streams of rollout number ``rollout``."""
        self._streams = [
            np.random.Generator(np.random.Philox(key=[self.seed, env], counter=[0, 0, 0, rollout]))
            for env in self.environments
        ]
        self._ahead = {}

    def standard_normal(self, size: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
        """Standard normals ``size``, whose first entry is N."""
        return self._next("standard_normal", size, dtype)

    def random(self, size: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
        """Uniform numbers in [0, 1), ``size``, whose first entry is N."""
        return self._next("random", size, dtype)

    def beta(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Beta variates ``[N, ...]`` of parameters ``[N, ...]``."""
        return self._each(lambda stream, row: stream.beta(a[row], b[row]))

    def standard_gamma(self, shape: np.ndarray) -> np.ndarray:
        """Gamma variates ``[N, ...]`` of shapes ``[N, ...]``, with scale 1."""
        return self._each(lambda stream, row: stream.standard_gamma(shape[row]))

    def _each(self, draw: Callable[[np.random.Generator, int], Any]) -> np.ndarray:
        return np.stack([np.asarray(draw(s, row)) for row, s in enumerate(self._streams)])

    def _next(self, method: str, size: tuple[int, ...], dtype: Any) -> np.ndarray:
        """One step's numbers; T steps are drawn at once, since a call costs more than a number."""
        key = (method, tuple(size[1:]), np.dtype(dtype))
        block, used = self._ahead.get(key, (None, 0))
        if block is None or used == self.steps:
            shape = (self.steps, *size[1:])
            drawn = [getattr(stream, method)(shape, dtype) for stream in self._streams]
            block, used = np.stack(drawn, axis=1), 0
        self._ahead[key] = block, used + 1
        return block[used]
