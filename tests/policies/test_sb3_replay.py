"""The packed replay buffer gives what SB3's own gives, in a fraction of the memory."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.errors import RoboError

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.buffers import DictReplayBuffer

from robo.policies.sb3_replay import CompactReplayBuffer

SPACE = gymnasium.spaces.Dict(
    {
        "birdseye": gymnasium.spaces.Box(0, 255, (3, 8, 8), np.uint8),
        "state": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
    }
)
ACTION = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


def observation(rng, envs, scale=2):
    return {
        "birdseye": rng.integers(0, scale, (envs, 3, 8, 8)).astype(np.uint8),
        "state": rng.random((envs, 2)).astype(np.float32),
    }


def fill(buffers, steps, envs, seed=0, scale=2):
    """The same episodes into every buffer; ends at random, and one unannounced reset."""
    rng = np.random.default_rng(seed)
    now = observation(rng, envs, scale)
    for step in range(steps):
        following = observation(rng, envs, scale)
        done = rng.random(envs) < 0.2
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5) and bool(d)} for d in done]
        action, reward = rng.random((envs, 2)).astype(np.float32), rng.random(envs)
        for buffer in buffers:
            buffer.add(now, following, action, reward, done, infos)
        fresh = observation(rng, envs, scale)
        anew = done | (step == steps // 2)
        now = {
            key: np.where(anew.reshape(-1, *[1] * (x.ndim - 1)), fresh[key], x)
            for key, x in following.items()
        }


def assert_same(buffers, rows):
    found = []
    for buffer in buffers:
        np.random.seed(0)
        found.append(buffer._get_samples(rows))
    ours, theirs = found
    for key in SPACE:
        assert (ours.observations[key] == theirs.observations[key]).all()
        assert (ours.next_observations[key] == theirs.next_observations[key]).all()
    for name in ("actions", "rewards", "dones"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 100))
def test_the_same_as_sb3s_own(steps, envs, seed):
    buffers = [kind(12 * envs, SPACE, ACTION, "cpu", envs) for kind in KINDS]
    fill(buffers, steps, envs, seed)
    assert buffers[0].size() == buffers[1].size()
    assert_same(buffers, np.repeat(np.arange(min(steps, 12)), 5))


KINDS = (CompactReplayBuffer, DictReplayBuffer)


def test_only_the_newest_steps_are_drawn():
    buffer = CompactReplayBuffer(20, SPACE, ACTION, "cpu", 2)
    fill([buffer], 7, 2)
    assert buffer.size() == 7 and buffer.sample(64).rewards.shape == (64, 1)
    fill([buffer], 33, 2)
    assert buffer.size() == 10


def test_images_are_kept_once():
    buffer = CompactReplayBuffer(400, SPACE, ACTION, "cpu", 1)
    rng = np.random.default_rng(0)
    now = observation(rng, 1)
    for _ in range(100):
        following = observation(rng, 1)
        buffer.add(now, following, np.zeros((1, 2)), np.zeros(1), np.zeros(1, bool), [{}])
        now = following
    each = [buffer.observations["birdseye"].nbytes, buffer.next_observations["birdseye"].nbytes]
    # Of the next states, only the newest has a copy.
    assert each[1] < 2 * each[0] / 100


def test_the_limit_holds_whatever_the_images_are():
    limit = 20_000
    buffer = CompactReplayBuffer(1000, SPACE, ACTION, "cpu", 2, max_bytes=limit)
    whole = DictReplayBuffer(1000, SPACE, ACTION, "cpu", 2)
    for seed, scale in enumerate((2, 256, 2)):
        fill([buffer, whole], 150, 2, seed, scale)
        assert buffer.image_bytes <= limit
        assert 2 < buffer.size() < 150
        newest = (buffer.pos - 1 - np.arange(buffer.size())) % buffer.buffer_size
        assert_same([buffer, whole], newest)
    buffer.reset()
    assert buffer.image_bytes == 0 and buffer.size() == 0


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(RoboError, match="Dict of observations"):
        CompactReplayBuffer(10, SPACE["state"], ACTION, "cpu")
    buffer = CompactReplayBuffer(10, SPACE, ACTION, "cpu", max_bytes=50)
    with pytest.raises(RoboError, match="max_bytes"):
        fill([buffer], 1, 1)


def test_it_is_saved_and_loaded(tmp_path):
    import pickle

    buffer = CompactReplayBuffer(24, SPACE, ACTION, "cpu", 2)
    fill([buffer], 30, 2)
    again = pickle.loads(pickle.dumps(buffer))
    assert_same([again, buffer], np.arange(12))
    fill([again, buffer], 5, 2, seed=3)
    assert_same([again, buffer], np.arange(12))
