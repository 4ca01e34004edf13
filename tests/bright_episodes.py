"""Episodes whose frames show their progress as brightness, and rewards that read it there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robo.rewards.holding import PotentialCarry, PotentialTrack, hold
from robo.rollout import CameraSchedule, Episode, EpisodeInfo, Rollout

SIZE = 8


def episode(
    progress: Any,
    success: bool = False,
    *,
    stride: int = 1,
    instruction: str = "lift the cube",
    views: tuple[str, ...] = ("front", "side"),
    actor: str = "policy",
    **signals: Any,
) -> Episode:
    """An episode through the given progress of s_0 ... s_L."""
    progress = np.asarray(progress, np.float64)
    length = len(progress) - 1
    step = np.unique(np.append(np.arange(0, length + 1, stride), length))
    image = np.round(255 * progress[step]).astype(np.uint8)[:, None, None, None]
    return Episode(
        info=EpisodeInfo(task=f"test/{instruction}", instruction=instruction, seed=0),
        observation={"state": progress[:, None].astype(np.float32)},
        action=np.zeros((length, 2), np.float32),
        reward=progress[1:].astype(np.float32),
        success=success,
        terminated=success,
        signals={
            "progress": progress[1:].astype(np.float32),
            **{name: np.asarray(value, np.float32) for name, value in signals.items()},
        },
        frames={view: np.broadcast_to(image, (len(step), SIZE, SIZE, 3)).copy() for view in views},
        frame_step=step,
        metadata={"actor": actor},
    )


class Brightness:
    """Potential: the mean brightness of a view (of all, on average)."""

    signals: tuple[str, ...] = ()

    def __init__(self, views: tuple[str, ...] = ("front", "side"), stride: int = 1) -> None:
        self.camera: CameraSchedule | None = CameraSchedule(views, SIZE, SIZE, stride)
        self.stride = stride
        self._carry: PotentialCarry | None = None

    def __call__(self, rollout: Rollout) -> PotentialTrack:
        assert rollout.frames is not None
        views = torch.stack([x.double().mean((1, 2, 3)) for x in rollout.frames.views.values()])
        track, self._carry = hold(rollout, views.mean(0) / 255, self._carry)
        return track

    def state_dict(self) -> dict[str, Any]:
        return {} if self._carry is None else dict(self._carry.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._carry = PotentialCarry.from_state_dict(state) if state else None


@pytest.fixture
def make_episode():
    return episode


@pytest.fixture
def brightness():
    return Brightness
