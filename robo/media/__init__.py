"""What people look at: reward videos of any reward on any episode."""

from __future__ import annotations

from robo.media.events import Event, HopTrack
from robo.media.reward_video import RewardScene, write_reward_video
from robo.media.side_by_side import SideBySide
from robo.media.stored import grm_hops, score_episodes
from robo.media.traces import RewardTrace, shaped_trace
from robo.media.video import VideoError, VideoWriter, read_video
from robo.media.writing import write_scene

__all__ = [
    "Event",
    "HopTrack",
    "RewardScene",
    "RewardTrace",
    "SideBySide",
    "VideoError",
    "VideoWriter",
    "grm_hops",
    "read_video",
    "score_episodes",
    "shaped_trace",
    "write_reward_video",
    "write_scene",
]
