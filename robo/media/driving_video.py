"""The driving video: camera views, the bird's-eye raster in colour, and every reward term."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robo.media.reward_video import write_reward_video
from robo.media.stored import score_episodes
from robo.media.traces import RewardTrace
from robo.media.video import VideoError
from robo.rollout import Episode

if TYPE_CHECKING:
    from robo.rewards.base import Reward

RASTER = "birdseye"
"""Under which name the bird's-eye raster is shown among the views."""


def with_raster(episode: Episode, pixels_per_metre: float, metres_behind: float) -> Episode:
    """The episode with its bird's-eye observations as one more view, in colour.

    Args:
        episode: with bird's-eye observations.
        pixels_per_metre: their scale, which the picture itself does not tell.
        metres_behind: how far they reach behind the car.

    Raises:
        VideoError: no such observations, or camera frames of other steps than every one.
    """
    from robo.sim.carla.birdseye_picture import birdseye_to_rgb

    raster = episode.observation.get("birdseye")
    if raster is None:
        raise VideoError(
            f"the episode of {episode.info.task} holds no birdseye observations; record it with "
            "observations kept"
        )
    steps = np.arange(len(episode) + 1)
    if episode.frames and not np.array_equal(episode.frame_step, steps):
        raise VideoError("driving videos need a camera frame of every step: record with stride 1")
    colour = np.stack(
        [birdseye_to_rgb(picture, pixels_per_metre, metres_behind) for picture in raster]
    )
    return replace(episode, frames={**episode.frames, RASTER: colour}, frame_step=steps)


def signal_trace(episode: Episode, reward: Reward, title: str = "") -> RewardTrace:
    """What a reward that reads signals said about a driving episode; progress is completion."""
    name = title or f"{episode.info.task}: {type(reward).__name__}"
    return score_episodes([episode], reward, name)[0]


def write_driving_video(
    path: str | Path,
    episode: Episode,
    reward: Reward,
    pixels_per_metre: float,
    metres_behind: float,
    title: str = "",
    fps: float = 20.0,
    width: int = 1600,
    height: int = 900,
) -> Path:
    """Write the video of one driven route; 20 frames a second is twice real time.

    Args:
        path: of the mp4 file; it appears when it is complete.
        episode: with observations, and camera frames of every step.
        reward: whose terms are drawn; it reads signals only.
        pixels_per_metre: scale of the bird's-eye observations.
        metres_behind: how far they reach behind the car.
        title: one line above the picture; empty names the task and the reward.
        fps: steps shown per second; a step is 0.1 s.
        width: in pixels.
        height: in pixels.

    Raises:
        VideoError: see :func:`with_raster`, or the file cannot be written.
    """
    trace = signal_trace(episode, reward, title)
    shown = with_raster(episode, pixels_per_metre, metres_behind)
    return write_reward_video(path, shown, trace, fps, width, height)
