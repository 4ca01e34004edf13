"""Gymnasium's Reacher-v5 and Pusher-v5: arms that bring something to a goal."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.native_gym.dynamics import row_norms
from robo.sim.native_gym.physics import Physics


class Arm(Physics):
    """An arm whose bodies' positions make the reward; never terminates."""

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """See :class:`~robo.sim.native_gym.physics.Physics`."""
        super().__init__(core, num_envs, threads)
        self._xpos = self.batch.bind("xpos")
        self._alive = np.zeros(num_envs, np.bool_)

    def body(self, name: str) -> np.ndarray:
        """Positions of a body, ``[N, 3]``."""
        return self._xpos[:, self.core.model.body(name).id]

    def control_reward(self, actions: np.ndarray) -> np.ndarray:
        """Minus the weighted squared action, float32 ``[N]`` as in gymnasium."""
        return -np.square(actions).sum(axis=1) * self.core._reward_control_weight


class Reacher(Arm):
    """Two joints; the fingertip goes to the target."""

    def observe(self) -> np.ndarray:
        """Cosines, sines, target, velocities, fingertip minus target in x and y, ``[N, 10]``."""
        angles = np.ascontiguousarray(self.qpos[:, :2])
        offset = self.body("fingertip") - self.body("target")
        parts = [np.cos(angles), np.sin(angles), self.qpos[:, 2:], self.qvel[:, :2], offset[:, :2]]
        return np.concatenate(parts, axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus distance and control cost."""
        offset = self.body("fingertip") - self.body("target")
        distance = -row_norms(offset) * self.core._reward_dist_weight
        return distance + self.control_reward(actions), self._alive


class Pusher(Arm):
    """Seven joints; the arm pushes a cylinder to the goal."""

    def observe(self) -> np.ndarray:
        """Joints, velocities, hand, cylinder and goal, ``[N, 23]``."""
        bodies = [self.body(name) for name in ("tips_arm", "object", "goal")]
        return np.concatenate([self.qpos[:, :7], self.qvel[:, :7], *bodies], axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the distances hand to cylinder and cylinder to goal, and the control cost."""
        core, cylinder = self.core, self.body("object")
        near = -row_norms(cylinder - self.body("tips_arm")) * core._reward_near_weight
        distance = -row_norms(cylinder - self.body("goal")) * core._reward_dist_weight
        return distance + self.control_reward(actions) + near, self._alive
