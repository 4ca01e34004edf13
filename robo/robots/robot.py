"""What robo needs of a robot: the ``Robot`` protocol, its limits and its readings.

A driver translates; it decides nothing. Limits, watchdogs and motions to the home position are
those of :class:`robo.robots.safety.Envelope`, which alone calls :meth:`Robot.send`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo.errors import RoboError


class RobotError(RoboError):
    """A robot that cannot be reached, or that answered what no robot may."""


@dataclass(frozen=True)
class CommandSpace:
    """The numbers that one command holds: absolute targets, D of them, in physical units."""

    names: tuple[str, ...]
    """Name of each number, such as "tool_x" or "shoulder_pan"."""
    low: np.ndarray
    """``[D]`` smallest target."""
    high: np.ndarray
    """``[D]`` largest target."""
    step: np.ndarray
    """``[D]`` largest change from one command to the next."""
    speed: np.ndarray
    """``[D]`` largest change per second."""
    tracking: np.ndarray
    """``[D]`` how far the arm may stay behind its target before something is wrong."""
    units: tuple[str, ...] = ()
    """Of each number, for people: "m", "rad"."""
    tool: tuple[int, int, int] | None = None
    """Which numbers are the tool's x, y and z in metres; None for joint targets."""
    alone: tuple[int, ...] = ()
    """Numbers limited by themselves (grippers); the others share one scale, to keep direction."""

    def __post_init__(self) -> None:
        """Refuse limits of other lengths, that are not finite, or in the wrong order."""
        for name in ("low", "high", "step", "speed", "tracking"):
            limit = np.asarray(getattr(self, name), np.float64)
            if limit.shape != (len(self.names),) or not np.isfinite(limit).all():
                raise RobotError(
                    f"the limits {name} of {list(self.names)} are {limit.tolist()}, expected one "
                    "finite number for each: a robot without limits is not driven"
                )
            object.__setattr__(self, name, limit)
        if (self.low >= self.high).any() or min(self.step.min(), self.speed.min()) <= 0:
            raise RobotError(
                f"limits of {list(self.names)} must have low < high and steps and speeds above 0"
            )

    def __len__(self) -> int:
        """D."""
        return len(self.names)


@dataclass(frozen=True)
class Capabilities:
    """What a robot is, known after ``connect``."""

    name: str
    """Make and model, for the record."""
    command: CommandSpace
    """What it is told."""
    home: np.ndarray
    """``[D]`` a safe command, where trials begin."""
    views: Mapping[str, tuple[int, int]]
    """Camera role to (height, width) in pixels."""
    rate: float = 20.0
    """Commands per second that it is made for."""
    joint_low: np.ndarray | None = None
    """``[J]`` smallest measured joint position, rad; None where joints are not measured."""
    joint_high: np.ndarray | None = None
    """``[J]`` largest one, rad."""
    joint_speed: np.ndarray | None = None
    """``[J]`` largest speed, rad/s."""
    box_low: np.ndarray | None = None
    """``[3]`` corner of the box that the tool must not leave, m; None without a tool position."""
    box_high: np.ndarray | None = None
    """``[3]`` the opposite corner, m."""
    tool_speed: float | None = None
    """Largest speed of the tool, m/s."""
    force: float | None = None
    """Largest force at the tool, N; None without a sensor."""
    forward: Callable[[np.ndarray], np.ndarray] | None = None
    """Joint targets ``[D]`` to the tool's position ``[3]``, so that the box binds them too."""


@dataclass(frozen=True)
class View:
    """One camera frame."""

    image: np.ndarray
    """uint8 ``[H, W, 3]``, RGB."""
    time: float
    """When it was taken, seconds of the robot's clock."""


@dataclass(frozen=True)
class Reading:
    """What the robot measured."""

    time: float
    """When ``position`` and ``state`` were measured, seconds of the robot's clock."""
    position: np.ndarray
    """``[D]`` where the arm stands, in the units of a command."""
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Named vectors: "joints" ``[J]`` (rad), "tool" ``[3]`` (m) and "force" ``[1]`` (N) are
    watched where they are there; whatever the policies read, such as "state"."""
    views: Mapping[str, View] = field(default_factory=dict)
    """Camera role to its newest frame."""


@runtime_checkable
class Robot(Protocol):
    """An arm with cameras.

    All times are those of ``robo.robots.clock.WallClock`` (``time.monotonic``). Any method may
    raise an exception: the envelope then holds or stops the arm.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Limits, views and home position; complete after :meth:`connect`."""
        ...

    def connect(self) -> None:
        """Open the connection; the arm must not move."""
        ...

    def read(self) -> Reading:
        """The newest state and frames, each with the time at which it was taken."""
        ...

    def send(self, command: np.ndarray) -> None:
        """Move towards the absolute targets ``[D]`` and return at once.

        Only the envelope calls this, with commands inside every limit.
        """
        ...

    def hold(self) -> None:
        """Stay where the arm is, powered. Another thread may call this during ``read``."""
        ...

    def stop(self) -> None:
        """End all motion now; only ``connect`` makes it move again. From any thread, any time."""
        ...

    def close(self) -> None:
        """Leave the arm safe and close the connection; may be called twice."""
        ...


@runtime_checkable
class SceneControl(Protocol):
    """What a robot also offers where it can arrange its own scene: a simulator, or a reset rig."""

    instruction: str
    """The task in words."""

    def prepare(self, initial_state: int) -> None:
        """Arrange the scene of ``initial_state``, arm at home; the same number, the same scene."""
        ...

    def wanted_views(self, initial_state: int) -> dict[str, np.ndarray]:
        """Camera role to uint8 ``[H, W, 3]``: how the scene should look."""
        ...

    def solved(self) -> bool:
        """Whether the task is solved now."""
        ...

    def signals(self) -> dict[str, float]:
        """Named numbers about the scene now."""
        ...


def describe(capabilities: Capabilities) -> dict[str, Any]:
    """Capabilities as JSON values, for the record."""
    space = capabilities.command
    return {
        "name": capabilities.name,
        "rate": capabilities.rate,
        "views": {role: list(size) for role, size in capabilities.views.items()},
        "home": capabilities.home.tolist(),
        "command": [
            {
                "name": name,
                "low": float(space.low[i]),
                "high": float(space.high[i]),
                "step": float(space.step[i]),
                "speed": float(space.speed[i]),
                "unit": space.units[i] if space.units else "",
            }
            for i, name in enumerate(space.names)
        ],
        "box": None
        if capabilities.box_low is None or capabilities.box_high is None
        else [capabilities.box_low.tolist(), capabilities.box_high.tolist()],
        "tool_speed": capabilities.tool_speed,
        "force": capabilities.force,
    }
