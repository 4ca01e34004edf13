"""What counts as success and as progress in ``robosuite-batch/Lift``."""

from __future__ import annotations

import numpy as np

from robo.sim.mujoco.tasks import Lift, Scene
from robo.sim.robosuite_batch.scene import LiftScene

HORIZON = 80
"""Time limit in control steps (4 s); a clean script needs about 30."""
MARGIN = 0.04
"""Height of the cube's centre above the table at which robosuite calls it lifted, m."""


class LiftRules(Lift):
    """robosuite's success; the progress of ``mujoco/Lift`` in this scene."""

    instruction = "lift the red cube off the table"

    def __init__(self, scene: LiftScene, horizon: int = HORIZON) -> None:
        """Rules for ``scene`` with a time limit of ``horizon`` control steps."""
        self.horizon = horizon
        self.goal_height = scene.table + MARGIN
        self.rest_height = scene.table + scene.half_cube
        self.lift_height = MARGIN - scene.half_cube

    def success(self, scene: Scene) -> np.ndarray:
        """Cube centre 4 cm above the table (robosuite's rule), bool ``[K]``."""
        return scene.cube[:, 2] > self.goal_height
