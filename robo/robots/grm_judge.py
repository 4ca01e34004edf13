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
    """Scores trials with a fitted GRM of any kind; frames are brought to its size.

    A model that somebody serves (``robo fit grm --backbone http``) leaves the robot's machine free.
    """

    def __init__(self, folder: Path, capabilities: Capabilities) -> None:
        """Load it.

        Raises:
            RoboError: where it cannot be read, or looks at views that the robot has not.
        """
        from robo.rewards.grm.folder import load_model
        from robo.rewards.grm.potential import make_scorer

        self.grm = load_model(folder)
        asked = make_scorer(self.grm, "backward", "cpu", 1)
        self.views, self.size = asked.views, asked.size
        missing = [view for view in self.views if view not in capabilities.views]
        if missing:
            raise RobotError(
                f"the GRM in {folder} looks at views {missing}, but {capabilities.name} has "
                f"{list(capabilities.views)}: add the cameras (--simulated.views), or use another "
                "GRM"
            )

    def score(self, episode: Episode) -> dict[str, Any]:
        """What the model says of a trial.

        Returns:
            ``progress`` at the end, the curve ``progress_curve`` at ``progress_steps``, and
            ``progress_invalid``, the number of frames whose answer was invalid (progress held).
        """
        from robo.rewards.grm.score import score_episode

        frames = {
            view: np.stack([fitted(image, *self.size) for image in episode.frames[view]])
            for view in self.views
        }
        found = score_episode(self.grm, dataclasses.replace(episode, frames=frames))
        return {
            "progress": found.final,
            "progress_curve": [round(float(p), 4) for p in found.progress],
            "progress_steps": found.frame_step.tolist(),
            "progress_invalid": found.invalid,
        }
