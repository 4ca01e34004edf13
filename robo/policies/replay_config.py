"""What a replay renders: options alone, so that ``robo data replay --help`` loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo.rollout import CameraSchedule


@dataclass(frozen=True)
class ReplayConfig:
    """What to render."""

    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles to render."""
    size: int = 128
    """Image height and width in pixels."""
    stride: int = 1
    """Steps between two frames."""
    profile: Literal["fast", "faithful"] | None = None
    """Rendering profile; that of the recording by default, or fast."""
    task: str = ""
    """Task whose scene is shown; that of the episode by default. LIBERO's HDF5 files need it:
    libero/libero_goal/3."""

    @property
    def camera(self) -> CameraSchedule:
        """As a schedule."""
        return CameraSchedule(self.views, self.size, self.size, self.stride)
