"""Plane curves of road reference lines: chains of straight and circular segments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

STRAIGHT = 1e-6
"""Curvature in 1/m below which a segment is written as a line."""


@dataclass(frozen=True)
class Pose:
    """A point and a direction in OpenDRIVE's right-handed frame (y to the north)."""

    x: float
    """East, in metres."""
    y: float
    """North, in metres."""
    heading: float
    """Direction in radians, counter-clockwise from east."""

    def ahead(self, distance: float) -> Pose:
        """The pose ``distance`` metres straight on."""
        return Pose(
            self.x + distance * math.cos(self.heading),
            self.y + distance * math.sin(self.heading),
            self.heading,
        )

    def right(self, distance: float) -> Pose:
        """The pose ``distance`` metres to the right, same heading."""
        return Pose(
            self.x + distance * math.sin(self.heading),
            self.y - distance * math.cos(self.heading),
            self.heading,
        )

    def turned(self, angle: float) -> Pose:
        """The pose at the same point, turned by ``angle`` radians."""
        return Pose(self.x, self.y, self.heading + angle)


@dataclass(frozen=True)
class Segment:
    """One line (curvature 0) or circular arc of a reference line."""

    length: float
    """Arc length in metres."""
    curvature: float = 0.0
    """1/m, positive to the left."""

    def end(self, start: Pose) -> Pose:
        """Where the segment ends when it begins at ``start``."""
        turn = self.length * self.curvature
        if abs(turn) < 1e-9:
            return start.ahead(self.length)
        chord = 2.0 / self.curvature * math.sin(turn / 2.0)
        moved = start.turned(turn / 2.0).ahead(chord)
        return Pose(moved.x, moved.y, start.heading + turn)


def end_of(start: Pose, segments: Iterable[Segment]) -> Pose:
    """The pose at the end of a chain of segments."""
    for segment in segments:
        start = segment.end(start)
    return start


def arc(radius: float, angle: float) -> Segment:
    """A circular arc of ``radius`` metres turning by ``angle`` radians (positive: left)."""
    return Segment(radius * abs(angle), math.copysign(1.0 / radius, angle))


def _arc_to(start: Pose, x: float, y: float) -> Segment:
    """The arc that leaves ``start`` along its heading and passes through ``(x, y)``."""
    forward_x, forward_y = math.cos(start.heading), math.sin(start.heading)
    dx, dy = x - start.x, y - start.y
    cross, dot = forward_x * dy - forward_y * dx, forward_x * dx + forward_y * dy
    chord_squared = dx * dx + dy * dy
    curvature = 2.0 * cross / chord_squared
    if abs(curvature) < STRAIGHT:
        return Segment(math.sqrt(chord_squared))
    return Segment(2.0 * math.atan2(cross, dot) / curvature, curvature)


def join(start: Pose, end: Pose, lead: float = 0.0) -> list[Segment]:
    """A smooth curve from one pose to another: a line, or two arcs with a common tangent.

    The two arcs have equal tangent lengths (biarc interpolation; Bolton, "Biarc curves",
    Computer-Aided Design 7(2), 1975), so direction and position are continuous throughout.

    Args:
        start: pose at the beginning.
        end: pose at the end.
        lead: metres of straight line to keep at both ends.

    Returns:
        One to four segments.
    """
    begin, finish = start.ahead(lead), end.ahead(-lead)
    t0 = (math.cos(begin.heading), math.sin(begin.heading))
    t1 = (math.cos(finish.heading), math.sin(finish.heading))
    vx, vy = finish.x - begin.x, finish.y - begin.y
    if abs(t0[0] * vy - t0[1] * vx) < 1e-6 and t0[0] * t1[0] + t0[1] * t1[1] > 1.0 - 1e-9:
        return [Segment(math.hypot(end.x - start.x, end.y - start.y))]
    alignment = t0[0] * t1[0] + t0[1] * t1[1]
    along = vx * (t0[0] + t1[0]) + vy * (t0[1] + t1[1])
    square = vx * vx + vy * vy
    if 1.0 - alignment < 1e-9:
        tangent = square / (2.0 * along)
    else:
        spread = 2.0 * (1.0 - alignment)
        tangent = (-along + math.sqrt(along * along + spread * square)) / spread
    middle_x = (begin.x + finish.x + tangent * (t0[0] - t1[0])) / 2.0
    middle_y = (begin.y + finish.y + tangent * (t0[1] - t1[1])) / 2.0
    first = _arc_to(begin, middle_x, middle_y)
    second = _arc_to(first.end(begin), finish.x, finish.y)
    bend = (
        [Segment(first.length + second.length, first.curvature)]
        if abs(first.curvature - second.curvature) < 1e-9
        else [first, second]
    )
    straight = [Segment(lead)] if lead > 0.0 else []
    return [*straight, *bend, *straight]
