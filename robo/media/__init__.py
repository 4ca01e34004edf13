"""What people look at: reward videos."""

from __future__ import annotations

from robo.media.reward_video import RewardScene, write_reward_video
from robo.media.traces import RewardTrace, shaped_trace
from robo.media.video import VideoError, VideoWriter, read_video

__all__ = [
    "RewardScene",
    "RewardTrace",
    "VideoError",
    "VideoWriter",
    "read_video",
    "shaped_trace",
    "write_reward_video",
]
