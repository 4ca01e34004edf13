"""The simulated robot's cameras: their own rate, sensor noise, and their faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from robo.robots.faults import Fault
from robo.robots.robot import View


class SimulatedCameras:
    """Turns rendered images into time-stamped frames, spoiled by the active faults."""

    def __init__(self, rate: float, noise: float, seed: int) -> None:
        """Frames per second, and sensor noise in grey levels (standard deviation)."""
        self.period, self.noise = 1.0 / rate, noise
        self._generator = np.random.default_rng(seed)
        self._shown: dict[str, View] = {}
        self._late: deque[dict[str, View]] = deque()

    def due(self, now: float) -> bool:
        """Whether a new frame is to be taken."""
        newest = max((view.time for view in self._shown.values()), default=-np.inf)
        return now - newest >= self.period - 1e-6

    def take(self, images: Mapping[str, np.ndarray], now: float) -> dict[str, View]:
        """New frames of ``images``, with sensor noise."""
        return {role: View(self._noisy(image), now) for role, image in images.items()}

    def show(
        self, fresh: dict[str, View] | None, faults: Mapping[str, Fault], now: float
    ) -> dict[str, View]:
        """What the driver hands out at ``now``.

        Args:
            fresh: newly taken frames, None where none were due.
            faults: active faults by kind.
            now: seconds.
        """
        if fresh is not None:
            fresh = self._spoiled(fresh, faults, now)
        if "late_frames" in faults and fresh is not None:
            self._late.append(fresh)
            fresh = None
            while self._late and now - _time(self._late[0]) >= faults["late_frames"].size:
                fresh = self._late.popleft()
        if fresh is not None and "dropped_frames" not in faults:
            self._shown = fresh
        views = dict(self._shown)
        if "missing_view" in faults and views:
            views.pop(next(iter(views)))
        return views

    def reset(self) -> None:
        """Forget what was shown; the next frame is due at once."""
        self._shown = {}
        self._late.clear()

    def _spoiled(
        self, fresh: dict[str, View], faults: Mapping[str, Fault], now: float
    ) -> dict[str, View]:
        if "frozen_camera" in faults and self._shown:
            return {role: View(view.image, now) for role, view in self._shown.items()}
        if "blank_camera" in faults:
            return {role: View(np.zeros_like(view.image), now) for role, view in fresh.items()}
        if "wrong_size" in faults:
            return {role: View(view.image[::2, ::2], now) for role, view in fresh.items()}
        return fresh

    def _noisy(self, image: np.ndarray) -> np.ndarray:
        if self.noise <= 0:
            return image
        # One shifted table of noise in place of a draw per pixel: rendering must stay cheap.
        if not hasattr(self, "_table"):
            drawn = self._generator.normal(0, self.noise, 1 << 16)
            self._table = np.round(drawn).astype(np.int16)
        start = int(self._generator.integers(1 << 15))
        noise = np.resize(self._table[start:], image.size).reshape(image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)


def _time(views: Mapping[str, View]) -> float:
    return next(iter(views.values())).time
