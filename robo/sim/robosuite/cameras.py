"""Camera roles of robo, and the cameras of robosuite's scenes that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robo.errors import RoboError
from robo.rollout import CAMERA_ROLES


@dataclass(frozen=True)
class FreeView:
    """A fixed view of the world for scenes that have no camera of that role."""

    lookat: tuple[float, float, float]
    """Point in the image's centre, m."""
    distance: float
    """From that point to the camera, m."""
    azimuth: float
    """Direction of sight about the vertical, degrees; 0 looks along +x."""
    elevation: float
    """Direction of sight above the horizontal, degrees; negative looks down."""


Camera = str | FreeView

ROLES: dict[str, Camera] = {
    "front": "agentview",
    "side": "sideview",
    "wrist": "robot0_eye_in_hand",
    "bird": "birdview",
}
"""Role to camera name in robosuite's own scenes."""

TASK_VIEWS: dict[str, dict[str, Camera]] = {
    "Door": {"front": FreeView((-0.2, -0.25, 1.05), 1.3, -155.0, -22.0)},
    "PickPlace": {"side": FreeView((0.1, 0.0, 0.85), 1.5, -90.0, -35.0)},
}
"""Task family to the roles that differ from :data:`ROLES`.

Door's ``agentview`` looks at the robot's foot, the door at its edge; the bins have no ``sideview``.
"""


def roles_of(model: Any, wanted: Mapping[str, Camera]) -> dict[str, Camera]:
    """Those of ``wanted`` whose camera ``model`` has.

    Args:
        model: ``mujoco.MjModel``.
        wanted: role to camera.
    """
    names = set(camera_names(model))
    return {
        role: camera
        for role, camera in wanted.items()
        if isinstance(camera, FreeView) or camera in names
    }


def camera_names(model: Any) -> list[str]:
    """Names of all cameras of ``model``."""
    return [model.camera(index).name for index in range(model.ncam)]


def with_extra(
    task: str, model: Any, roles: Mapping[str, Camera], extra: Mapping[str, str]
) -> dict[str, Camera]:
    """``roles`` with the caller's own choice of cameras.

    Args:
        task: id for the sentence of an error.
        model: ``mujoco.MjModel``.
        roles: role to camera.
        extra: role to the name of any camera of the scene.

    Raises:
        RoboError: an unknown role or camera.
    """
    names = camera_names(model)
    for role, camera in extra.items():
        if role not in CAMERA_ROLES:
            raise RoboError(f"camera role {role!r} does not exist; expected one of {CAMERA_ROLES}")
        if camera not in names:
            raise RoboError(f"{task} has no camera {camera!r}; its scene has {names}")
    merged = {**roles, **extra}
    return {role: merged[role] for role in CAMERA_ROLES if role in merged}
