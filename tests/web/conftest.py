"""A small store with a success, a failure and frames at a stride."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.rollout import Episode, EpisodeInfo


def episode(index: int, steps: int = 24) -> Episode:
    """A bright square that moves right; odd ones fail."""
    rows = np.array(sorted({*range(0, steps, 2), steps}))
    frame = np.full((len(rows), 24, 32, 3), 50, np.uint8)
    for i in range(len(rows)):
        frame[i, 8:16, i : i + 6] = (230, 60 + 20 * index, 40)
    success = index % 2 == 0
    progress = np.linspace(0.1, 1.0 if success else 0.5, steps, dtype=np.float32)
    return Episode(
        EpisodeInfo("mujoco/Lift", "lift the red cube", seed=100 + index),
        {"state": np.zeros((steps + 1, 3), np.float32)},
        np.zeros((steps, 4), np.float32),
        np.full(steps, 0.1 * (index + 1), np.float32),
        success,
        success,
        signals={"progress": progress},
        frames={"front": frame, "left_wrist": frame[:, ::-1]},
        frame_step=rows,
        keyframes={"grasp": steps // 2},
        metadata={"kind": "demonstration" if success else "hover"},
    )


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """Five episodes of several lengths, open for reading."""
    with EpisodeStore(tmp_path / "store") as made:
        made.extend([episode(i, 24 + 4 * i) for i in range(5)])
    return EpisodeStore(tmp_path / "store", mode="r")
