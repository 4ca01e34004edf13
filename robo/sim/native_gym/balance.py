"""Gymnasium's InvertedPendulum-v5 and InvertedDoublePendulum-v5: a cart that balances poles."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.native_gym.dynamics import scalar_squares
from robo.sim.native_gym.physics import Physics


class InvertedPendulum(Physics):
    """One reward per step while the pole leans at most 0.2 rad."""

    def observe(self) -> np.ndarray:
        """Positions and velocities, float64 ``[N, 4]``."""
        return np.concatenate([self.qpos, self.qvel], axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward 1 where it goes on, else 0."""
        finite = np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)
        terminated = ~finite | (np.abs(self.qpos[:, 1]) > 0.2)
        return (~terminated).astype(np.float64), terminated


class InvertedDoublePendulum(Physics):
    """Healthy reward minus the tip's distance from upright and the poles' speeds."""

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """See :class:`~robo.sim.native_gym.physics.Physics`."""
        super().__init__(core, num_envs, threads)
        self._site = self.batch.bind("site_xpos")
        self._constraint = self.batch.bind("qfrc_constraint")

    def observe(self) -> np.ndarray:
        """Cart, sines and cosines, clipped velocities, clipped constraint force, ``[N, 9]``."""
        angles = np.ascontiguousarray(self.qpos[:, 1:])
        parts = [
            self.qpos[:, :1],
            np.sin(angles),
            np.cos(angles),
            np.clip(self.qvel, -10, 10),
            np.clip(self._constraint[:, :1], -10, 10),
        ]
        return np.concatenate(parts, axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward, and whether the tip is at most 1 high."""
        x, y = self._site[:, 0, 0], self._site[:, 0, 2]
        terminated = y <= 1
        distance = 0.01 * scalar_squares(x) + scalar_squares(y - 2)
        first, second = self.qvel[:, 1], self.qvel[:, 2]
        speed = 1e-3 * scalar_squares(first) + 5e-3 * scalar_squares(second)
        return self.core._healthy_reward * ~terminated - distance - speed, terminated
