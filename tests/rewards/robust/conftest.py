"""Rollouts whose dense reward and success are given by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from robo.rewards.success import Memoryless
from robo.rollout import EpisodeInfo, FinalObservation, RewardTerms, Rollout


class Given(Memoryless):
    """Pays a signal."""

    def __init__(self, signal: str = "dense") -> None:
        self.signals = (signal,)

    def __call__(self, rollout: Rollout) -> RewardTerms:
        total = rollout.signals[self.signals[0]]
        return RewardTerms(total, {self.signals[0]: total})


def make(
    episode: Any, done: Any, success: Any = None, valid: Any = None, **signals: Any
) -> Rollout:
    """One environment: ids, ends and signals ``[T]``; an end without success is a time-out."""
    ids = torch.as_tensor(episode)[:, None]
    ended = torch.as_tensor(done, dtype=torch.bool)[:, None]
    won = torch.zeros_like(ended) if success is None else torch.as_tensor(success).bool()[:, None]
    zero = torch.zeros(ids.shape)
    step = ended[:, 0].nonzero().flatten()
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, step, torch.zeros_like(step)),
        action=zero,
        log_prob=zero,
        env_reward=zero,
        terminated=ended & won,
        truncated=ended & ~won,
        success=won,
        episode=ids,
        episodes={int(i): EpisodeInfo("test/task") for i in ids.unique()},
        signals={
            name: torch.as_tensor(value, dtype=torch.float32)[:, None]
            for name, value in signals.items()
        },
        valid=None if valid is None else torch.as_tensor(valid).bool()[:, None],
    )


@pytest.fixture
def rollout():
    return make


@pytest.fixture
def given():
    return Given
