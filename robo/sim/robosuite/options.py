"""Options of robosuite's environments; LIBERO's share those of the views."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from robo.errors import RoboError
from robo.rollout import CAMERA_ROLES
from robo.sim.mujoco.rendering import PROFILES, Profile

Segmentation = Literal["none", "instance", "class", "element"]
SuccessRule = Literal["robosuite", "strict"]
Options = TypeVar("Options")


@dataclass(frozen=True)
class ViewOptions:
    """How cameras are rendered."""

    profile: Profile = "fast"
    """``faithful``: as robosuite renders; ``fast``: 3 to 7 times the frames on a CPU."""
    observation_views: tuple[str, ...] = ()
    """Camera roles that the policy reads as ``views/<role>``, rendered at every step; on command
    lines with commas, ``front,wrist``."""
    view_height: int = 84
    """Height of the policy's views in pixels."""
    view_width: int = 84
    """Width of the policy's views in pixels."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Role to the name of any camera of the scene, ``{"left": "frontview"}``, beside the usual."""
    depth: bool = False
    """Also give ``info["depth"]`` with each frame: role to float32 ``[H, W]`` in m. Frames of
    vector environments carry colours only."""
    segmentation: Segmentation = "none"
    """Also give ``info["segmentation"]`` with each frame: role to int32 ``[H, W]``, ids of geoms
    (``element``) or indices into ``segment_names`` (``instance``, ``class``); -1 is nothing."""
    render_mode: str | None = None
    """``rgb_array``: ``render()`` returns the front view."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.profile not in PROFILES:
            raise RoboError(
                f"unknown rendering profile {self.profile!r}; expected one of {PROFILES}"
            )
        if self.segmentation not in get_args(Segmentation):
            raise RoboError(
                f"unknown segmentation {self.segmentation!r}; expected one of "
                f"{get_args(Segmentation)}"
            )
        views: Any = self.observation_views
        if isinstance(views, str):
            views = [role.strip() for role in views.split(",") if role.strip()]
        object.__setattr__(self, "observation_views", tuple(views))
        unknown = [role for role in self.observation_views if role not in CAMERA_ROLES]
        if unknown:
            raise RoboError(f"observation_views {unknown} are not among {CAMERA_ROLES}")
        if min(self.view_height, self.view_width) < 1:
            raise RoboError(
                f"views of {self.view_height} x {self.view_width} pixels cannot be rendered; "
                "give a height and a width of at least 1"
            )


@dataclass(frozen=True)
class RobosuiteOptions(ViewOptions):
    """What a ``robosuite/<Task>`` environment can be asked for."""

    robot: str = "Panda"
    """robosuite's name of the arm: Panda, Sawyer, IIWA, Jaco, Kinova3, UR5e."""
    controller: str = "OSC_POSE"
    """robosuite's name of the arm's controller; OSC_POSE takes 6 numbers, and 1 for the gripper."""
    control_frequency: int = 20
    """Control steps per simulated second."""
    horizon: int | None = None
    """Time limit in control steps; by default the task's (see :mod:`robo.sim.robosuite.tasks`)."""
    success: SuccessRule = "robosuite"
    """``robosuite``: as its ``_check_success``; ``strict``: without its known wrong cases."""
    dense_reward: bool = False
    """robosuite's own shaped reward in place of 1 on success, 0 otherwise."""
    hard_reset: bool = False
    """Compile the model anew at each reset (0.5 s rather than 0.03 s). Only then does Lift draw
    another size of cube (20 to 22 mm) per episode; all else is drawn in either case."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        if self.success not in get_args(SuccessRule):
            raise RoboError(
                f"unknown success rule {self.success!r}; expected one of {get_args(SuccessRule)}"
            )
        if self.control_frequency < 1 or (self.horizon is not None and self.horizon < 1):
            raise RoboError(
                f"control_frequency {self.control_frequency} and horizon {self.horizon} must each "
                "be at least 1"
            )


def checked_options(id: str, kind: type[Options], options: dict[str, Any]) -> Options:
    """``kind(**options)``.

    Raises:
        RoboError: an option that it does not have, or a value that cannot work.
    """
    known = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise RoboError(f"{id} has no option {', '.join(unknown)}; expected some of {known}")
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:  # such as a word where a number belongs
        raise RoboError(
            f"{id} cannot be made with {options} ({error}); give each option a value of its kind, "
            f"see {kind.__module__}"
        ) from error
