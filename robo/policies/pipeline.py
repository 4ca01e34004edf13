"""Where rollouts come from: one after another, or the next one while this one is learned from.

Overlapped, rollout k + 1 is collected in a thread of its own by a copy of the policy as it was
before update k, while the reward scores rollout k and the learner makes update k. Its
``log_prob`` are those of the copy that acted, so PPO's probability ratios stay right; they start
one update away from 1. The first update is not overlapped: it is the one that fixes the
normalisation of observations.
"""

from __future__ import annotations

import copy
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from robo.errors import RoboError
from robo.policies.asynchronous import GroupedCollector
from robo.policies.collector import Collector, FinishedEpisode
from robo.policies.policy import Policy
from robo.rollout import Rollout

SWITCH_SECONDS = 1e-4
"""How long one thread may keep Python's lock from the other while two rollouts overlap: with
Python's own 5 ms, each short step of the simulator would wait that long for the update."""


@dataclass
class Collected:
    """One rollout and what is logged of it."""

    rollout: Rollout
    """The rollout."""
    finished: list[FinishedEpisode]
    """Episodes that ended in it."""
    seconds: float
    """How long it took to collect, overlapped or not."""


class RolloutPipeline:
    """Hands out rollouts in order, synchronously."""

    def __init__(self, collector: Collector | GroupedCollector) -> None:
        """``collector`` acts with the policy that is being trained."""
        self.collector = collector

    def next(self, more: bool, keep: bool) -> Collected:
        """The next rollout.

        Args:
            more: whether another one will be asked for (which may then begin at once).
            keep: whether :meth:`state_dict` will be called before the next call.
        """
        return self._collect()

    def _collect(self) -> Collected:
        start = time.perf_counter()
        rollout = self.collector.collect()
        return Collected(rollout, self.collector.finished, time.perf_counter() - start)

    def state_dict(self) -> dict[str, Any]:
        """What the rollouts after the last one handed out depend on."""
        return {"collector": self.collector.state_dict(), "actor": None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.collector.load_state_dict(state["collector"])

    def close(self) -> None:
        """Wait for a rollout that is being collected."""


class OverlappedPipeline(RolloutPipeline):
    """Collects the next rollout while the caller works on the last one.

    Deterministic: which parameters act in a rollout does not depend on timing.
    """

    def __init__(self, collector: Collector | GroupedCollector, actor_critic: Policy) -> None:
        """``actor_critic`` is being trained; a copy of it acts."""
        super().__init__(collector)
        self.learned = actor_critic
        self.actor = copy.deepcopy(actor_critic)
        collector.actor_critic = self.actor
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="robo-collect")
        self._future: Future[Collected] | None = None
        self._saved_actor: dict[str, Any] | None = None
        self._kept: dict[str, Any] | None = None
        device = next(actor_critic.parameters()).device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def next(self, more: bool, keep: bool) -> Collected:
        """See :class:`RolloutPipeline`; starts the one after it where ``more``."""
        if self._future is None:
            self._start(self._saved_actor)
        self._saved_actor = None
        assert self._future is not None
        collected, self._future = self._future.result(), None
        # The parameters that act next are those of now, before the update.
        overlap = self.collector.rollouts > 1
        self._kept = None
        if keep:
            self._kept = {
                "collector": self.collector.state_dict(),
                "actor": _clone(self.learned.state_dict()) if overlap else None,
            }
        if more and overlap:
            self._start(None)
        return collected

    def _start(self, parameters: dict[str, Any] | None) -> None:
        self.actor.load_state_dict(self.learned.state_dict() if parameters is None else parameters)
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._future = self._pool.submit(self._collect_beside)

    def _collect_beside(self) -> Collected:
        stream = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with stream:
            collected = self._collect()
            if self._stream is not None:
                self._stream.synchronize()
        return collected

    def state_dict(self) -> dict[str, Any]:
        """The state before the rollout that is being collected: it is collected again on resume.

        Raises:
            RoboError: where the last :meth:`next` was not told to keep it.
        """
        if self._kept is not None:
            return self._kept
        if self._future is not None:
            raise RoboError("an overlapped rollout is under way and its start was not kept")
        return {"collector": self.collector.state_dict(), "actor": self._saved_actor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.close()
        self._kept = None
        self._saved_actor = state["actor"]
        super().load_state_dict(state)

    def close(self) -> None:
        """Wait for the rollout that is being collected, and drop it."""
        if self._future is not None:
            self._future.exception()
            self._future = None


def _clone(state: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)
        for key, value in state.items()
    }
