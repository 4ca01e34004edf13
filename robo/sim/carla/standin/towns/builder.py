"""Builds an OpenDRIVE town out of roads between junctions.

Roads get fixed geometry, so that nothing has to be solved for; a junction gets one connecting
road per pair of lanes, whose reference line is the inner edge of its single lane.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field

from scenariogeneration import xodr

from robo.sim.carla.standin.towns import signs
from robo.sim.carla.standin.towns.curves import Pose, Segment, end_of, join
from robo.sim.carla.standin.towns.profiles import Profile, connecting_lanes, road_lanes

GEO_REFERENCE = "+proj=tmerc +lat_0=49 +lon_0=8 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
STRAIGHT_ANGLE = math.radians(40.0)
"""Turns of less than this are 'straight on'."""


@dataclass
class Built:
    """A road of the town and what junctions need to know of it."""

    road: xodr.Road
    profile: Profile
    start: Pose
    end: Pose
    speed: float
    """km/h."""


@dataclass(frozen=True)
class Arm:
    """One road end at a junction."""

    road: int
    """Id of the road."""
    at_end: bool
    """Whether the road's end (rather than its start) lies at the junction."""
    signal: str | None = None
    """Type of the signal that governs entering traffic (light, stop, yield), if any."""
    crosswalk: bool = False
    """Whether a crosswalk lies in front of this arm."""


@dataclass(frozen=True)
class _Port:
    """An arm seen from the junction: poses and lane ids of both directions."""

    arm: Arm
    profile: Profile
    inward: Pose
    incoming: int
    outgoing: int
    side: int
    """Sign of the incoming lanes' ids."""


