"""Cross sections of roads: lanes, medians, sidewalks and their markings."""

from __future__ import annotations

from dataclasses import dataclass

from scenariogeneration import xodr


@dataclass(frozen=True)
class Profile:
    """Cross section of a road, seen along its reference line."""

    forward: int = 1
    """Driving lanes in the direction of the reference line (on its right)."""
    backward: int = 1
    """Driving lanes against it (on its left)."""
    lane_width: float = 3.5
    """Metres."""
    median: float = 0.0
    """Half width in metres of the strip between the directions, 0 for a painted line."""
    sidewalk: float = 2.5
    """Width in metres of the sidewalk at each side with driving lanes."""

    @property
    def first(self) -> int:
        """Absolute id of the innermost driving lane."""
        return 2 if self.median else 1

    def inner_edge(self, index: int) -> float:
        """Distance in metres from the reference line to the inner edge of lane ``index`` >= 0."""
        return self.median + index * self.lane_width

    def outer_edge(self, count: int) -> float:
        """Distance in metres from the reference line to the outer edge of ``count`` lanes."""
        return self.median + count * self.lane_width

    def lane_id(self, index: int, side: int) -> int:
        """OpenDRIVE id of driving lane ``index`` (0 innermost), side -1 right or +1 left."""
        return side * (self.first + index)

    def sidewalk_id(self, side: int) -> int:
        """OpenDRIVE id of the sidewalk at a side (-1 right, +1 left)."""
        return side * (self.first + (self.forward if side < 0 else self.backward))


def _mark(
    kind: xodr.RoadMarkType,
    color: xodr.RoadMarkColor = xodr.RoadMarkColor.white,
    change: xodr.LaneChange = xodr.LaneChange.none,
) -> xodr.RoadMark:
    return xodr.RoadMark(kind, width=0.15, color=color, laneChange=change)


def _side(section: xodr.LaneSection, profile: Profile, count: int, left: bool) -> None:
    add = section.add_left_lane if left else section.add_right_lane
    if count == 0:
        return
    lanes: list[xodr.Lane] = []
    if profile.median:
        lanes.append(xodr.Lane(xodr.LaneType.median, a=profile.median))
        lanes[-1].add_roadmark(_mark(xodr.RoadMarkType.solid, xodr.RoadMarkColor.yellow))
    for index in range(count):
        lanes.append(xodr.Lane(xodr.LaneType.driving, a=profile.lane_width))
        inner = index < count - 1
        lanes[-1].add_roadmark(
            _mark(xodr.RoadMarkType.broken, change=xodr.LaneChange.both)
            if inner
            else _mark(xodr.RoadMarkType.solid)
        )
    if profile.sidewalk:
        lanes.append(xodr.Lane(xodr.LaneType.sidewalk, a=profile.sidewalk))
        lanes[-1].add_roadmark(_mark(xodr.RoadMarkType.none))
    for lane in lanes:
        add(lane)


def road_lanes(profile: Profile) -> xodr.Lanes:
    """The lanes of an ordinary road: one lane section, constant widths."""
    center = xodr.Lane(a=0)
    if profile.median:
        center.add_roadmark(_mark(xodr.RoadMarkType.none))
    elif profile.forward and profile.backward:
        center.add_roadmark(_mark(xodr.RoadMarkType.solid, xodr.RoadMarkColor.yellow))
    else:
        center.add_roadmark(_mark(xodr.RoadMarkType.solid))
    section = xodr.LaneSection(0, center)
    _side(section, profile, profile.forward, left=False)
    _side(section, profile, profile.backward, left=True)
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return lanes


def connecting_lanes(
    length: float, widths: tuple[float, float], sidewalks: tuple[float, float] | None
) -> tuple[xodr.Lanes, list[xodr.Lane]]:
    """The lanes of a connecting road: one driving lane and perhaps a sidewalk on its right.

    Args:
        length: metres.
        widths: driving lane width in metres at the start and at the end.
        sidewalks: sidewalk width at the start and at the end, or None for no sidewalk.

    Returns:
        The lanes, and the right lanes from the inside out, for linking.
    """

    def blend(kind: xodr.LaneType, start: float, end: float) -> xodr.Lane:
        # The cubic with zero slope at both ends, so that lane edges stay smooth.
        rise = end - start
        lane = xodr.Lane(kind, a=start, c=3 * rise / length**2, d=-2 * rise / length**3)
        lane.add_roadmark(_mark(xodr.RoadMarkType.none))
        return lane

    center = xodr.Lane(a=0)
    center.add_roadmark(_mark(xodr.RoadMarkType.none))
    section = xodr.LaneSection(0, center)
    right = [blend(xodr.LaneType.driving, *widths)]
    if sidewalks is not None:
        right.append(blend(xodr.LaneType.sidewalk, *sidewalks))
    for lane in right:
        section.add_right_lane(lane)
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return lanes, right
