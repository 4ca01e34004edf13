"""The driving video: camera views, the bird's-eye raster in colour, and every reward term."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robo.media.reward_video import write_reward_video
from robo.media.traces import RewardTrace
from robo.media.video import VideoError
from robo.rollout import Episode, Frames

if TYPE_CHECKING:
    from robo.rewards.base import Reward

RASTER = "birdseye"
"""Under which name the bird's-eye raster is shown among the views."""


def with_raster(episode: Episode) -> Episode:
    """The episode with its bird's-eye observations as one more view, in colour.

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
    colour = np.stack([birdseye_to_rgb(picture) for picture in raster])
    return replace(episode, frames={**episode.frames, RASTER: colour}, frame_step=steps)


def signal_trace(episode: Episode, reward: Reward, title: str = "") -> RewardTrace:
    """What a reward that reads signals said about a driving episode; progress is completion."""
    import torch

    from robo.rollout import FinalObservation, Rollout

    length = len(episode)
    ended = torch.zeros(length, 1, dtype=torch.bool)
    ended[-1] = True
    empty = torch.zeros(length, 1)
    rollout = Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, torch.tensor([length - 1]), torch.tensor([0])),
        action=torch.as_tensor(episode.action)[:, None],
        log_prob=empty,
        env_reward=torch.as_tensor(episode.reward)[:, None],
        terminated=ended & episode.terminated,
        truncated=ended & (not episode.terminated),
        success=ended & episode.success,
        episode=empty.long(),
        episodes={0: episode.info},
        signals={
            name: torch.as_tensor(np.asarray(values))[:, None]
            for name, values in episode.signals.items()
        },
        frames=_frames(episode, reward),
    )
    terms = reward(rollout)
    completion = np.asarray(episode.signals["route_completion"], np.float64) / 100
    return RewardTrace(
        total=terms.total[:, 0].numpy(),
        terms={name: term[:, 0].numpy() for name, term in terms.terms.items()},
        progress=np.concatenate([[0.0], completion]),
        success=bool(episode.success),
        title=title or f"{episode.info.task}: {type(reward).__name__}",
        progress_name="route completion",
    )


def _frames(episode: Episode, reward: Reward) -> Frames | None:
    """The frames that the reward looks at, as rows; None where it looks at none.

    Raises:
        VideoError: the episode holds no such view.
    """
    import torch

    if reward.camera is None:
        return None
    missing = [view for view in reward.camera.views if view not in episode.frames]
    if missing:
        raise VideoError(
            f"the reward looks at views {missing}, but the episode holds {sorted(episode.frames)}"
        )
    step = torch.as_tensor(np.asarray(episode.frame_step))
    zeros = torch.zeros_like(step)
    views = {
        view: torch.as_tensor(np.asarray(episode.frames[view])) for view in reward.camera.views
    }
    return Frames(views, step, zeros, zeros, step == len(episode))


def write_driving_video(
    path: str | Path,
    episode: Episode,
    reward: Reward,
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
        title: one line above the picture; empty names the task and the reward.
        fps: steps shown per second; a step is 0.1 s.
        width: in pixels.
        height: in pixels.

    Raises:
        VideoError: see :func:`with_raster`, or the file cannot be written.
    """
    trace = signal_trace(episode, reward, title)
    return write_reward_video(path, with_raster(episode), trace, fps, width, height)
