"""Driving outside all lanes, or on a lane of the opposite direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 0.5
"""m beyond half a lane's width that the ego's origin may be."""


@dataclass(frozen=True)
class LanePosition:
    """The ego against the nearest lane that one may be on (driving or parking), or shoulder."""

    distance: float
    """m from the lane's centre."""
    lane_width: float
    """m."""
    lane_yaw: float
    """rad: the lane's direction."""
    ego_yaw: float
    """rad."""
    in_junction: bool
    road_id: int
    lane_id: int


def is_outside(distance: float, lane_width: float) -> bool:
    """Whether the ego is more than half a lane and 0.5 m from the centre of the nearest lane."""
    return distance > lane_width / 2 + MARGIN


def _apart(a: float, b: float) -> float:
    """Degrees from ``b`` to ``a``, in [0, 360)."""
    return float(np.degrees(a - b) % 360.0)


class WrongLaneDetector:
    """A flag that is kept between ticks, after the leaderboard's OutsideRouteLanesTest.

    It looks at changes only, so that a swerve does not count as driving against traffic. On a
    new road or lane right after a junction, and on the first tick, it is set where the ego's
    heading differs from the lane's by 120 to 240 degrees. On any other change of road or lane it
    is toggled where the lane's direction jumps by 150 to 210 degrees. In a junction it is off.
    """

    def __init__(self) -> None:
        """Off."""
        self.active = False
        self._last: LanePosition | None = None

    def reset(self) -> None:
        """Off, with nothing known of the past."""
        self.active = False
        self._last = None

    def update(self, now: LanePosition) -> bool:
        """Take one tick; returns the flag."""
        last, self._last = self._last, now
        if now.in_junction:
            self.active = False
        elif last is None or last.in_junction:
            self.active = 120.0 <= _apart(now.ego_yaw, now.lane_yaw) <= 240.0
        elif (last.road_id, last.lane_id) != (now.road_id, now.lane_id) and (
            150.0 < _apart(now.lane_yaw, last.lane_yaw) < 210.0
        ):
            self.active = not self.active
        return self.active

    def state_dict(self) -> dict[str, Any]:
        """The flag and the last lane."""
        return {"active": self.active, "last": None if self._last is None else vars(self._last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.active = bool(state["active"])
        self._last = None if state["last"] is None else LanePosition(**state["last"])
