"""Scoring while the robot or the simulator goes on: asynchronous, bounded, with stated staleness.

A slow model must not stop the control loop. Frames are handed over and scored in the background,
those of all environments in one batch; the newest known potential is read at any time, with its
age. At most ``queue`` frames wait. A full queue either drops the oldest waiting frame (a live
display wants the newest) or blocks the caller (a learner must not lose any): back-pressure.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.anchors import anchored_progress
from robo.rewards.grm.potential import FrameScorer


@dataclass(frozen=True)
class OnlineConfig:
    """How online scoring waits and remembers."""

    queue: int = 64
    """Frames that may wait."""
    when_full: Literal["block", "drop_oldest"] = "block"
    """block: ``submit`` waits for room; drop_oldest: the oldest waiting frame is given up."""
    batch: int = 32
    """Frames scored together at most."""
    remembered: int = 1024
    """Frames whose rows are kept by their hash, so that equal ones are encoded once."""

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        if min(self.queue, self.batch) < 1 or self.remembered < 0:
            raise RoboError(
                f"queue {self.queue} and batch {self.batch} must be at least 1, remembered "
                f"{self.remembered} at least 0"
            )


@dataclass(frozen=True)
class Reading:
    """The newest progress known of an episode."""

    progress: float
    """In [0, 1]; 0 before the first frame was scored."""
    step: int
    """Step of the frame that it comes from; -1 before the first."""
    waiting: int
    """Frames of the episode handed over since, and not scored yet: the staleness in frames."""
    seconds: float
    """Age of the frame that it comes from; infinite before the first."""
    invalid: bool
    """Whether the newest frame's answer was invalid, and an older progress is held."""


@dataclass
class _Episode:
    """What is kept of an open episode."""

    start: Tensor
    previous: Tensor
    progress: float
    step: int = -1
    taken: float = -np.inf
    invalid: bool = False


@dataclass(frozen=True)
class _Frame:
    episode: int
    step: int
    views: Mapping[str, Any]
    taken: float


