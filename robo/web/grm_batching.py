"""Questions of many threads to a reward model, answered in common batches from a bounded queue."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.backbone import SLOTS, Backbone, PairBatch

Chat = Sequence[str | Tensor]
"""Texts and uint8 images ``[H, W, 3]`` of one question, in order."""


@dataclass(frozen=True)
class ServiceConfig:
    """How the service listens and batches."""

    host: str = "127.0.0.1"
    """Address to bind; anything but the loopback needs a token."""
    port: int = 8008
    """Port; 0 takes a free one."""
    name: str = "grm"
    """The model's name for clients."""
    queue: int = 256
    """Questions that may wait; further ones are refused with 503."""
    batch: int = 32
    """Questions answered together at most."""
    gather: float = 0.005
    """Seconds that the first question of a batch waits for others."""
    timeout: float = 120.0
    """Seconds after which a waiting question is given up with 504."""

    def __post_init__(self) -> None:
        """Refuse what cannot serve."""
        if min(self.queue, self.batch) < 1 or self.gather < 0 or self.timeout <= 0:
            raise RoboError(
                f"queue {self.queue} and batch {self.batch} must be at least 1, gather "
                f"{self.gather} at least 0 and timeout {self.timeout} above 0"
            )
        if not 0 <= self.port < 65536:
            raise RoboError(f"port is {self.port}, expected 0 to 65535")


def answerer(backbone: Backbone) -> Callable[[Sequence[Chat]], Tensor]:
    """Hops ``[P]`` of questions, by any backbone.

    A backbone that reads text is given the question as the client worded it. Others are given its
    eight images, in the published order.
    """
    of_chats = getattr(backbone, "hops_of_chats", None)
    if of_chats is not None:
        return of_chats

    def by_images(chats: Sequence[Chat]) -> Tensor:
        """Hops ``[P]`` of the eight images of each question."""
        from robo.rewards.grm.pair_scorer import fitted

        size = backbone.size
        rows = [[part for part in chat if isinstance(part, Tensor)] for chat in chats]
        frames = torch.stack(
            [torch.stack([fitted(image[None], size)[0] for image in row]) for row in rows]
        )  # [P, 8, H, W, 3]
        count = len(chats)
        before, after = frames[:, 2:5], frames[:, 5:8]
        # START and GOAL have a front view only: it stands in all three places.
        start, goal = (frames[:, i, None].expand_as(before) for i in (0, 1))
        table = torch.cat([before, after, start, goal])
        place = torch.arange(count)
        pairs = PairBatch(
            {slot: table[:, i] for i, slot in enumerate(SLOTS)},
            place,
            place + count,
            place + 2 * count,
            place + 3 * count,
            ("",) * count,
        )
        return backbone.hops(pairs)

    return by_images


class Batcher:
    """Answers questions of many threads in common batches, from a bounded queue."""

    def __init__(self, answer: Callable[[Sequence[Chat]], Tensor], config: ServiceConfig) -> None:
        """Start the one thread that asks the model."""
        self._answer, self.config = answer, config
        self._waiting: queue.Queue[tuple[Chat, Future[float]] | None] = queue.Queue(config.queue)
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, daemon=True, name="grm batches")
        self._thread.start()

    def submit(self, chat: Chat) -> Future[float]:
        """Ask one question.

        Raises:
            queue.Full: too many are waiting.
        """
        future: Future[float] = Future()
        self._waiting.put_nowait((chat, future))
        return future

    def depth(self) -> int:
        """Questions that wait."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what waits, and stop."""
        self._waiting.put(None)
        self._thread.join(timeout=10.0)

    def _work(self) -> None:
        ended = False
        while not ended:
            first = self._waiting.get()
            if first is None:
                return
            batch = [first]
            until = time.monotonic() + self.config.gather
            while len(batch) < self.config.batch:
                try:
                    following = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                    break
                batch.append(following)
            self._do([entry for entry in batch if entry[1].set_running_or_notify_cancel()])

    def _do(self, batch: list[tuple[Chat, Future[float]]]) -> None:
        if not batch:
            return
        try:
            hops = self._answer([chat for chat, _ in batch]).tolist()
        except Exception as error:
            if len(batch) > 1:  # one bad question must not spoil the others
                for entry in batch:
                    self._do([entry])
                return
            self.counts["failed"] += 1
            batch[0][1].set_exception(error)
            return
        self.counts["batches"] += 1
        self.counts["answers"] += len(batch)
        self.counts["invalid"] += sum(math.isnan(hop) for hop in hops)
        for (_, future), hop in zip(batch, hops, strict=True):
            future.set_result(hop)
