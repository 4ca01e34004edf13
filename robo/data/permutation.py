"""A shuffled order that is computed, not stored."""

from __future__ import annotations

import numpy as np


class Permutation:
    """A pseudo-random order of the numbers 0 ... n-1, any part of which can be computed alone.

    A balanced Feistel network of four rounds on the smallest even number of bits that holds n;
    numbers that fall outside go round again ("cycle walking", Black and Rogaway 2002).
    """

    ROUNDS = 4

    def __init__(self, size: int, seed: int, epoch: int = 0) -> None:
        """Of ``size`` numbers; every (seed, epoch) gives another order."""
        self.size = size
        half = max(1, (max(1, size - 1).bit_length() + 1) // 2)
        self._half, self._mask = np.uint64(half), np.uint64((1 << half) - 1)
        state = np.random.SeedSequence((seed, epoch)).generate_state(self.ROUNDS, np.uint64)
        self._keys = [np.uint64(key) for key in state]

    def __call__(self, position: np.ndarray) -> np.ndarray:
        """The numbers at ``position``, int64, each in 0 ... n-1."""
        value = self._encrypt(np.asarray(position, np.uint64))
        outside = value >= np.uint64(self.size)
        while outside.any():
            value[outside] = self._encrypt(value[outside])
            outside = value >= np.uint64(self.size)
        return value.astype(np.int64)

    def _encrypt(self, value: np.ndarray) -> np.ndarray:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            # The finaliser of splitmix64 as the round function.
            mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(31))) & self._mask)
        return (left << self._half) | right
