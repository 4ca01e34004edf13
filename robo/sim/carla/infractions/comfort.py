"""CaRL's six comfort metrics, after nuPlan's, with limits loosened for CARLA.

Each metric is the last value of a Savitzky-Golay filter over at most 15 samples. The filter is
linear, so that it becomes one dot product with weights that are computed once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.sim.carla.driving_state import Ego
from robo.sim.carla.infractions.counters import PENALTY_TICKS, TickCounter

SAMPLES = 15
"""Samples that are kept."""
MIN_SAMPLES = 8
"""Samples below which nothing is judged."""
METRICS = (
    "longitudinal_acceleration",
    "lateral_acceleration",
    "jerk",
    "longitudinal_jerk",
    "yaw_rate",
    "yaw_acceleration",
)
"""m/s², m/s², m/s³, m/s³, rad/s, rad/s²."""


@dataclass(frozen=True)
class ComfortLimits:
    """Values at the limit are comfortable still."""

    min_longitudinal_acceleration: float = -20.0
    """m/s² (nuPlan: -4.05)."""
    max_longitudinal_acceleration: float = 10.0
    """m/s² (nuPlan: 2.40)."""
    lateral_acceleration: float = 9.0
    """m/s², absolute (nuPlan: 4.89)."""
    jerk: float = 30.0
    """m/s³, absolute (nuPlan: 8.37)."""
    longitudinal_jerk: float = 30.0
    """m/s³, absolute (nuPlan: 4.13)."""
    yaw_rate: float = 1.0
    """rad/s, absolute (nuPlan: 0.95)."""
    yaw_acceleration: float = 3.0
    """rad/s², absolute (nuPlan: 1.93)."""

    @property
    def bounds(self) -> np.ndarray:
        """Lowest and highest comfortable value of each metric, ``[2, 6]``."""
        high = np.array(
            [
                self.max_longitudinal_acceleration,
                self.lateral_acceleration,
                self.jerk,
                self.longitudinal_jerk,
                self.yaw_rate,
                self.yaw_acceleration,
            ]
        )
        low = -high
        low[0] = self.min_longitudinal_acceleration
        return np.stack([low, high])


@functools.lru_cache(maxsize=64)
def filter_weights(count: int, delta: float) -> np.ndarray:
    """Weights ``[6, 4, count]``: metrics from the series (lon, lat, total acceleration, yaw).

    Accelerations are smoothed (order 2, window 8), jerks are derivatives (order 2, window
    ``min(15, count)``) of the smoothed series, yaw rate and acceleration are the first and second
    derivative of the unwrapped yaw (order 2 and 3, window 5).
    """
    from scipy.signal import savgol_filter

    identity = np.eye(count)
    smooth = np.asarray(savgol_filter(identity, min(8, count), 2, axis=0))
    window = min(15, count)
    slope = np.asarray(savgol_filter(identity, window, 2, deriv=1, delta=delta, axis=0))
    weights = np.zeros((6, 4, count))
    weights[0, 0] = smooth[-1]
    weights[1, 1] = smooth[-1]
    weights[2, 2] = (slope @ smooth)[-1]
    weights[3, 0] = (slope @ smooth)[-1]
    weights[4, 3] = savgol_filter(identity, 5, 2, deriv=1, delta=delta, axis=0)[-1]
    weights[5, 3] = savgol_filter(identity, 5, 3, deriv=2, delta=delta, axis=0)[-1]
    return weights


def comfort_metrics(series: np.ndarray, delta: float) -> np.ndarray:
    """The six metrics at the last sample.

    Args:
        series: ``[4, count]`` with 8 <= count <= 15: longitudinal, lateral and total acceleration
            in m/s², and unwrapped yaw in rad.
        delta: s between samples.

    Returns:
        ``[6]``, in the order of :data:`METRICS`.
    """
    weights = filter_weights(series.shape[1], delta)
    return weights.reshape(6, -1) @ series.reshape(-1)


class ComfortDetector:
    """Samples, metrics and one counter per metric."""

    def __init__(
        self,
        delta: float = 0.1,
        limits: ComfortLimits | None = None,
        ticks: int = PENALTY_TICKS,
    ) -> None:
        """``delta``: s between samples; ``ticks``: how long a violation stays active."""
        self.delta = delta
        self._low, self._high = (limits or ComfortLimits()).bounds
        self.counters = tuple(TickCounter(ticks) for _ in METRICS)
        self.metrics = np.zeros(6)
        """Last values, in the order of :data:`METRICS`; 0 before the eighth sample."""
        self._series = np.zeros((4, 0))

    def reset(self) -> None:
        """Forget all samples and stop all counters."""
        self._series = np.zeros((4, 0))
        self.metrics = np.zeros(6)
        for counter in self.counters:
            counter.remaining = 0

    @property
    def active(self) -> int:
        """Number of metrics whose counter runs, 0 to 6."""
        return sum(counter.active for counter in self.counters)

    def update(self, ego: Ego) -> int:
        """Take one sample; returns :attr:`active`."""
        cos, sin = np.cos(ego.yaw), np.sin(ego.yaw)
        x, y = float(ego.acceleration[0]), float(ego.acceleration[1])
        yaw = ego.yaw
        if self._series.shape[1]:
            last = self._series[3, -1]
            yaw = last + (yaw - last + np.pi) % (2 * np.pi) - np.pi
        sample = np.array([[cos * x + sin * y], [cos * y - sin * x], [np.hypot(x, y)], [yaw]])
        self._series = np.concatenate([self._series, sample], 1)[:, -SAMPLES:]
        bad = np.zeros(6, bool)
        if self._series.shape[1] >= MIN_SAMPLES:
            self.metrics = comfort_metrics(self._series, self.delta)
            bad = (self.metrics < self._low) | (self.metrics > self._high)
        for counter, violated in zip(self.counters, bad.tolist(), strict=True):
            counter.update(violated)
        return self.active

    def state_dict(self) -> dict[str, Any]:
        """Samples and counters."""
        return {
            "series": self._series.copy(),
            "metrics": self.metrics.copy(),
            "remaining": [counter.remaining for counter in self.counters],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._series = np.array(state["series"], np.float64)
        self.metrics = np.array(state["metrics"], np.float64)
        for counter, remaining in zip(self.counters, state["remaining"], strict=True):
            counter.remaining = int(remaining)
