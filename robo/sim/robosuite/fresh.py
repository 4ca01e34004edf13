"""Soft resets that leave nothing behind.

robosuite compiles the model anew at each reset ("hard"), which takes 0.3 to 2 s. Without that it
only resets MuJoCo's data, and what an episode changed elsewhere stays: the gripper goes on from
its last command, the robot keeps its last torques, wiped dirt stays transparent. Here those are
put back, so that an episode does not depend on the ones before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MODEL_FIELDS = (
    "body_pos",
    "body_quat",
    "geom_pos",
    "geom_quat",
    "geom_size",
    "geom_rgba",
    "geom_friction",
    "site_pos",
    "site_rgba",
    "mat_rgba",
)


def grippers_of(raw: Any) -> dict[str, Any]:
    """Path to gripper model, in robosuite 1.4 (one per robot) and 1.5 (one per arm)."""
    grippers: dict[str, Any] = {}
    for index, robot in enumerate(raw.robots):
        own = getattr(robot, "gripper", None)
        named = own if isinstance(own, dict) else {"gripper": own}
        grippers |= {
            f"robots/{index}/{name}": gripper
            for name, gripper in named.items()
            if hasattr(gripper, "current_action")
        }
    return grippers


class Pristine:
    """What a soft reset has to put back, remembered from a model that was never used."""

    def __init__(self, raw: Any) -> None:
        """Remember the present model of ``raw``."""
        self._model = raw.sim.model._model
        self._fields = {name: getattr(self._model, name).copy() for name in _MODEL_FIELDS}
        self._grippers = {
            path: np.array(gripper.current_action) for path, gripper in grippers_of(raw).items()
        }

    def restore(self, raw: Any) -> None:
        """Put the model of ``raw`` and its grippers back, before a reset.

        After a hard reset the model is another, and this does nothing to it.
        """
        if raw.sim.model._model is self._model:
            for name, value in self._fields.items():
                getattr(self._model, name)[...] = value
        for path, gripper in grippers_of(raw).items():
            gripper.current_action = self._grippers[path].copy()
        for robot in raw.robots:
            robot.torques = None
