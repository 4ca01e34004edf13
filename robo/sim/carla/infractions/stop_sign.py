"""Running a stop sign, in a way that changing lanes cannot cheat."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.carla.driving_state import Ego
from robo.sim.carla.traffic_rules import StopLines

ZONE_LENGTH = 8.0
"""m before the line in which the ego's centre has to be when it halts."""
HALT_SPEED = 0.1
"""m/s below which the ego counts as halted (leaderboard)."""
LANE_MARGIN = 3.5
"""m by which every line is extended to both sides: one lane."""


class StopSignDetector:
    """Fires on the step in which the ego's centre crosses a stop line that it has not served.

    A sign is served by halting in the zone before its line. Zone and line reach one lane beyond
    the signed lanes, so that neither a lane change nor the opposite lane is a way around it. A
    sign counts as unserved again once the ego has left its zone.
    """

    def __init__(self, lines: StopLines) -> None:
        """Watch ``lines``."""
        self.lines = lines
        self._sign = np.unique(lines.opendrive_id, return_inverse=True)[1].reshape(-1)
        self._signs = int(self._sign.max()) + 1 if len(lines) else 0
        self._served = np.zeros(self._signs, bool)
        self._before: np.ndarray | None = None

    @property
    def served(self) -> np.ndarray:
        """Which lines the ego has served and not yet left, bool ``[S]``."""
        return self._served[self._sign]

    def reset(self) -> None:
        """Forget where the ego was and what it served."""
        self._before = None
        self._served[:] = False

    def update(self, ego: Ego) -> bool:
        """Whether a stop sign was run in this step."""
        if not len(self.lines):
            return False
        center = ego.center[:2]
        before, self._before = self._before, center
        driven = 0.0 if before is None else float(np.abs(center - before).sum())
        if not self.lines.any_near(center, max(driven, ZONE_LENGTH) + LANE_MARGIN):
            self._served[:] = False
            return False
        ran = before is not None and bool(
            (self.lines.crossed(before, center, LANE_MARGIN) & ~self.served).any()
        )
        inside = self.lines.within(center, ZONE_LENGTH, LANE_MARGIN)
        in_zone = np.bincount(self._sign, weights=inside, minlength=self._signs) > 0
        self._served = in_zone & (self._served | (ego.speed < HALT_SPEED))
        return ran

    def state_dict(self) -> dict[str, Any]:
        """Where the ego was and what it has served."""
        return {
            "before": None if self._before is None else self._before.copy(),
            "served": self._served.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, on the same map."""
        before = state["before"]
        self._before = None if before is None else np.array(before, np.float64)
        self._served = np.array(state["served"], bool)