class OnlineScorer:
    """Scores frames of many episodes in a thread of its own."""

    def __init__(self, scorer: FrameScorer, config: OnlineConfig | None = None) -> None:
        """Start the thread; ``scorer`` belongs to it from now on."""
        self.scorer, self.config = scorer, config or OnlineConfig()
        self.counts: Counter[str] = Counter()
        self._waiting: deque[_Frame] = deque()
        self._busy: list[_Frame] = []
        self._episodes: dict[int, _Episode] = {}
        self._rows: OrderedDict[bytes, Tensor] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="grm online")
        self._thread.start()

    def submit(
        self, episode: int, step: int, views: Mapping[str, Any], timeout: float | None = None
    ) -> bool:
        """Hand over a frame.

        Args:
            episode: any id; frames of one episode are scored in the order in which they come.
            step: of the frame.
            views: camera role to uint8 ``[H, W, 3]``.
            timeout: seconds to wait for room where the queue blocks; None waits as long as needed.

        Returns:
            Whether the frame was taken; False after the timeout.

        Raises:
            RoboError: the scorer was closed, or scoring failed.
        """
        frame = _Frame(episode, step, {k: np.array(v) for k, v in views.items()}, time.monotonic())
        with self._changed:
            self._check()
            if len(self._waiting) >= self.config.queue:
                if self.config.when_full == "drop_oldest":
                    self._waiting.popleft()
                    self.counts["dropped"] += 1
                elif not self._changed.wait_for(self._has_room, timeout):
                    self.counts["timed_out"] += 1
                    return False
                self._check()
            self._waiting.append(frame)
            self.counts["submitted"] += 1
            self._changed.notify_all()
        return True

    def _has_room(self) -> bool:
        full = len(self._waiting) >= self.config.queue
        return not full or self._closed or self._error is not None

    def read(self, episode: int) -> Reading:
        """The newest progress of an episode, at once."""
        with self._changed:
            known = self._episodes.get(episode)
            behind = sum(f.episode == episode for f in (*self._waiting, *self._busy))
            if known is None or known.step < 0:
                return Reading(0.0, -1, behind, float("inf"), False)
            age = time.monotonic() - known.taken
            return Reading(known.progress, known.step, behind, age, known.invalid)

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until every frame handed over is scored; False after the timeout.

        Raises:
            RoboError: scoring failed.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: not (self._waiting or self._busy) or self._error is not None, timeout
            )
            if self._error is not None:
                self._check()
            return done

    def forget(self, episode: int) -> None:
        """Drop what is kept of an ended episode, and its frames: those in work are not counted.

        Its id may be used anew at once: the next frame is the first of another episode.
        """
        with self._changed:
            self._episodes.pop(episode, None)
            self._busy = [f for f in self._busy if f.episode != episode]
            self._waiting = deque(f for f in self._waiting if f.episode != episode)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop after the frames in work; waiting ones are given up."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout=10.0)

    def _check(self) -> None:
        if self._error is not None:
            raise RoboError(
                f"online scoring failed ({type(self._error).__name__}: {self._error}); mend the "
                "cause and make a new scorer"
            ) from self._error
        if self._closed:
            raise RoboError("the online scorer is closed; make a new one")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if self._closed:
                    return
                self._busy = self._next_batch()
                self._changed.notify_all()
                batch = self._busy
            try:
                self._score(batch)
            except Exception as error:
                with self._changed:
                    self._error = error
            with self._changed:
                self._busy = []
                self._changed.notify_all()
                if self._error is not None:
                    return

    def _next_batch(self) -> list[_Frame]:
        """Waiting frames, at most one of each episode: a frame needs the one before it."""
        batch: list[_Frame] = []
        rest: deque[_Frame] = deque()
        taken: set[int] = set()
        while self._waiting:
            frame = self._waiting.popleft()
            if frame.episode in taken or len(batch) >= self.config.batch:
                rest.append(frame)
                continue
            taken.add(frame.episode)
            batch.append(frame)
        self._waiting = rest
        return batch

    def _encode(self, batch: list[_Frame]) -> Tensor:
        """Rows ``[M, E]``; of frames seen before, from memory."""
        keys = [self._key(frame) for frame in batch]
        new = {key: frame for key, frame in zip(keys, batch, strict=True) if key not in self._rows}
        self.counts["encoded"] += len(new)
        self.counts["remembered"] += len(batch) - len(new)
        found = {key: self._rows[key] for key in keys if key in self._rows}
        if new:
            frames = list(new.values())
            stacked = {
                view: torch.from_numpy(np.stack([frame.views[view] for frame in frames]))
                for view in frames[0].views
            }
            found |= zip(new, self.scorer.encode(stacked), strict=True)
        for key in keys:
            self._rows[key] = found[key]
            self._rows.move_to_end(key)
        while len(self._rows) > self.config.remembered:
            self._rows.popitem(last=False)
        return torch.stack([found[key] for key in keys])

    @staticmethod
    def _key(frame: _Frame) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for view in sorted(frame.views):
            digest.update(view.encode() + str(frame.views[view].shape).encode())
            digest.update(np.ascontiguousarray(frame.views[view]).tobytes())
        return digest.digest()

    def _score(self, batch: list[_Frame]) -> None:
        rows = self._encode(batch)
        with self._changed:
            known = [self._episodes.get(frame.episode) for frame in batch]
        states = [
            state if state is not None else _Episode(row, row, 0.0)
            for state, row in zip(known, rows, strict=True)
        ]
        fresh = torch.tensor([state.step < 0 for state in states])
        hops = self.scorer.hops(
            rows,
            torch.stack([state.previous for state in states]),
            torch.stack([state.start for state in states]),
        )
        for part in (hops.incremental, hops.forward):
            if part is not None:  # the first frame is no hop away from itself
                part[fresh & part.isfinite()] = 0.0
        before = torch.tensor([state.progress for state in states])
        progress, invalid = anchored_progress(self.scorer.mode, before, hops)
        with self._changed:
            self.counts["scored"] += len(batch)
            self.counts["invalid"] += int(invalid.sum())
            for i, (frame, state) in enumerate(zip(batch, states, strict=True)):
                if not any(frame is wanted for wanted in self._busy):
                    continue  # its episode was forgotten meanwhile
                state.previous, state.progress = rows[i], float(progress[i])
                state.step, state.taken = frame.step, frame.taken
                state.invalid = bool(invalid[i])
                self._episodes[frame.episode] = state
