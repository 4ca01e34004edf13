"""Shuffled batches of a training set, read ahead by threads.

The order is a pseudo-random permutation of all samples that is computed, not stored: a Feistel
network over their numbers. So any part of any epoch can be started at, no list is held however
many there are, and the same seed gives the same batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from robo.data.permutation import Permutation
from robo.errors import StoreError

Batch = dict[str, Any]
"""Torch tensors by name."""


class TrainingSet(Protocol):
    """What :class:`TrainingLoader` reads from: samples by number, together."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """The samples ``numbers``, stacked, by name."""
        ...


class TrainingLoader:
    """Shuffled batches of a training set, read ahead by threads.

    Iterating gives the rest of the present epoch, and the next iteration the epoch after it.
    ``state_dict`` says where the caller is: what was read ahead does not count.

    Decompression releases Python's lock, so threads of this process do what worker processes
    would, without copies between processes.
    """

    def __init__(
        self,
        data: TrainingSet,
        batch_size: int,
        seed: int = 0,
        threads: int = 1,
        ahead: int = 2,
        rank: int = 0,
        ranks: int = 1,
        samples_per_epoch: int | None = None,
    ) -> None:
        """Nothing is read before the first batch is asked for.

        Args:
            data: :class:`Windows`, :class:`Pairs`, or anything that reads samples by number.
            batch_size: samples per batch; what is left at an epoch's end is dropped.
            seed: of the order.
            threads: that read; the batches do not depend on their number.
            ahead: batches read before they are asked for.
            rank: which of several processes this is; each gets other samples.
            ranks: how many there are.
            samples_per_epoch: fewer than there are (pairs are many); None takes all.

        Raises:
            StoreError: where an epoch would hold no batch, or a number is out of range.
        """
        if min(batch_size, threads, ranks) < 1 or not 0 <= rank < ranks or ahead < 0:
            raise StoreError(
                f"batch_size {batch_size}, threads {threads} and ranks {ranks} must be at least "
                f"1, ahead {ahead} at least 0, and rank {rank} below ranks"
            )
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.rank, self.ranks = rank, ranks
        samples = len(data) if samples_per_epoch is None else min(samples_per_epoch, len(data))
        self.batches = samples // (batch_size * ranks)
        if self.batches < 1:
            raise StoreError(
                f"{samples} samples are fewer than one batch of {batch_size} for each of {ranks} "
                "processes; make the batch smaller"
            )
        self._threads, self._ahead = threads, ahead
        self.epoch = 0
        self.batch = 0
        """Batches of this epoch that were handed out."""

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.batches

    def numbers(self, epoch: int, batch: int) -> np.ndarray:
        """Sample numbers of any batch, int64 ``[batch_size]``."""
        order = Permutation(len(self.data), self.seed, epoch)
        first = (batch * self.ranks + self.rank) * self.batch_size
        return order(np.arange(first, first + self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        """The batches of this epoch that are left, as torch tensors.

        Raises:
            StoreError: naming a damaged episode, unless the data skips those.
        """
        import torch

        waiting: deque[Future[dict[str, np.ndarray]]] = deque()
        asked = self.batch
        with ThreadPoolExecutor(self._threads, thread_name_prefix="robo-data") as pool:
            try:
                while self.batch < self.batches:
                    while asked < self.batches and len(waiting) <= self._ahead:
                        waiting.append(pool.submit(self._read, self.epoch, asked))
                        asked += 1
                    arrays = waiting.popleft().result()
                    self.batch += 1
                    if not len(next(iter(arrays.values()))):
                        continue  # all of it lies in damaged episodes that are skipped
                    yield {name: torch.from_numpy(array) for name, array in arrays.items()}
            finally:
                for future in waiting:
                    future.cancel()
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the caller is, to be saved with a checkpoint."""
        return {
            "seed": self.seed,
            "samples": len(self.data),
            "batch_size": self.batch_size,
            "ranks": self.ranks,
            "epoch": self.epoch,
            "batch": self.batch,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where :meth:`state_dict` was taken, in the middle of an epoch too.

        Raises:
            StoreError: where the data, batch size, seed or number of processes is another, so that
                the order would not be the same.
        """
        now = self.state_dict()
        for name in ("seed", "samples", "batch_size", "ranks"):
            if state[name] != now[name]:
                raise StoreError(
                    f"training input was saved with {name} {state[name]}, and has {now[name]} "
                    "now: its order would be another; give it the same"
                )
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])

    def _read(self, epoch: int, batch: int) -> dict[str, np.ndarray]:
        return self.data.read(self.numbers(epoch, batch))
