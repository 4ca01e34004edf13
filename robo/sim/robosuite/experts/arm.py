"""One arm under OSC_POSE as a script sees it: what it senses, and motions that end.

A script is a generator: it yields one action per control step and reads the new state from the
arm when it goes on. Motions are generators too, so that a script reads like a plan::

    yield from arm.reach(above, OPEN)
    yield from arm.reach(at, OPEN)
    yield from arm.hold(6, CLOSED)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

OPEN, CLOSED = -1.0, 1.0
"""Commands to the gripper."""
STEP = 0.05
"""Translation that an action of 1 asks of OSC_POSE, m."""
TURN = 0.5
"""Rotation that an action of 1 asks of OSC_POSE, rad."""
GAIN = 1.5
"""Asked translation over the distance that is left: OSC_POSE with its 150 / s^2 of stiffness is
critically damped at 1."""
WIDEST = 0.08
"""Between the Panda's open fingers, m."""
DOWN = np.array([0.0, 0.0, -1.0])

Motion = Generator[np.ndarray, None, bool]
"""Yields actions ``[7]``, float in [-1, 1]; returns whether it came where it should."""
Script = Generator[np.ndarray, None, None]


@dataclass(frozen=True)
class Pose:
    """Where the point between the fingertips should be, and how the hand should be turned."""

    position: np.ndarray
    """``[3]``, m, in the world."""
    fingers: np.ndarray
    """``[3]``, direction along which the fingers open; its sign does not matter."""
    approach: np.ndarray = field(default_factory=DOWN.copy)
    """``[3]``, direction that the hand points in."""

    def moved(self, offset: np.ndarray | tuple[float, float, float]) -> Pose:
        """The same hand at ``position + offset``."""
        return replace(self, position=self.position + np.asarray(offset))

    def backed(self, distance: float) -> Pose:
        """The same hand, ``distance`` (m) back from where it points."""
        return self.moved(-distance * self.approach)


def yaw_pose(position: np.ndarray, yaw: float) -> Pose:
    """A hand that points down, its fingers opening along ``yaw`` (rad, about the vertical)."""
    return Pose(np.asarray(position, float), np.array([np.cos(yaw), np.sin(yaw), 0.0]))


class Arm:
    """What one environment's expert knows of its arm and scene, read from its state vector.

    Attributes:
        marks: name of a keyframe to the step at which it was reached.
        steps: control steps since the episode began.
    """

    def __init__(self, layout: Mapping[str, slice]) -> None:
        """``layout``: name to slice of the state, as an environment's ``state_layout``."""
        self._layout = layout
        self.marks: dict[str, int] = {}
        self.steps = 0

    def sense(self, state: np.ndarray) -> None:
        """Take in the present state, float ``[S]``."""
        self._state = np.asarray(state, np.float64)

    def __getitem__(self, name: str) -> np.ndarray:
        """The observable ``name``, as robosuite calls it."""
        return self._state[self._layout[name]]

    @property
    def position(self) -> np.ndarray:
        """``[3]``, the point between the fingertips, m."""
        return self["robot0_eef_pos"]

    @property
    def rotation(self) -> Rotation:
        """Of the hand: its y along the fingers' opening, its z where it points."""
        return Rotation.from_quat(self["robot0_eef_quat"])

    @property
    def opening(self) -> float:
        """Between the fingers, m."""
        left, right = self["robot0_gripper_qpos"]
        return float(left - right)

    def orientation(self, name: str) -> Rotation:
        """Of the object ``name``."""
        return Rotation.from_quat(self[f"{name}_quat"])

    def mark(self, name: str) -> None:
        """The keyframe ``name`` is now; an earlier one of that name is void."""
        self.marks.pop(name, None)  # the order is that of time
        self.marks[name] = self.steps

    def errors(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Translation (m) and rotation vector (rad), world frame, from here to ``pose``."""
        toward = pose.approach / np.linalg.norm(pose.approach)
        fingers = pose.fingers - (pose.fingers @ toward) * toward
        fingers /= np.linalg.norm(fingers)
        present = self.rotation
        if fingers @ present.as_matrix()[:, 1] < 0:  # the hand is the same turned by half
            fingers = -fingers
        wanted = np.stack([np.cross(fingers, toward), fingers, toward], axis=1)
        turn = (Rotation.from_matrix(wanted) * present.inv()).as_rotvec()
        return pose.position - self.position, turn

    def toward(self, pose: Pose, gripper: float, speed: float = 1.0) -> np.ndarray:
        """The action ``[7]`` that goes to ``pose``; ``speed`` bounds its length."""
        distance, turn = self.errors(pose)
        action = np.empty(7)
        action[:3] = _bounded(GAIN * distance / STEP, speed)
        action[3:6] = _bounded(GAIN * turn / TURN, 0.5)
        action[6] = gripper
        return action

    def reach(
        self,
        pose: Callable[[], Pose] | Pose,
        gripper: float,
        within: float = 0.008,
        turned: float = 0.08,
        limit: int = 80,
        speed: float = 1.0,
    ) -> Motion:
        """Go to ``pose``, asked anew at each step where it is a function.

        Args:
            pose: where to.
            gripper: command on the way.
            within: distance that counts as there, m.
            turned: angle that counts as there, rad.
            limit: steps after which the motion gives up.
            speed: largest action, 0 to 1.

        Returns:
            Whether it came there.
        """
        for _ in range(limit):
            wanted = pose() if callable(pose) else pose
            distance, turn = self.errors(wanted)
            if np.linalg.norm(distance) < within and np.linalg.norm(turn) < turned:
                return True
            yield self.toward(wanted, gripper, speed)
        return False

    def hold(self, steps: int, gripper: float, pose: Pose | None = None) -> Motion:
        """Stay for ``steps`` steps, at ``pose`` or where it is: fingers close or open."""
        fixed = pose or self.here()
        for _ in range(steps):
            yield self.toward(fixed, gripper)
        return True

    def here(self) -> Pose:
        """The present pose."""
        matrix = self.rotation.as_matrix()
        return Pose(self.position.copy(), matrix[:, 1], matrix[:, 2])


def _bounded(vector: np.ndarray, length: float) -> np.ndarray:
    """``vector`` shortened to ``length``, so that its direction stays."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))


def nearest_yaw(yaw: float, near: float, symmetry: float) -> float:
    """The angle nearest to ``near`` that equals ``yaw`` up to multiples of ``symmetry`` (rad)."""
    return yaw + symmetry * float(np.round((near - yaw) / symmetry))


def yaw_of(rotation: Any) -> float:
    """Angle of the x axis about the vertical, rad."""
    axis = rotation.as_matrix()[:, 0]
    return float(np.arctan2(axis[1], axis[0]))


def finger_yaw(arm: Arm) -> float:
    """Direction of the fingers' opening about the vertical, rad."""
    axis = arm.rotation.as_matrix()[:, 1]
    return float(np.arctan2(axis[1], axis[0]))
