"""Episodes for the store's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robo.rollout import Episode, EpisodeInfo

MakeEpisode = Callable[..., Episode]


def make_episode(
    seed: int = 0, length: int = 12, size: int = 16, rows: int = 4, **changes: Any
) -> Episode:
    """An episode of random numbers, all of its fields filled."""
    rng = np.random.default_rng(seed)
    image = (rows, size, size, 3)
    fields: dict[str, Any] = {
        "info": EpisodeInfo("mujoco/Lift", "lift the cube", None, None, seed),
        "observation": {
            "state": rng.normal(size=(length + 1, 5)).astype(np.float32),
            "views/front": rng.integers(0, 256, (length + 1, 4, 4, 3), dtype=np.uint8),
        },
        "action": rng.normal(size=(length, 7)).astype(np.float32),
        "reward": rng.normal(size=length).astype(np.float32),
        "success": bool(seed % 2),
        "terminated": bool(seed % 2),
        "signals": {
            "speed": rng.normal(size=length).astype(np.float32),
            "height": np.zeros(length, dtype=np.float32),
        },
        "frames": {
            role: rng.integers(0, 256, image, dtype=np.uint8) for role in ("front", "wrist")
        },
        "frame_step": np.linspace(0, length, rows).astype(np.int64),
        "keyframes": {"reached": length // 3, "grasped": length // 2},
        "metadata": {"kind": "demo" if seed % 3 else "random", "profile": {"msaa": 0}},
    }
    return Episode(**{**fields, **changes})


def assert_equal(stored: Episode, original: Episode) -> None:
    """Every field, bit for bit, dtypes and the order of names included."""
    assert stored.info == original.info
    for name in ("success", "terminated", "metadata"):
        assert getattr(stored, name) == getattr(original, name)
    assert list(stored.keyframes.items()) == list(original.keyframes.items())
    for name in ("observation", "signals", "frames"):
        got, expected = getattr(stored, name), getattr(original, name)
        assert list(got) == list(expected)
        for key in expected:
            assert_same_bits(got[key], expected[key])
    for name in ("action", "reward", "frame_step"):
        assert_same_bits(getattr(stored, name), getattr(original, name))


def assert_same_bits(got: Any, expected: Any) -> None:
    """Same type, shape and bytes, so that NaN equals itself and -0.0 does not equal 0.0."""
    if expected is None:
        assert got is None
        return
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


@pytest.fixture(name="make_episode")
def make_episode_fixture() -> MakeEpisode:
    """Makes an episode; keywords replace its fields."""
    return make_episode


@pytest.fixture(name="assert_equal")
def assert_equal_fixture() -> Callable[[Episode, Episode], None]:
    """Compares two episodes bit for bit."""
    return assert_equal
