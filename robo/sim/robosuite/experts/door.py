"""Door: grip the handle, turn it down, and pull.

The hand takes the bar slantwise, from above and in front: straight from above it would hit the
panel. One finger then lies behind and above the bar, and can press it down as well as pull it. The
hand turns with the bar and follows the door's arc about the hinge; what it asks for is always a
bit further than where the door is.
"""

from __future__ import annotations

import numpy as np

from robo.sim.robosuite.experts.arm import CLOSED, OPEN, Arm, Pose, Script
from robo.sim.robosuite.experts.grasping import squeeze

LATCH = (-0.175, -0.10)
"""The handle's pivot in the door's frame (along the panel, off the panel), m."""
BAR = 0.125
"""From the pivot to the handle's site, m."""
GRIP = 0.10
"""From the pivot to where the hand takes the bar, m."""
HINGE = 0.255
"""From the middle of the panel to the hinge, m."""
TURNED = 1.35
"""Angle of the handle at which the latch is free, rad."""
SLANT = 0.8
"""Between the hand's direction and the plane of the door, rad."""
AHEAD_TURN, AHEAD_PULL = 0.5, 0.25
"""How far ahead of handle and hinge the hand is asked to be, rad."""


class DoorGeometry:
    """Frames of door and handle, from where door and handle are."""

    def __init__(self, arm: Arm) -> None:
        """Of the present state."""
        self.turn = float(arm["handle_qpos"][0])
        self.opened = float(arm["hinge_qpos"][0])
        self._middle = arm["door_pos"]
        seen = (arm["handle_pos"] - self._middle)[:2]
        own = np.array([LATCH[0] + BAR * np.cos(self.turn), LATCH[1]])
        self.yaw = float(np.arctan2(seen[1], seen[0]) - np.arctan2(own[1], own[0]))
        self._hinge = self._middle + self._horizontal(HINGE, 0.0, self.yaw)

    @staticmethod
    def _horizontal(along: float, off: float, yaw: float) -> np.ndarray:
        cosine, sine = np.cos(yaw), np.sin(yaw)
        return np.array([cosine * along - sine * off, sine * along + cosine * off, 0.0])

    def grip(self, turn: float, opening: float = 0.0) -> Pose:
        """The hand on the bar with the handle at ``turn``, the door ``opening`` further (rad)."""
        yaw = self.yaw + opening
        cosine, sine = np.cos(turn), np.sin(turn)
        middle = self._hinge - self._horizontal(HINGE, 0.0, yaw)
        pivot = middle + self._horizontal(*LATCH, yaw) + np.array([0.0, 0.0, -0.025])
        bar = self._horizontal(cosine, 0.0, yaw) - np.array([0.0, 0.0, sine])
        down = self._horizontal(-sine, 0.0, yaw) - np.array([0.0, 0.0, cosine])
        outward = self._horizontal(0.0, -1.0, yaw)
        approach = np.cos(SLANT) * down - np.sin(SLANT) * outward
        fingers = np.cos(SLANT) * outward + np.sin(SLANT) * down
        return Pose(pivot + GRIP * bar, fingers, approach)


def door(arm: Arm) -> Script:
    """One attempt at Door."""

    def on_bar() -> Pose:
        geometry = DoorGeometry(arm)
        return geometry.grip(geometry.turn)

    away = on_bar().backed(0.10)
    yield from arm.reach(away, OPEN, 0.015, limit=120)
    if not (yield from arm.reach(on_bar, OPEN, 0.012, turned=0.15, limit=60)):
        return
    arm.mark("grasp")
    yield from squeeze(arm, on_bar())
    arm.mark("turn")
    for _ in range(120):
        geometry = DoorGeometry(arm)
        if geometry.turn > TURNED:
            break
        yield arm.toward(geometry.grip(min(geometry.turn + AHEAD_TURN, 1.5)), CLOSED)
    else:
        yield from _let_go(arm)
        return
    arm.mark("pull")
    for _ in range(120):
        geometry = DoorGeometry(arm)
        if np.linalg.norm(geometry.grip(geometry.turn).position - arm.position) > 0.06:
            break  # slipped off
        yield arm.toward(geometry.grip(geometry.turn, AHEAD_PULL), CLOSED)
    yield from _let_go(arm)


def _let_go(arm: Arm) -> Script:
    yield from arm.hold(6, OPEN)
    yield from arm.reach(arm.here().backed(0.12), OPEN, 0.03, limit=40)
