"""Where a map's traffic lights, stop signs and speed-limit signs bind, read from OpenDRIVE.

All of it is offline: ``carla.Map`` alone is asked, never a server. Angles are radians in
CARLA's left-handed frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import carla

TRAFFIC_LIGHT, STOP_SIGN, SPEED_LIMIT = "1000001", "206", "274"
"""Landmark types, as OpenDRIVE signals name them in CARLA's maps."""
SEARCH_STEP = 0.25
"""m: how finely the entry of a junction is looked for."""
SEARCH_RANGE = 80.0
"""m: how far from its signal a junction is looked for."""


@dataclass(frozen=True)
class StopLines:
    """S lines across lanes, one for each lane that a signal governs, at the junction's entry."""

    opendrive_id: tuple[str, ...]
    """Id of the signal, as ``carla.TrafficLight.get_opendrive_id()`` gives it."""
    center: np.ndarray
    """float64 ``[S, 3]``, m: middle of the line."""
    yaw: np.ndarray
    """float64 ``[S]``, rad: direction in which traffic crosses it."""
    half_width: np.ndarray
    """float64 ``[S]``, m: half the width of the lane."""

    def __len__(self) -> int:
        """Number of lines S."""
        return len(self.yaw)

    @cached_property
    def forward(self) -> np.ndarray:
        """Unit vector along which traffic crosses each line, float64 ``[S, 2]``."""
        return np.stack([np.cos(self.yaw), np.sin(self.yaw)], -1)

    @cached_property
    def _widest(self) -> float:
        """Largest half width, m; 0 without lines."""
        return float(self.half_width.max(initial=0.0))

    def any_near(self, point: np.ndarray, reach: float) -> bool:
        """Whether any line comes within ``reach`` m of ``point [2]``; may say so up to 1 m early.

        One look that spares :meth:`crossed` and :meth:`within` in nearly all steps.
        """
        away = np.abs(self.center[:, :2] - point)
        return bool((away.max(1) <= reach + self._widest + 1.0).any()) if len(self) else False

    @cached_property
    def ends(self) -> np.ndarray:
        """Left and right end of each line, float64 ``[S, 2, 2]``, m."""
        across = np.stack([-np.sin(self.yaw), np.cos(self.yaw)], -1) * self.half_width[:, None]
        middle = self.center[:, :2]
        return np.stack([middle - across, middle + across], 1)

    def crossed(self, before: np.ndarray, after: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Which lines a point crossed forwards when it moved from ``before`` to ``after``.

        Args:
            before: ``[2]`` or ``[S, 2]``, m.
            after: Same shape.
            margin: m added to both ends of the lines.

        Returns:
            bool ``[S]``. Reaching a line exactly counts, starting on it does not.
        """
        forward = self.forward
        start = (before - self.center[:, :2]) if len(self) else np.zeros((0, 2))
        stop = (after - self.center[:, :2]) if len(self) else np.zeros((0, 2))
        ahead_before = np.einsum("sk,sk->s", start, forward)
        ahead_after = np.einsum("sk,sk->s", stop, forward)
        step = ahead_after - ahead_before
        crossing = (ahead_before < 0.0) & (ahead_after >= 0.0)
        share = np.where(crossing, -ahead_before / np.where(crossing, step, 1.0), 0.0)
        point = start + share[:, None] * (stop - start)
        lateral = point[:, 1] * forward[:, 0] - point[:, 0] * forward[:, 1]
        return crossing & (np.abs(lateral) <= self.half_width + margin)

    def within(self, point: np.ndarray, length: float, margin: float = 0.0) -> np.ndarray:
        """Which lines ``point [2]`` lies before, at most ``length`` m away: bool ``[S]``."""
        offset = point - self.center[:, :2] if len(self) else np.zeros((0, 2))
        cos, sin = self.forward[:, 0], self.forward[:, 1]
        ahead = offset[:, 0] * cos + offset[:, 1] * sin
        lateral = offset[:, 1] * cos - offset[:, 0] * sin
        return (ahead >= -length) & (ahead < 0.0) & (np.abs(lateral) <= self.half_width + margin)


@dataclass(frozen=True)
class SpeedSigns:
    """K speed-limit signs."""

    center: np.ndarray
    """float64 ``[K, 3]``, m."""
    yaw: np.ndarray
    """float64 ``[K]``, rad."""
    limit: np.ndarray
    """float64 ``[K]``, m/s."""


def _junction_entry(waypoint: carla.Waypoint) -> carla.Waypoint:
    """Waypoint just before the junction that the signal's lane lies in or leads into."""
    if waypoint.is_junction:
        for step in range(1, round(SEARCH_RANGE / SEARCH_STEP)):
            behind = waypoint.previous(step * SEARCH_STEP)
            if not behind:
                break
            if not behind[0].is_junction:
                return behind[0]
        return waypoint
    last = waypoint
    for step in range(1, round(SEARCH_RANGE / SEARCH_STEP)):
        ahead = waypoint.next(step * SEARCH_STEP)
        if not ahead:
            break
        if ahead[0].is_junction:
            return last
        last = ahead[0]
    return waypoint


def _governed(map: carla.Map, landmark: carla.Landmark) -> list[carla.Waypoint]:
    """Waypoints at the signal, one per driving lane that it governs."""
    import carla

    found = []
    for first, last in landmark.get_lane_validities():
        for lane in range(min(first, last), max(first, last) + 1):
            waypoint = map.get_waypoint_xodr(landmark.road_id, lane, landmark.s) if lane else None
            if waypoint is not None and waypoint.lane_type & carla.LaneType.Driving:
                found.append(waypoint)
    return found


def _stop_lines(map: carla.Map, kind: str) -> StopLines:
    rows: dict[tuple[str, int, int], tuple[np.ndarray, float, float]] = {}
    for landmark in map.get_all_landmarks_of_type(kind):
        for waypoint in _governed(map, landmark):
            entry = _junction_entry(waypoint)
            key = (str(landmark.id), entry.road_id, entry.lane_id)
            transform = entry.transform
            place = transform.location
            rows.setdefault(
                key,
                (
                    np.array([place.x, place.y, place.z]),
                    np.radians(transform.rotation.yaw),
                    entry.lane_width / 2,
                ),
            )
    # By id, road and lane, so that the order never depends on the parser's own.
    keys = sorted(rows)
    values = [rows[key] for key in keys]
    return StopLines(
        opendrive_id=tuple(key[0] for key in keys),
        center=np.array([value[0] for value in values]).reshape(-1, 3),
        yaw=np.array([value[1] for value in values]).reshape(-1),
        half_width=np.array([value[2] for value in values]).reshape(-1),
    )


def light_stop_lines(map: carla.Map) -> StopLines:
    """Stop lines of all traffic lights, ordered by (id, road, lane)."""
    return _stop_lines(map, TRAFFIC_LIGHT)


def stop_sign_lines(map: carla.Map) -> StopLines:
    """Stop lines of all stop signs, ordered by (id, road, lane)."""
    return _stop_lines(map, STOP_SIGN)


def speed_signs(map: carla.Map) -> SpeedSigns:
    """All speed-limit signs."""
    rows = {}
    for landmark in map.get_all_landmarks_of_type(SPEED_LIMIT):
        place = landmark.transform.location
        yaw = np.radians(landmark.transform.rotation.yaw)
        # CARLA's towns write unit "mph", yet its server applies the number as km/h.
        rows[str(landmark.id)] = ((place.x, place.y, place.z), yaw, landmark.value / 3.6)
    values = [rows[key] for key in sorted(rows)]
    return SpeedSigns(
        center=np.array([value[0] for value in values]).reshape(-1, 3),
        yaw=np.array([value[1] for value in values]).reshape(-1),
        limit=np.array([value[2] for value in values]).reshape(-1),
    )
