"""A scripted driver that reads the bird's-eye view: it follows the route, and may look ahead.

No planner and no privileged state: enough to drive most routes of the stand-in's towns and, with
its eyes shut, to run into what stands in the way. Data recipes need both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.sim.carla.birdseye import LINES, PEDESTRIANS, ROUTE, VEHICLES

OPTIONS: dict[str, Any] = {
    "birdseye_size": 64,
    "pixels_per_metre": 1.0,
    "metres_behind": 16.0,
    "route_outside_junctions": True,
}
"""Options of a driving environment that the driver reads its route from."""
NEAR, FAR = 4.0, 9.0
"""m ahead between which the route is steered at."""
CORRIDOR = 1.6
"""m to each side that must be free."""
FRONT = 3.0
"""m ahead of the car's centre from which on something is in the way."""
RED = 255
"""Value of a red light's stop line."""


@dataclass(frozen=True)
class DriverStyle:
    """How a scripted driver drives; drawn anew for every episode."""

    slowest: float = 3.0
    """m/s, the lowest cruising speed that is drawn."""
    fastest: float = 8.0
    """m/s, the highest."""
    blind: float = 0.0
    """Share of episodes that are driven without looking at others or at lights."""
    noise: float = 0.02
    """Standard deviation of the steering command's noise."""


class RouteFollower:
    """Drives N environments made with :data:`OPTIONS`; an actor for recorders."""

    def __init__(self, style: DriverStyle | None = None, seed: int = 0) -> None:
        """``seed``: of speeds, of blindness and of noise."""
        self.style = style or DriverStyle()
        self._generator = np.random.default_rng((seed, 11))
        size, scale = OPTIONS["birdseye_size"], OPTIONS["pixels_per_metre"]
        rows, columns = np.mgrid[:size, :size].astype(np.float64) + 0.5
        self._ahead = size - OPTIONS["metres_behind"] * scale - rows
        self._aside = columns - size / 2
        self._ahead, self._aside = self._ahead / scale, self._aside / scale
        reach = np.hypot(self._ahead, self._aside)
        self._aim = (reach > NEAR) & (reach < FAR) & (self._ahead > 0)
        self._way = (np.abs(self._aside) < CORRIDOR) & (self._ahead > FRONT)

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        self._speed = np.zeros(num_envs)
        self._blind = np.zeros(num_envs, bool)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, 2]``; ``started`` bool ``[N]`` marks first steps of episodes."""
        count = int(started.sum())
        style, draw = self.style, self._generator
        self._speed[started] = draw.uniform(style.slowest, style.fastest, count)
        self._blind[started] = draw.random(count) < style.blind
        steer = np.array([self._steer(view[ROUTE]) for view in observation["birdseye"]])
        steer += draw.normal(0.0, style.noise, len(steer))
        wanted = self._speed.copy()
        for row, view in enumerate(observation["birdseye"]):
            if not self._blind[row]:
                wanted[row] = min(wanted[row], self._allowed(view))
        wanted *= 1 - 0.6 * np.minimum(np.abs(steer), 1.0)
        speed = observation["state"][:, 6]
        push = np.clip(0.5 * (wanted - speed), -1.0, 0.8)
        push[(wanted < 0.3) & (speed < 1.0)] = -1.0
        return np.stack([np.clip(steer, -1, 1), push], axis=1).astype(np.float32)

    def _steer(self, route: np.ndarray) -> float:
        """Toward the middle of the route a few metres ahead; straight on where there is none."""
        aim = self._aim & (route > 0)
        if not aim.any():
            return 0.0
        angle = np.arctan2(self._aside[aim].mean(), self._ahead[aim].mean())
        return float(1.2 * angle)

    def _allowed(self, view: np.ndarray) -> float:
        """m/s that lets the car stop before whatever is in its way."""
        others = (view[VEHICLES] > 0) | (view[PEDESTRIANS] > 0)
        gaps = [
            float(self._ahead[self._way & found].min(initial=100.0)) - room
            for found, room in ((others, FRONT + 2.5), (view[LINES] == RED, FRONT + 1.0))
        ]
        return float(np.sqrt(2 * 2.0 * max(min(gaps), 0.0)))

    def metadata(self, env: int) -> dict[str, Any]:
        """What drove: JSON values."""
        driver = "blind" if self._blind[env] else "careful"
        return {"driver": driver, "cruise": float(self._speed[env])}
