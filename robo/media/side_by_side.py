"""Several reward videos beside each other in step: two policies, or two rewards on one episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo.media import theme
from robo.media.reward_video import RewardScene
from robo.media.traces import RewardTrace
from robo.media.video import VideoError
from robo.rollout import Episode


class SideBySide:
    """Columns that show the same step of each; one that has ended holds its last picture."""

    def __init__(
        self,
        pairs: Sequence[tuple[Episode, RewardTrace]],
        width: int = 1920,
        height: int = 1080,
    ) -> None:
        """Lay the columns out.

        Raises:
            VideoError: nothing to show, columns too narrow, or see :class:`RewardScene`.
        """
        if not pairs:
            raise VideoError("a video needs at least one episode and reward to show")
        edges = np.linspace(0, width, len(pairs) + 1).round().astype(int)
        self.edges = edges.tolist()
        self.size = (width, height)
        self.scenes = [
            RewardScene(episode, trace, right - left, height)
            for (episode, trace), left, right in zip(
                pairs, self.edges[:-1], self.edges[1:], strict=True
            )
        ]
        self.steps = max(scene.steps for scene in self.scenes)
        self.events = sorted({event.step for scene in self.scenes for event in scene.trace.events})

    def picture(self, step: float, out: np.ndarray | None = None) -> np.ndarray:
        """All columns at state ``step``: uint8 ``[height, width, 3]``; see RewardScene.picture."""
        frame = np.empty((self.size[1], self.size[0], 3), np.uint8) if out is None else out
        for scene, left, right in zip(self.scenes, self.edges[:-1], self.edges[1:], strict=True):
            if right - left == self.size[0]:
                return scene.picture(step, frame)
            frame[:, left:right] = scene.picture(step)
            if left:
                frame[:, left - 1 : left + 1] = theme.GRID
        return frame
