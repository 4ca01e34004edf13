"""Offline: progress within a rollout, its increments, and regression weighted by them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces

from robo.errors import StoreError
from robo.perception.clips import window_ends
from robo.perception.video import PixelEncoder
from robo.policies.actor_critic import ActorCritic
from robo.policies.advantage_weighted import (
    AWRConfig,
    advantage_weighted_regression,
    episode_progress,
    increments,
)
from robo.rewards.progress_curve import progress_curve, window_distances
from robo.rollout import Episode, EpisodeInfo

SPACE = spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (1,), np.float32)})
ACTION = spaces.Box(-1, 1, (1,), np.float32)


def walk(actions: list[float], seed: int) -> Episode:
    """A bar as long as the place: actions move it, at the right end the task is solved."""
    place = np.clip(np.cumsum([0.0, *actions]), 0, 8)
    frames = np.zeros((len(place), 8, 8, 3), np.uint8)
    for row, length in enumerate(place.round().astype(int)):
        frames[row, :, :length] = 200 + seed % 5
    sent = np.array(actions, np.float32)[:, None]
    episode = Episode(
        EpisodeInfo("mine", seed=seed),
        {"state": place[:, None].astype(np.float32)},
        sent,
        np.zeros(len(actions), np.float32),
        bool(place[-1] > 7),
        bool(place[-1] > 7),
        frames={"front": frames},
        frame_step=np.arange(len(place)),
    )
    return episode


def encoder() -> PixelEncoder:
    return PixelEncoder(frames=4, size=8)


def test_a_success_is_compared_with_others_and_its_curve_rises():
    clips = [walk([1.0] * 8, seed).frames for seed in range(3)]
    centres = encoder().embed(clips[1:])
    ((ends, distance),) = window_distances(encoder(), clips[:1], centres, windows=5)
    assert ends.tolist() == window_ends(9, 5).tolist() == [2, 4, 6, 7, 9]
    curve = progress_curve(distance)
    assert curve[0] == 0 and curve[-1] == 1 and (np.diff(curve) > 0).all()
    assert distance[-1] > 0  # its own video is no reference
    assert progress_curve(np.ones(4)).tolist() == [0] * 4
    assert progress_curve(np.zeros(0)).shape == (0,)


def test_increments_are_normalised_over_all_episodes():
    found = increments([np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.0, 0.3])])
    joined = np.concatenate(found)
    assert joined.mean() == pytest.approx(0) and joined.std() == pytest.approx(1)
    assert found[0][0] > found[1][1] > found[1][0]
    assert [part.tolist() for part in increments([np.zeros(3)])] == [[0.0, 0.0]]


def test_weighted_regression_prefers_what_made_progress():
    rng = np.random.default_rng(0)
    episodes = [walk([1.0] * 8, seed) for seed in range(3)]
    episodes += [walk(rng.choice([-1.0, 1.0], 8).tolist(), 10 + seed) for seed in range(12)]
    with pytest.raises(StoreError, match="at least 2 successes"):
        episode_progress(episodes[2:4], encoder())
    blind = dataclasses.replace(episodes[3], frames={})
    with pytest.raises(StoreError, match="episode 1 of mine has no camera frames"):
        episode_progress([episodes[0], blind, episodes[1]], encoder())
    progress = episode_progress(episodes, encoder())
    assert all(len(values) == 9 for values in progress)
    means = []
    for beta in (0.5, 1e6):
        policy = ActorCritic(SPACE, ACTION, seed=0)
        settings = AWRConfig(beta=beta, epochs=40, batch_size=64, learning_rate=3e-3)
        found = advantage_weighted_regression(episodes, policy, encoder(), settings)
        assert found["loss_last"] < found["loss_first"]
        state = {"state": np.array([[1.0], [2.0], [3.0]], np.float32)}
        means.append(policy.act(state, rng, deterministic=True)[0].mean())
    assert means[0] > means[1] + 0.1
