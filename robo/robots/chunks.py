"""Action chunks: several predictions for the same tick, blended into one action.

Temporal ensembling as in ACT (Zhao et al. 2023, arXiv 2304.13705, section IV.A): the prediction
of the i-th oldest chunk counts exp(-decay * i), the oldest most.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from robo.robots.robot import RobotError


class Chunk(NamedTuple):
    """What a policy wants to do from a tick on."""

    start: int
    """Tick of the observation that it was made from."""
    actions: np.ndarray
    """``[H, A]``: row h is for tick ``start + h``."""


class ChunkBuffer:
    """The chunks that still speak of the present."""

    def __init__(self, ensemble: bool = True, decay: float = 0.01) -> None:
        """``ensemble`` False takes the newest chunk alone."""
        if not decay >= 0:
            raise RobotError(f"the ensemble's decay is {decay}, expected a number of at least 0")
        self.ensemble, self.decay = ensemble, decay
        self._chunks: deque[Chunk] = deque()

    def add(self, start: int, actions: np.ndarray) -> None:
        """Take in the chunk made from the observation of tick ``start``.

        Raises:
            RobotError: for anything but ``[H, A]`` with H of at least 1.
        """
        actions = np.asarray(actions, np.float64)
        if actions.ndim != 2 or not len(actions):
            raise RobotError(
                f"the policy gave actions of shape {actions.shape}, expected (H, A) with H >= 1"
            )
        self._chunks.append(Chunk(start, actions))

    def action(self, tick: int) -> np.ndarray | None:
        """The blended action ``[A]`` for ``tick``; None where no chunk reaches it.

        A prediction that is not finite spoils the blend on purpose: the envelope refuses it.
        """
        while self._chunks and self._chunks[0].start + len(self._chunks[0].actions) <= tick:
            self._chunks.popleft()
        reaching = [c for c in self._chunks if c.start <= tick < c.start + len(c.actions)]
        if not reaching:
            return None
        rows = np.stack([chunk.actions[tick - chunk.start] for chunk in reaching])
        if not self.ensemble:
            return rows[-1]
        weight = np.exp(-self.decay * np.arange(len(rows)))
        return weight @ rows / weight.sum()

    @property
    def newest(self) -> int | None:
        """Tick of the newest chunk's observation."""
        return self._chunks[-1].start if self._chunks else None

    def clear(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()
