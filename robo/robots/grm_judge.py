"""A GRM beside the operator: progress of a trial from its frames, after it was judged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from robo.robots.ghost import fitted
from robo.robots.robot import Capabilities, RobotError
from robo.rollout import Episode


class GRMJudge:
    """Scores trials with a fitted GRM; frames are brought to its size."""

    def __init__(self, folder: Path, capabilities: Capabilities) -> None:
        """Load it.

        Raises:
            RoboError: where it cannot be read, or looks at views that the robot has not.
        """
        from robo.rewards.grm.compact import CompactGRM

        self.grm = CompactGRM.load(folder)
        missing = [view for view in self.grm.config.views if view not in capabilities.views]
        if missing:
            raise RobotError(
                f"the GRM in {folder} looks at views {missing}, but {capabilities.name} has "
                f"{list(capabilities.views)}: add the cameras (--simulated.views), or use another "
                "GRM"
            )

    def score(self, episode: Episode) -> dict[str, Any]:
        """``progress`` at the end, and the curve: ``progress_curve`` at ``progress_steps``."""
        from robo.rewards.grm.score import score_episode

        height, width = self.grm.config.height, self.grm.config.width
        frames = {
            view: np.stack([fitted(image, height, width) for image in episode.frames[view]])
            for view in self.grm.config.views
        }
        found = score_episode(self.grm, dataclasses.replace(episode, frames=frames))
        return {
            "progress": found.final,
            "progress_curve": [round(float(p), 4) for p in found.progress],
            "progress_steps": found.frame_step.tolist(),
        }
