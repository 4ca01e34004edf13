"""Gymnasium's Pendulum-v1 and CartPole-v1 as array arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.native_gym.dynamics import Dynamics, scalar_squares


class Pendulum(Dynamics):
    """Swing a pendulum up; never terminates.

    Attributes:
        angle: rad, 0 is upright, ``[N]``.
        speed: rad/s, ``[N]``.
    """

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """``num_envs`` pendulums with the constants of ``core``; threads are not used."""
        self.core = core
        self.angle, self.speed = np.zeros(num_envs), np.zeros(num_envs)
        self._alive = np.zeros(num_envs, np.bool_)
        self._seen = np.zeros((3, num_envs))

    def take(self, row: int) -> None:
        """Copy the prototype's angle and speed."""
        self.angle[row], self.speed[row] = self.core.state

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One step; see :class:`~robo.sim.native_gym.dynamics.Dynamics`."""
        core, angle, speed = self.core, self.angle, self.speed
        torque = _clip(actions[:, 0], core.max_torque)
        upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
        effort = 0.001 * scalar_squares(torque)
        costs = _float_squares(upright) + 0.1 * _float_squares(speed) + effort
        gravity = 3 * core.g / (2 * core.l) * np.sin(angle)
        faster = speed + (gravity + 3.0 / (core.m * core.l**2) * torque) * core.dt
        speed[:] = _clip(faster, core.max_speed)
        angle += speed * core.dt
        return -costs, self._alive

    def observe(self) -> np.ndarray:
        """Cosine, sine and speed, float32 ``[N, 3]``."""
        np.cos(self.angle, out=self._seen[0])
        np.sin(self.angle, out=self._seen[1])
        self._seen[2] = self.speed
        return self._seen.T.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Angles and speeds."""
        return {"angle": self.angle, "speed": self.speed}


def _clip(values: np.ndarray, limit: float) -> np.ndarray:
    """``numpy.clip`` to ±``limit`` without its checks, which take longer than a few rows do."""
    return np.minimum(np.maximum(values, -limit), limit)


def _float_squares(values: np.ndarray) -> np.ndarray:
    """:func:`scalar_squares` of bounded float64: Python's power is the C library's too."""
    return np.array([value**2 for value in values.tolist()])


class CartPole(Dynamics):
    """Balance a pole on a cart; terminates where either leaves its range.

    Attributes:
        state: position, velocity, angle, angular velocity, ``[4, N]``.
    """

    def __init__(self, core: Any, num_envs: int, threads: int) -> None:
        """``num_envs`` carts with the constants of ``core``; threads are not used."""
        self.core = core
        self.state = np.zeros((4, num_envs))
        self._reward = (0.0, -1.0) if core._sutton_barto_reward else (1.0, 1.0)

    def take(self, row: int) -> None:
        """Copy the prototype's state."""
        self.state[:, row] = self.core.state

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One explicit Euler step; see :class:`~robo.sim.native_gym.dynamics.Dynamics`."""
        core = self.core
        x, velocity, angle, rate = self.state
        force = np.where(actions == 1, core.force_mag, -core.force_mag)
        cosine, sine = np.cos(angle), np.sin(angle)
        push = (force + core.polemass_length * np.square(rate) * sine) / core.total_mass
        inertia = core.length * (4.0 / 3.0 - core.masspole * np.square(cosine) / core.total_mass)
        angular = (core.gravity * sine - cosine * push) / inertia
        linear = push - core.polemass_length * angular * cosine / core.total_mass
        change = np.stack([velocity, linear, rate, angular])
        self.state += core.tau * change
        terminated = (np.abs(x) > core.x_threshold) | (np.abs(angle) > core.theta_threshold_radians)
        return np.where(terminated, self._reward[1], self._reward[0]), terminated

    def observe(self) -> np.ndarray:
        """The state, float32 ``[N, 4]``."""
        return self.state.T.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state."""
        return {"state": self.state}
