"""Where a policy thinks: beside the control loop, in a thread or in a process of its own.

The loop never waits for a policy longer than it chose to: it submits the newest observation when
the policy is idle, and takes the chunk when it is there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robo.robots.clock import Clock
from robo.robots.policies import Observation, RobotPolicy
from robo.robots.robot import RobotError


@dataclass(frozen=True)
class Answer:
    """What came back for one observation."""

    tick: int
    """Tick of the observation."""
    actions: np.ndarray | None
    """``[H, A]``, or None after an error."""
    seconds: float
    """Time that the policy took."""
    error: str = ""
    """What it raised."""


class Inference(Protocol):
    """A policy at work."""

    def reset(self, seed: int) -> None:
        """A trial begins; answers to earlier observations are dropped."""
        ...

    def submit(self, tick: int, observation: Observation) -> bool:
        """Give it an observation; False where it is still busy."""
        ...

    def poll(self, timeout: float) -> Answer | None:
        """Its answer, waiting up to ``timeout`` seconds; None where there is none yet."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class InlineInference:
    """Thinks inside ``submit``: for virtual clocks and tests, where nothing may run beside."""

    def __init__(self, policy: RobotPolicy, clock: Clock) -> None:
        """Takes over the policy."""
        self._policy, self._clock = policy, clock
        self._answer: Answer | None = None

    def reset(self, seed: int) -> None:
        """See :class:`Inference`."""
        self._answer = None
        self._policy.reset(seed)

    def submit(self, tick: int, observation: Observation) -> bool:
        """See :class:`Inference`."""
        self._answer = _think(self._policy, tick, observation, self._clock.now)
        return True

    def poll(self, timeout: float) -> Answer | None:
        """See :class:`Inference`."""
        answer, self._answer = self._answer, None
        return answer

    def close(self) -> None:
        """Nothing runs."""


class ThreadInference:
    """Thinks in a thread: right for policies whose time goes to NumPy, torch or a server."""

    def __init__(self, policy: RobotPolicy, clock: Clock) -> None:
        """Start the thread."""
        self._policy, self._clock = policy, clock
        self._work: queue.SimpleQueue[tuple[int, int, Observation | None] | None]
        self._work, self._done = queue.SimpleQueue(), queue.SimpleQueue()
        self._trial = 0
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def reset(self, seed: int) -> None:
        """See :class:`Inference`."""
        self._trial += 1
        self._work.put((self._trial, seed, None))
        self._busy = False

    def submit(self, tick: int, observation: Observation) -> bool:
        """See :class:`Inference`."""
        if self._busy:
            return False
        self._busy = True
        self._work.put((self._trial, tick, observation))
        return True

    def poll(self, timeout: float) -> Answer | None:
        """See :class:`Inference`."""
        while self._busy:
            try:
                if timeout > 0:
                    trial, answer = self._done.get(timeout=timeout)
                else:
                    trial, answer = self._done.get_nowait()
            except queue.Empty:
                return None
            if trial == self._trial:  # an answer of an earlier trial is dropped
                self._busy = False
                return answer
        return None

    def close(self) -> None:
        """End the thread, once it is idle, and a policy that has something to close."""
        self._work.put(None)
        self._thread.join(timeout=0.5)
        close = getattr(self._policy, "close", None)
        if callable(close):
            close()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            trial, number, observation = work
            if observation is None:
                try:
                    self._policy.reset(number)
                except Exception as error:  # a policy may raise anything
                    self._done.put((trial, Answer(-1, None, 0.0, _text(error))))
            else:
                answer = _think(self._policy, number, observation, self._clock.now)
                self._done.put((trial, answer))


def _think(
    policy: RobotPolicy, tick: int, observation: Observation, now: Callable[[], float]
) -> Answer:
    start = now()
    try:
        actions = np.atleast_2d(np.asarray(policy(observation), np.float64))
    except Exception as error:  # a policy may raise anything
        return Answer(tick, None, now() - start, _text(error))
    return Answer(tick, actions, now() - start)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def make_inference(kind: str, make_policy: Callable[[], RobotPolicy], clock: Clock) -> Inference:
    """The inference called ``kind``: inline, thread or process.

    Args:
        kind: one of the three.
        make_policy: builds the policy; for "process" it must be picklable, and runs there.
        clock: of the loop.

    Raises:
        RobotError: for another name.
    """
    if kind == "inline":
        return InlineInference(make_policy(), clock)
    if kind == "thread":
        return ThreadInference(make_policy(), clock)
    if kind == "process":
        from robo.robots.process_policy import ProcessPolicy

        return ThreadInference(ProcessPolicy(make_policy), clock)
    raise RobotError(f"there is no inference {kind!r}, expected inline, thread or process")
