"""Runs in lerobot's own environment: loads a data set, or writes one, and says what is in it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def load(root: str, out: str) -> None:
    """Every row of a data set, as lerobot gives it."""
    data = LeRobotDataset("robo/test", root=root, video_backend="pyav")
    rows: dict[str, list] = {}
    for index in range(len(data)):
        for key, value in data[index].items():
            rows.setdefault(key, []).append(np.asarray(value))
    arrays = {key: np.stack(values) for key, values in rows.items() if key != "task"}
    np.savez(out, tasks=np.array([str(t) for t in rows["task"]]), **arrays)
    state = data.meta.stats["observation.state"]
    assert np.allclose(state["mean"], arrays["observation.state"].mean(0), atol=1e-4)


def write(root: str, out: str, videos: bool) -> None:
    """A data set of two episodes, and its true content."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :96]
    features = {
        "observation.state": {"dtype": "float32", "shape": (5,), "names": None},
        "action": {"dtype": "float32", "shape": (3,), "names": None},
        "observation.images.front": {
            "dtype": "video" if videos else "image",
            "shape": (64, 96, 3),
            "names": ["height", "width", "channels"],
        },
    }
    data = LeRobotDataset.create("robo/made", 10, features, root=root, use_videos=videos)
    true: dict[str, list] = {key: [] for key in features}
    for episode in range(2):
        for step in range(7 + episode):
            image = np.stack([x + step, y + 3 * step, x + y + episode], -1).astype(np.uint8)
            row = {
                "observation.state": rng.normal(size=5).astype(np.float32),
                "action": rng.normal(size=3).astype(np.float32),
                "observation.images.front": image,
            }
            for key, value in row.items():
                true[key].append(value)
            data.add_frame({**row, "task": f"task {episode}"})
        data.save_episode()
    data.finalize()
    np.savez(out, **{key: np.stack(values) for key, values in true.items()})


if __name__ == "__main__":
    action, root, out = sys.argv[1:4]
    Path(root).parent.mkdir(parents=True, exist_ok=True)
    load(root, out) if action == "load" else write(root, out, action == "write-video")
