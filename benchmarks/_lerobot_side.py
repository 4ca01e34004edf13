"""Runs in lerobot's own environment: random windows of one of its data sets, timed."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def main() -> None:
    """Read what is asked for; print each repetition's rows per second (wall, CPU), the decoder."""
    torch.set_num_threads(1)
    asked = json.loads(sys.argv[1])
    fps = json.loads((Path(asked["root"]) / "meta/info.json").read_text())["fps"]
    offsets = [step / fps for step in range(asked["window"])]
    first = LeRobotDataset("robo/data", root=asked["root"])
    keys = [*first.meta.camera_keys, "observation.state", "action"]
    reads, reason = [], None
    try:
        data = make(asked["root"], keys, offsets, None)
        data[0]
    except Exception as error:  # its default decoder needs FFmpeg's libraries
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        data = make(asked["root"], keys, offsets, "pyav")
        data[0]
    decoder = {"used": data.video_backend, "default_failed_with": reason}
    for repeat in range(asked["repeats"]):
        rng = np.random.default_rng(repeat)
        chosen = rng.integers(0, len(data) - asked["window"], asked["windows"])
        wall, cpu = time.perf_counter(), time.process_time()
        for index in chosen.tolist():
            data[index]
        rows = len(chosen) * asked["window"]
        reads.append((rows / (time.perf_counter() - wall), rows / (time.process_time() - cpu)))
    print(json.dumps({"reads": reads, "decoder": decoder}))


def make(root: str, keys: list[str], offsets: list[float], backend: str | None) -> LeRobotDataset:
    """The data set with windows of all keys."""
    windows = {key: offsets for key in keys}
    return LeRobotDataset("robo/data", root=root, delta_timestamps=windows, video_backend=backend)


if __name__ == "__main__":
    main()
