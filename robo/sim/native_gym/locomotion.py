"""Gymnasium's HalfCheetah-v5, Hopper-v5, Swimmer-v5 and Walker2d-v5: move along x."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.native_gym.physics import Physics


class Runner(Physics):
    """Reward: weighted velocity along x, minus the control cost (HalfCheetah)."""

    planar_coordinates = 1
    """Leading positions that the observation leaves out."""

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """See :class:`~robo.sim.native_gym.physics.Physics`."""
        super().__init__(core, num_envs, threads)
        excluded = core._exclude_current_positions_from_observation
        self._skipped = self.planar_coordinates if excluded else 0
        self._alive = np.zeros(num_envs, np.bool_)

    def observe(self) -> np.ndarray:
        """Positions and velocities, float64 ``[N, S]``."""
        return np.concatenate([self.qpos[:, self._skipped :], self.qvel], axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward; never terminates."""
        return self._forward(before) - self._control_cost(actions), self._alive

    def _forward(self, before: np.ndarray) -> np.ndarray:
        return self.core._forward_reward_weight * ((self.qpos[:, 0] - before) / self.core.dt)

    def _control_cost(self, actions: np.ndarray) -> np.ndarray:
        return self.core._ctrl_cost_weight * np.sum(np.square(actions), axis=1)


class Swimmer(Runner):
    """As HalfCheetah; x and y are left out of the observation."""

    planar_coordinates = 2


class Walker(Runner):
    """Runner that also earns by being healthy and ends where it is not (Walker2d)."""

    def observe(self) -> np.ndarray:
        """Positions, and velocities clipped to [-10, 10], float64 ``[N, S]``."""
        velocity = np.clip(self.qvel, -10, 10)
        return np.concatenate([self.qpos[:, self._skipped :], velocity], axis=1)

    def outcome(self, before: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward, and whether the walker fell."""
        healthy = self._healthy()
        earned = self._forward(before) + healthy * self.core._healthy_reward
        terminated = ~healthy if self.core._terminate_when_unhealthy else self._alive
        return earned - self._control_cost(actions), terminated

    def _healthy(self) -> np.ndarray:
        """Height and angle within their ranges, bool ``[N]``."""
        height, angle = self.qpos[:, 1], self.qpos[:, 2]
        low, high = self.core._healthy_z_range
        least, most = self.core._healthy_angle_range
        return (low < height) & (height < high) & (least < angle) & (angle < most)


class Hopper(Walker):
    """Walker of which every coordinate but the first two must stay in a range."""

    def _healthy(self) -> np.ndarray:
        low, high = self.core._healthy_state_range
        state = np.concatenate([self.qpos[:, 2:], self.qvel], axis=1)
        return ((low < state) & (state < high)).all(axis=1) & super()._healthy()
