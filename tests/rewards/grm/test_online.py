from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.rewards.grm.anchors import NEEDS
from robo.rewards.grm.online import OnlineConfig, OnlineScorer
from robo.rewards.grm.potential import make_scorer
from robo.rewards.grm.score import score_episode


class Gated:
    """A scorer that waits at a gate, and counts what it encodes."""

    def __init__(self, inner):
        self.inner, self.gate, self.encoded = inner, threading.Event(), []
        self.mode, self.views, self.size = inner.mode, inner.views, inner.size
        self.gate.set()

    def empty(self):
        return self.inner.empty()

    def encode(self, views):
        self.gate.wait(10)
        self.encoded.append(len(next(iter(views.values()))))
        return self.inner.encode(views)

    def hops(self, *rows):
        return self.inner.hops(*rows)


@pytest.fixture
def gated(small_grm):
    return Gated(make_scorer(small_grm, "mean", "cpu", 64))


def frames_of(episode):
    for row, step in enumerate(episode.frame_step):
        yield int(step), {view: image[row] for view, image in episode.frames.items()}


@pytest.mark.parametrize("mode", list(NEEDS))
def test_frames_one_by_one_come_to_what_the_stored_episode_scores(mode, small_grm, synthetic):
    episodes = [synthetic.episode(seed, stride=3)[0] for seed in range(3)]
    online = OnlineScorer(make_scorer(small_grm, mode, "cpu", 64))
    try:
        for shots in zip(*map(frames_of, episodes), strict=True):
            for index, (step, views) in enumerate(shots):
                assert online.submit(index, step, views)
        assert online.drain(20)
        for index, episode in enumerate(episodes):
            reading = online.read(index)
            wanted = score_episode(small_grm, episode, mode).final
            assert reading.progress == pytest.approx(wanted, abs=1e-4)
            assert (reading.step, reading.waiting, reading.invalid) == (24, 0, False)
            assert reading.seconds < 20
    finally:
        online.close()


def test_staleness_is_stated_and_frames_of_all_episodes_share_a_batch(gated, synthetic):
    online = OnlineScorer(gated)
    gated.gate.clear()
    shots = list(frames_of(synthetic.episode(0, stride=6)[0]))
    try:
        assert online.read(0).step == -1 and online.read(0).seconds == float("inf")
        for step, views in shots:
            for episode in range(4):
                online.submit(episode, step, {k: v + episode for k, v in views.items()})
        until = time.monotonic() + 5
        while online.read(3).waiting < len(shots) and time.monotonic() < until:
            time.sleep(0.01)
        assert online.read(3).waiting == len(shots)
        gated.gate.set()
        assert online.drain(20)
        assert online.read(3).waiting == 0 and max(gated.encoded) >= 3
        assert online.counts["scored"] == 4 * len(shots)
    finally:
        online.close()


def test_a_full_queue_blocks_or_drops_the_oldest(gated, synthetic):
    shots = list(frames_of(synthetic.episode(0)[0]))
    blocking = OnlineScorer(gated, OnlineConfig(queue=2))
    gated.gate.clear()
    try:
        until = time.monotonic() + 5
        blocking.submit(0, *shots[0])
        while blocking.read(0).waiting and not blocking._busy and time.monotonic() < until:
            time.sleep(0.01)
        assert blocking.submit(0, *shots[1]) and blocking.submit(0, *shots[2])
        assert not blocking.submit(0, *shots[3], timeout=0.05)
        assert blocking.counts["timed_out"] == 1
        threading.Timer(0.1, gated.gate.set).start()
        assert blocking.submit(0, *shots[3], timeout=10)
        assert blocking.drain(20) and blocking.read(0).step == 3
    finally:
        blocking.close()
    dropping = OnlineScorer(gated, OnlineConfig(queue=2, when_full="drop_oldest"))
    gated.gate.clear()
    try:
        for shot in shots[:10]:
            assert dropping.submit(0, *shot)
        gated.gate.set()
        assert dropping.drain(20) and dropping.read(0).step == 9
        assert dropping.counts["dropped"] >= 7
    finally:
        dropping.close()


def test_equal_frames_are_encoded_once_and_ended_episodes_are_forgotten(gated, synthetic):
    online = OnlineScorer(gated)
    _step, views = next(frames_of(synthetic.episode(0)[0]))
    try:
        for at in range(3):
            online.submit(0, at, views)
            online.submit(1, at, views)
        assert online.drain(20)
        assert sum(gated.encoded) == 1 == online.counts["encoded"]
        assert online.counts["remembered"] == 5
        online.forget(0)
        assert online.read(0).step == -1 and online.read(1).step == 2
    finally:
        online.close()
    with pytest.raises(RoboError, match="closed"):
        online.submit(0, 0, views)


def test_an_episode_forgotten_while_it_is_scored_does_not_come_back(gated, synthetic):
    """The next episode of that environment would start with the old one's progress."""
    online, shots = OnlineScorer(gated), list(frames_of(synthetic.episode(0)[0]))
    try:
        gated.gate.clear()
        online.submit(0, *shots[-1])
        until = time.monotonic() + 5
        while not online._busy and time.monotonic() < until:
            time.sleep(0.01)
        online.forget(0)
        assert online.read(0).waiting == 0
        gated.gate.set()
        online.submit(1, *shots[0])
        assert online.drain(20)
        assert online.read(0).step == -1 and online.read(1).step == 0
    finally:
        gated.gate.set()
        online.close()


def test_invalid_answers_hold_and_failures_are_told(gated, synthetic, monkeypatch):
    online = OnlineScorer(gated)
    shots = list(frames_of(synthetic.episode(0)[0]))
    honest = gated.hops
    try:
        for shot in shots[:4]:
            online.submit(0, *shot)
        online.drain(20)
        before = online.read(0).progress

        def broken(*rows):
            hops = honest(*rows)
            hops.backward[:] = torch.nan
            return hops

        monkeypatch.setattr(gated, "hops", broken)
        online.submit(0, *shots[4])
        online.drain(20)
        reading = online.read(0)
        assert reading.progress == before and reading.invalid and reading.step == 4
        assert online.counts["invalid"] == 1
        online.submit(0, 5, {"front": np.zeros((3, 3, 3), np.uint8)})
        with pytest.raises(RoboError, match="online scoring failed"):
            online.drain(20)
            online.drain(1)
        with pytest.raises(RoboError, match="online scoring failed"):
            online.submit(0, *shots[6])
    finally:
        online.close()
    with pytest.raises(RoboError, match="queue"):
        OnlineConfig(queue=0)
