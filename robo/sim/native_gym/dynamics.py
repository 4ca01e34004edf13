"""What the native vector environment needs of one kind of environment: N of them as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Dynamics(ABC):
    """N copies of one gymnasium environment, advanced together.

    Episodes begin in a single environment of gymnasium's own, the prototype, which is reset with
    the row's generator; :meth:`take` copies what came of it. So the distribution of starts, its
    options and its random numbers are gymnasium's, whatever its version.

    Equality bit for bit rests on the same operations in the same order and precision: actions
    stay float32 where gymnasium squares them in float32, and squares that gymnasium takes of
    scalars are taken of scalars (see :func:`scalar_squares`).
    """

    @abstractmethod
    def take(self, row: int) -> None:
        """Copy the state of the prototype into row ``row``."""

    @abstractmethod
    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step of all rows.

        Args:
            actions: checked, of the action space's dtype, ``[N, ...]``.

        Returns:
            Reward float64 ``[N]``, and terminated bool ``[N]``.
        """

    @abstractmethod
    def observe(self) -> np.ndarray:
        """Observations of all rows after :meth:`advance`, ``[N, S]``, in gymnasium's dtype."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are the exact state; writing into them restores it."""


def scalar_squares(values: np.ndarray) -> np.ndarray:
    """``value ** 2`` of each scalar, ``[N]``.

    numpy squares arrays by multiplication and scalars by the C library's ``pow``; the last bit
    may differ, and gymnasium has scalars here.
    """
    return np.array([value**2 for value in values], dtype=values.dtype)


def row_norms(vectors: np.ndarray) -> np.ndarray:
    """Euclidean norms ``[N]`` of rows ``[N, 3]``, as ``numpy.linalg.norm`` of each.

    One vector's norm is a BLAS dot product, a norm along an axis is a sum: not always equal.
    """
    return np.sqrt([row.dot(row) for row in vectors])
