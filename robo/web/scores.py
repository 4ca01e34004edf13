"""What rewards say of a whole store, found in the background while the page is already open."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.errors import RoboError
from robo.media.stored import reward_hops, score_episodes, seed_from_store
from robo.media.traces import RewardTrace

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.rewards.base import Reward
    from robo.rollout import Episode


TRIES = 5
"""Episodes after which a reward that could score none is not asked any more."""


def percentile_ranks(values: Sequence[float | None]) -> list[float | None]:
    """Share of the known values that are below each, ties counted half: 0 ... 1; None stays."""
    from scipy.stats import rankdata

    known = [i for i, value in enumerate(values) if value is not None]
    ranks: list[float | None] = [None] * len(values)
    if known:
        found = (rankdata([values[i] for i in known]) - 0.5) / len(known)
        for i, rank in zip(known, found, strict=True):
            ranks[i] = float(rank)
    return ranks


def disagreement(columns: Mapping[str, Sequence[float | None]]) -> list[float | None]:
    """How differently rewards rank each episode: largest minus smallest percentile rank.

    Free of the rewards' scales; 0 where all rank it alike, towards 1 where one takes it for the
    best and another for the worst. None where fewer than two rewards know the episode.

    Args:
        columns: reward to its score of every episode, None where unknown.
    """
    ranks = [percentile_ranks(values) for values in columns.values()]
    found: list[float | None] = []
    for episode in zip(*ranks, strict=True):
        known = [rank for rank in episode if rank is not None]
        found.append(max(known) - min(known) if len(known) > 1 else None)
    return found


class StoreScores:
    """Scores of every episode by every reward; one thread fills them in, many may ask."""

    def __init__(self, store: EpisodeStore, rewards: Mapping[str, Reward]) -> None:
        """Nothing is computed before :meth:`start`, or before an episode is asked for.

        Args:
            store: open for reading.
            rewards: name to reward.
        """
        self.store, self.rewards = store, dict(rewards)
        self.returns: list[float | None] = [None] * len(store)
        """Of the environment's own reward, undiscounted."""
        self.score: dict[str, list[float | None]] = {n: [None] * len(store) for n in rewards}
        """Reward to its return of each episode, undiscounted."""
        self.failures: dict[str, dict[int, str]] = {n: {} for n in rewards}
        """Reward to the episodes that it could not score, and why."""
        self.given_up: dict[str, str] = {}
        """Reward to why it is not asked any more."""
        self.damaged: dict[int, str] = {}
        """Episode to why it cannot be read."""
        self._traces: dict[int, dict[str, RewardTrace]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seeded = False
        self._thread = threading.Thread(target=self._fill, daemon=True)

    def start(self) -> None:
        """Score the store from the first episode to the last, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the episode at work."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def done(self) -> int:
        """Number of episodes that are scored or cannot be read."""
        return sum(value is not None for value in self.returns) + len(self.damaged)

    def _seed(self) -> None:
        """Rewards that compare episodes with earlier successes learn those of the store first."""
        with self._lock:
            if self._seeded:
                return
            self._seeded = True
            for name, reward in self.rewards.items():
                try:
                    seed_from_store(reward, self._readable())
                except RoboError as error:
                    self.given_up[name] = str(error)

    def _readable(self) -> Iterator[Episode]:
        """The episodes of the store but for the damaged ones, which are named when scored."""
        for index in range(len(self.store)):
            with suppress(RoboError):
                yield self.store[index]

    def _fill(self) -> None:
        for index in range(len(self.store)):
            if self._stop.is_set():
                return
            if self.returns[index] is None:
                try:
                    self.traces(index)
                except RoboError as error:
                    self.damaged[index] = str(error)

    def traces(self, index: int, episode: Episode | None = None) -> dict[str, RewardTrace]:
        """What each reward says of an episode, in the rewards' order; failed ones are missing.

        Raises:
            StoreError: the episode cannot be read.
        """
        known = self._traces.get(index)
        if known is not None:
            return known
        self._seed()
        wanted: set[str] = set()
        for reward in self.rewards.values():
            wanted |= set(reward.camera.views) if reward.camera else set()
        if episode is None:
            stored = self.store.info(index).shapes("frames")
            episode = self.store.read(index, [view for view in stored if view in wanted])
        # A reward keeps state between calls and may not be called by two threads at once.
        with self._lock:
            if index in self._traces:
                return self._traces[index]
            found = {name: t for name in self.rewards if (t := self._ask(name, index, episode))}
            self._traces[index] = found
            for name, trace in found.items():
                self.score[name][index] = float(trace.total.sum())
            self.returns[index] = float(np.asarray(episode.reward, np.float64).sum())
        return found

    def why_not(self, index: int) -> dict[str, str]:
        """Reward to why it says nothing of an episode that was asked for; empty where all do."""
        known = {name: failed.get(index) for name, failed in self.failures.items()}
        found = {name: why or self.given_up.get(name) for name, why in known.items()}
        return {n: why for n, why in found.items() if why and self.score[n][index] is None}

    def _ask(self, name: str, index: int, episode: Episode) -> RewardTrace | None:
        if name in self.given_up:
            return None
        reward = self.rewards[name]
        try:
            trace = score_episodes([episode], reward, name)[0].check(len(episode))
            trace.hops = reward_hops(episode, reward)
        except Exception as error:  # of any reward: the page names it and shows the others
            known = isinstance(error, RoboError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            failed = self.failures[name]
            failed[index] = why
            scored = any(value is not None for value in self.score[name])
            if not scored and len(failed) == TRIES:
                self.given_up[name] = why
            return None
        return trace

    def _problems(self) -> dict[str, str]:
        """Reward to a sentence of what it could not score."""
        found = dict(self.given_up)
        for name, failed in self.failures.items():
            if failed and name not in found:
                first = min(list(failed))  # others may add to it meanwhile
                found[name] = f"{len(failed)} not scored, the first is #{first}: {failed[first]}"
        return found

    def table(self) -> dict[str, Any]:
        """Returns, scores, disagreement and what failed, as JSON values."""
        return {
            "done": self.done,
            "returns": self.returns,
            "scores": self.score,
            "disagreement": disagreement(self.score) if self.score else [None] * len(self.store),
            "failures": self._problems(),
            "damaged": {str(index): reason for index, reason in self.damaged.items()},
        }
