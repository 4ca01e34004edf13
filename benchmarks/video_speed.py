"""How long a reward video takes: 300 frames, three views, 1920x1080.

The views show a moving texture, which is harder to encode than a rendered scene. Every frame has
another picture in each view, three stacked terms, two curves, hops and events. The file is
decoded again, and where Chromium is installed it is played there too. Exits with 1 where it took
longer than claimed, lacks frames or does not play.

    python benchmarks/video_speed.py --out benchmarks/results/video_speed.json
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from _browser import Browser, missing
from _study import machine, one_thread, publish

from robo.media import Event, HopTrack, RewardScene, RewardTrace, read_video, write_scene
from robo.rollout import Episode, EpisodeInfo

LIMIT = 10.0
"""Seconds that the claim allows."""
ROLES = ("front", "side", "wrist", "left_wrist", "right_wrist")


@dataclass(frozen=True)
class Options:
    """Measure the reward video."""

    frames: int = 300
    """Of the video."""
    views: int = 3
    """Cameras, up to 5."""
    size: int = 256
    """Height and width of the camera frames, in pixels."""
    width: int = 1920
    """Of the video."""
    height: int = 1080
    """Of the video."""
    fps: float = 30.0
    """Of the video; what real time means."""
    repeats: int = 3
    """Videos; the median counts."""
    chromium: bool = True
    """Play the file in headless Chromium, where it is installed."""
    out: Path | None = None
    """JSON file to write."""


def example(options: Options) -> tuple[Episode, RewardTrace]:
    """An episode of ``frames`` states with a frame of each, and a trace with every kind of mark."""
    steps = options.frames - 1
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (options.size, options.size, 3)).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), noise, 0, 255, cv2.NORM_MINMAX)
    frames = np.stack([np.roll(texture, 3 * i, axis=1) for i in range(options.frames)])
    roles = ROLES[: options.views]
    episode = Episode(
        EpisodeInfo("mujoco/Lift", "put the red cube on the green one, then lift both"),
        {},
        np.zeros((steps, 4), np.float32),
        np.zeros(steps, np.float32),
        True,
        True,
        frames={role: np.roll(frames, 40 * i, axis=2) for i, role in enumerate(roles)},
        frame_step=np.arange(options.frames),
    )
    progress = np.clip(np.linspace(0, 1, steps + 1) + 0.02 * np.sin(np.arange(steps + 1)), 0, 1)
    terms = {
        "success": np.eye(1, steps, steps - 1)[0],
        "shaping": np.diff(progress),
        "action cost": -0.01 * generator.random(steps),
    }
    hop_step = np.arange(0, steps, 10)
    trace = RewardTrace(
        total=np.sum(list(terms.values()), axis=0),
        terms=terms,
        progress=progress,
        curves={"true progress": np.linspace(0, 1, steps + 1)},
        hops=HopTrack(hop_step, generator.normal(0.05, 0.1, len(hop_step))),
        events=[Event(steps // 3, "grasp", "keyframe"), Event(steps, "success", "success")],
        success=True,
    )
    return episode, trace


def plays(path: Path) -> bool | None:
    """Whether Chromium decodes the file to its end; None where it is not installed."""
    if missing():
        return None
    with Browser(1280, 720) as browser:
        browser.open(path.as_uri())
        return browser.run(
            "const video = document.querySelector('video'); video.muted = true;"
            # The file may still be opening: its duration is not known before.
            "if (video.readyState < 1) await new Promise((known) => {"
            " video.onloadedmetadata = known; video.onerror = known; setTimeout(known, 20000); });"
            "video.currentTime = video.duration - 0.2; await video.play();"
            "await new Promise((done) => { video.onended = done; setTimeout(done, 20000); });"
            "return video.ended && !video.error && video.videoWidth > 0;"
        )


def holds(seconds: float, lacking: int, played: bool | None) -> bool:
    """Whether a video was fast enough, whole, and played (None: where that was not tried)."""
    return seconds <= LIMIT and lacking <= 0 and played is not False


def main(options: Options) -> dict[str, Any]:
    """Write the video ``repeats`` times."""
    episode, trace = example(options)
    wall, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        for _ in range(options.repeats):
            start, used = time.perf_counter(), time.process_time()
            scene = RewardScene(episode, trace, options.width, options.height)
            shown = [float(step) for step in range(options.frames)]
            write_scene(path, scene, options.fps, shown)
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
        decoded = len(read_video(path)[0])
        size = path.stat().st_size
        played = plays(path) if options.chromium else None
    held = decoded - options.frames
    seconds = statistics.median(wall)
    return {
        "name": "video_speed",
        "frames": options.frames,
        "held_frames": held,
        "views": options.views,
        "size": [options.width, options.height],
        "seconds": round(seconds, 2),
        "seconds_range": [round(min(wall), 2), round(max(wall), 2)],
        "cpu_seconds": round(statistics.median(cpu), 2),
        "frames_per_second": round(decoded / seconds, 1),
        "times_real_time": round(decoded / options.fps / seconds, 2),
        "limit_seconds": LIMIT,
        "within_limit": holds(seconds, -held, played),
        "megabytes": round(size / 1e6, 2),
        "plays_in_chromium": played,
        "machine": machine(),
    }


if __name__ == "__main__":
    one_thread()
    chosen = tyro.cli(Options)
    measured = main(chosen)
    publish(measured, chosen.out)
    raise SystemExit(not measured["within_limit"])