@dataclass
class TownBuilder:
    """Collects roads and junctions and writes them as OpenDRIVE text."""

    name: str
    roads: dict[int, Built] = field(default_factory=dict)
    junctions: list[xodr.Junction] = field(default_factory=list)
    controllers: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)
    """Per junction: its id and the (controller id, signal id) of each phase, in order."""
    _used: int = 0

    def _identity(self) -> int:
        self._used += 1
        return self._used

    def road(self, start: Pose, segments: Sequence[Segment], profile: Profile, speed: float) -> int:
        """Add a road with speed limit signs.

        Args:
            start: where its reference line begins.
            segments: lines and arcs, in order.
            profile: cross section.
            speed: limit in km/h, both directions.

        Returns:
            The road's id.
        """
        identity = self._identity()
        built = self._add_road(identity, start, segments, road_lanes(profile), -1, profile, speed)
        length = built.road.planview.get_total_length()
        offset = min(8.0, 0.3 * length)
        if length > 20.0:
            if profile.forward:
                self._limit(built, offset, -1)
            if profile.backward:
                self._limit(built, length - offset, 1)
        return identity

    def _limit(self, built: Built, s: float, side: int) -> None:
        kind = signs.SPEED_LIMIT
        identity = self._identity()
        signs.add_signal(built.road, built.profile, identity, kind, s, side, built.speed)

    def _add_road(
        self,
        identity: int,
        start: Pose,
        segments: Sequence[Segment],
        lanes: xodr.Lanes,
        junction: int,
        profile: Profile,
        speed: float,
    ) -> Built:
        plan = xodr.PlanView()
        pose = start
        for segment in segments:
            shape = (
                xodr.Arc(segment.curvature, length=segment.length)
                if segment.curvature
                else xodr.Line(segment.length)
            )
            plan.add_fixed_geometry(shape, pose.x, pose.y, pose.heading)
            pose = segment.end(pose)
        road = xodr.Road(identity, plan, lanes, road_type=junction, name=f"Road {identity}")
        road.add_type(xodr.RoadType.town, 0, speed=speed, speed_unit="km/h")
        built = Built(road, profile, start, end_of(start, segments), speed)
        self.roads[identity] = built
        return built

    def junction(self, arms: Sequence[Arm], lead: float = 0.0) -> int:
        """Connect road ends: every arm's traffic may go to every other arm.

        Straight on, lane i goes to lane i; left turns join the innermost lanes and right turns the
        outermost. Arms with lights form one phase (and one controller) each.

        Args:
            arms: the road ends; lights take their phases in this order.
            lead: metres that connecting roads run straight at both ends (room for crosswalks).

        Returns:
            The junction's id.
        """
        identity = self._identity()
        junction = xodr.Junction(f"Junction {identity}", identity)
        self.junctions.append(junction)
        ports = [self._port(arm, identity) for arm in arms]
        phases: list[tuple[int, int]] = []
        for port in ports:
            if not port.incoming:
                continue
            signal = self._signal(port)
            if port.arm.signal == signs.LIGHT:
                phases.append((self._identity(), signal or 0))
            self._connect(junction, identity, port, ports, lead, signal)
        for port in ports:
            if port.arm.crosswalk:
                built = self.roads[port.arm.road]
                number = self._identity()
                signs.add_crosswalk(built.road, built.profile, number, port.arm.at_end)
        if phases:
            self.controllers.append((identity, phases))
        return identity

    def _port(self, arm: Arm, junction: int) -> _Port:
        built = self.roads[arm.road]
        profile = built.profile
        if arm.at_end:
            built.road.add_successor(xodr.ElementType.junction, junction)
            return _Port(arm, profile, built.end, profile.forward, profile.backward, -1)
        built.road.add_predecessor(xodr.ElementType.junction, junction)
        inward = built.start.turned(math.pi)
        return _Port(arm, profile, inward, profile.backward, profile.forward, 1)

    def _signal(self, port: _Port) -> int | None:
        kind = port.arm.signal
        if kind is None:
            return None
        built = self.roads[port.arm.road]
        length = built.road.planview.get_total_length()
        identity = self._identity()
        s = length - 0.3 if port.arm.at_end else 0.3
        signs.add_signal(built.road, port.profile, identity, kind, s, port.side)
        return identity

    def _connect(
        self,
        junction: xodr.Junction,
        identity: int,
        source: _Port,
        ports: list[_Port],
        lead: float,
        signal: int | None,
    ) -> None:
        exits = [port for port in ports if port is not source and port.outgoing]
        turns = {id(port): _turn(source, port) for port in exits}
        rightmost = min(exits, key=lambda port: turns[id(port)])
        for target in exits:
            for start, end in _lane_pairs(turns[id(target)], source.incoming, target.outgoing):
                walk = (
                    target is rightmost
                    and start == source.incoming - 1
                    and end == target.outgoing - 1
                )
                road = self._connecting_road(identity, source, target, (start, end), lead, walk)
                if signal is not None and source.arm.signal == signs.LIGHT:
                    signs.refer(self.roads[road].road, signal)
                connection = xodr.Connection(source.arm.road, road, xodr.ContactPoint.start)
                connection.add_lanelink(source.profile.lane_id(start, source.side), -1)
                if walk:
                    connection.add_lanelink(source.profile.sidewalk_id(source.side), -2)
                junction.add_connection(connection)

    def _connecting_road(
        self,
        junction: int,
        source: _Port,
        target: _Port,
        lanes: tuple[int, int],
        lead: float,
        walk: bool,
    ) -> int:
        start = source.inward.right(source.profile.inner_edge(lanes[0]))
        end = target.inward.turned(math.pi).right(target.profile.inner_edge(lanes[1]))
        segments = join(start, end, lead)
        length = sum(segment.length for segment in segments)
        section, right = connecting_lanes(
            length,
            (source.profile.lane_width, target.profile.lane_width),
            (source.profile.sidewalk, target.profile.sidewalk) if walk else None,
        )
        right[0].add_link("predecessor", source.profile.lane_id(lanes[0], source.side))
        right[0].add_link("successor", target.profile.lane_id(lanes[1], -target.side))
        if walk:
            right[1].add_link("predecessor", source.profile.sidewalk_id(source.side))
            right[1].add_link("successor", target.profile.sidewalk_id(-target.side))
        identity = self._identity()
        speed = min(self.roads[port.arm.road].speed for port in (source, target))
        road = self._add_road(
            identity, start, segments, section, junction, Profile(backward=0), speed
        ).road
        for port, add in ((source, road.add_predecessor), (target, road.add_successor)):
            contact = xodr.ContactPoint.end if port.arm.at_end else xodr.ContactPoint.start
            add(xodr.ElementType.road, port.arm.road, contact)
        return identity

    def xml(self) -> str:
        """The town as OpenDRIVE 1.4 text (what CARLA reads), the same at every call."""
        drive = xodr.OpenDrive(self.name, revMinor="4", geo_reference=GEO_REFERENCE)
        for built in self.roads.values():
            drive.add_road(built.road)
        for junction in self.junctions:
            drive.add_junction(junction)
        root = drive.get_element()
        header = root.find("header")
        assert header is not None
        header.set("date", "2026-01-01T00:00:00")  # the library writes the wall clock
        for item in root.iter("object"):
            outlines = item.find("outlines")
            if outlines is not None:  # CARLA reads outlines where OpenDRIVE 1.4 had them
                item.remove(outlines)
                item.extend(outlines)
        elements = {element.get("id"): element for element in root.findall("junction")}
        for identity, phases in self.controllers:
            for sequence, (controller, signal) in enumerate(phases):
                attributes = {"id": str(controller), "sequence": str(sequence)}
                group = ElementTree.Element(
                    "controller", {"name": f"ctrl{controller}", **attributes}
                )
                ElementTree.SubElement(group, "control", {"signalId": str(signal), "type": ""})
                root.insert(list(root).index(elements[str(self.controllers[0][0])]), group)
                entry = elements[str(identity)]
                ElementTree.SubElement(entry, "controller", {**attributes, "type": "0"})
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(
            root, encoding="unicode"
        )


def _turn(source: _Port, target: _Port) -> float:
    """Angle in (-pi, pi] that traffic turns from one arm to another, positive to the left."""
    difference = target.inward.heading + math.pi - source.inward.heading
    return math.pi - (math.pi - difference) % (2.0 * math.pi)


def _lane_pairs(turn: float, incoming: int, outgoing: int) -> list[tuple[int, int]]:
    """Lane indices (from, to; 0 innermost) that a turn of ``turn`` radians connects."""
    if turn > STRAIGHT_ANGLE:
        return [(0, 0)]
    if turn < -STRAIGHT_ANGLE:
        return [(incoming - 1, outgoing - 1)]
    return [(lane, lane) for lane in range(min(incoming, outgoing))]
