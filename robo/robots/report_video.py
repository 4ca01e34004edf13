"""Trials as small videos inside the report."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from robo.data import EpisodeStore
from robo.media.video import VideoWriter
from robo.robots.ghost import fitted
from robo.rollout import Episode

HEIGHT = 192
"""Pixels of a video."""
LARGEST = 40_000_000
"""Bytes of all videos of one report; what comes after is left out, and said to be."""


def encoded(episode: Episode, rate: float) -> tuple[bytes, bytes] | None:
    """All views side by side as mp4, and its last picture as JPEG; None without frames.

    Args:
        episode: with frames.
        rate: control steps per second.
    """
    if not episode.frames or episode.frame_step is None or len(episode.frame_step) == 0:
        return None
    gaps = np.diff(episode.frame_step)
    stride = float(np.median(gaps)) if len(gaps) else 1.0
    rows = []
    for row in range(len(episode.frame_step)):
        images = [frames[row] for frames in episode.frames.values()]
        sized = [fitted(i, HEIGHT, 2 * round(HEIGHT * i.shape[1] / i.shape[0] / 2)) for i in images]
        rows.append(np.concatenate(sized, axis=1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.mp4"
        height, width = rows[0].shape[:2]
        with VideoWriter(path, max(rate / stride, 1.0), width, height, crf=28) as writer:
            for image in rows:
                writer.write(image)
        done, poster = cv2.imencode(".jpg", np.ascontiguousarray(rows[-1][..., ::-1]))
        return path.read_bytes(), poster.tobytes() if done else b""


def inline_videos(store: EpisodeStore, episodes: list[int], rate: float) -> Iterator[str | None]:
    """A ``<video>`` element per episode, None where it has no frames or the report is full."""
    used = 0
    for index in episodes:
        content = encoded(store[index], rate) if used < LARGEST else None
        if content is None:
            yield None
            continue
        used += sum(map(len, content))
        source, poster = (base64.b64encode(part).decode() for part in content)
        # The end of a trial is what tells it from others before it is played.
        yield (
            '<video controls muted loop playsinline preload="none" '
            f'poster="data:image/jpeg;base64,{poster}" '
            f'src="data:video/mp4;base64,{source}"></video>'
        )
