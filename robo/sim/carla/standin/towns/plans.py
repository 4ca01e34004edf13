"""The street plans of the three built-in towns."""

from __future__ import annotations

import math

from robo.errors import RoboError
from robo.sim.carla.standin.towns.builder import Arm, TownBuilder
from robo.sim.carla.standin.towns.curves import Pose, Segment, arc, join
from robo.sim.carla.standin.towns.profiles import Profile
from robo.sim.carla.standin.towns.signs import LIGHT, STOP, YIELD

EAST, NORTH, WEST, SOUTH = 0.0, math.pi / 2, math.pi, -math.pi / 2
LEAD = 4.5
"""Metres of straight lane in front of a turn: room for a crosswalk."""
TURN_RADIUS = 9.0
"""Radius in metres of a right turn's inner lane edge."""
REACH = LEAD + TURN_RADIUS
"""Metres from the middle of a crossing of two-lane roads to its stop lines."""


def grid(blocks: int = 4, pitch: float = 80.0, speed: float = 40.0, lanes: int = 1) -> str:
    """Square blocks of streets; every crossing and T-junction has lights.

    Args:
        blocks: blocks per side.
        pitch: distance between streets in metres.
        speed: limit in km/h.
        lanes: lanes each way, 1 or 2.

    Returns:
        OpenDRIVE text.

    Raises:
        RoboError: more lanes than the corners have room for.
    """
    if lanes not in (1, 2):
        raise RoboError(f"streets of a grid have 1 or 2 lanes each way, not {lanes}")
    town, street = TownBuilder("Grid"), Profile(forward=lanes, backward=lanes)
    reach = REACH + street.inner_edge(lanes - 1)
    half = blocks * pitch / 2.0
    # Road ends that meet at each crossing, by direction in which the road leaves it.
    arms: dict[tuple[int, int], dict[float, Arm]] = {}

    def leave(column: int, row: int, heading: float, road: int, at_end: bool) -> None:
        arms.setdefault((column, row), {})[heading] = Arm(road, at_end, LIGHT, crosswalk=True)

    def corner(column: int, row: int) -> bool:
        return column in (0, blocks) and row in (0, blocks)

    for row in range(blocks + 1):
        for column in range(blocks + 1):
            x, y = column * pitch - half, row * pitch - half
            for heading, step in ((EAST, (1, 0)), (NORTH, (0, 1))):
                there = (column + step[0], row + step[1])
                if max(there) > blocks or corner(column, row) or corner(*there):
                    continue
                start = Pose(x, y, heading).ahead(reach)
                road = town.road(start, [Segment(pitch - 2 * reach)], street, speed)
                leave(column, row, heading, road, at_end=False)
                leave(*there, heading + math.pi, road, at_end=True)
    radius = 25.0
    straight = Segment(pitch - reach - radius)
    last = blocks
    for (column, row), heading, there in (
        ((last - 1, 0), EAST, (last, 1)),
        ((last, last - 1), NORTH, (last - 1, last)),
        ((1, last), WEST, (0, last - 1)),
        ((0, 1), SOUTH, (1, 0)),
    ):
        x, y = column * pitch - half, row * pitch - half
        bend = [straight, arc(radius, math.pi / 2), straight]
        road = town.road(Pose(x, y, heading).ahead(reach), bend, street, speed)
        leave(column, row, heading, road, at_end=False)
        leave(*there, heading - math.pi / 2, road, at_end=True)
    for crossing in sorted(arms):
        town.junction([arms[crossing][key] for key in sorted(arms[crossing])], LEAD)
    return town.xml()


def _ring_town(town: TownBuilder, half: float, inner: float) -> None:
    """Roads and priority junctions of ``Junctions`` outside its roundabout."""
    street = Profile()
    corner = 35.0
    side = Segment(half - REACH - corner)
    directions = (EAST, NORTH, WEST, SOUTH)
    outer = [
        town.road(
            Pose(0.0, 0.0, heading).ahead(half).turned(math.pi / 2).ahead(REACH),
            [side, arc(corner, math.pi / 2), side],
            street,
            50.0,
        )
        for heading in directions
    ]
    spokes = [
        town.road(
            Pose(0.0, 0.0, heading).ahead(inner + REACH),
            [Segment(half - inner - 2 * REACH)],
            street,
            40.0,
        )
        for heading in directions
    ]
    approaches = [
        town.road(
            Pose(0.0, 0.0, heading).ahead(ROUNDABOUT_REACH),
            [Segment(inner - REACH - ROUNDABOUT_REACH)],
            street,
            30.0,
        )
        for heading in directions
    ]
    # Two quarter circles join neighbouring spokes in the north-east and the south-west.
    curves = {
        index: town.road(
            Pose(0.0, 0.0, directions[index]).ahead(inner).turned(math.pi / 2).ahead(REACH),
            [arc(inner - REACH, math.pi / 2)],
            street,
            30.0,
        )
        for index in (0, 2)
    }
    for index in range(4):
        sign = STOP if index % 2 == 0 else YIELD
        ring = [Arm(outer[index], at_end=False), Arm(outer[index - 1], at_end=True)]
        town.junction([*ring, Arm(spokes[index], True, sign, crosswalk=True)], LEAD)
        through = [Arm(spokes[index], at_end=False), Arm(approaches[index], at_end=True)]
        curve = curves[index - index % 2]
        begins = index % 2 == 0
        minor = Arm(curve, at_end=not begins, signal=YIELD if begins else STOP, crosswalk=True)
        town.junction([*through, minor], LEAD)
    _roundabout(town, approaches, directions)


ROUNDABOUT_RADIUS = 18.0
"""Radius in metres of the roundabout's inner edge."""
ROUNDABOUT_REACH = 37.0
"""Metres from the roundabout's centre to its yield lines."""
ROUNDABOUT_ANGLE = math.radians(32.0)
"""Half of the angle that one arm's junction takes of the ring."""


def _roundabout(town: TownBuilder, arms: list[int], directions: tuple[float, ...]) -> None:
    lane = Profile(backward=0, lane_width=4.5)
    pieces = [
        town.road(
            Pose(0.0, 0.0, heading + ROUNDABOUT_ANGLE).ahead(ROUNDABOUT_RADIUS).turned(math.pi / 2),
            [arc(ROUNDABOUT_RADIUS, math.pi / 2 - 2 * ROUNDABOUT_ANGLE)],
            lane,
            30.0,
        )
        for heading in directions
    ]
    for index, road in enumerate(arms):
        town.junction(
            [
                Arm(pieces[index - 1], at_end=True),
                Arm(road, at_end=False, signal=YIELD),
                Arm(pieces[index], at_end=False),
            ]
        )


def junctions(half: float = 125.0, inner: float = 72.0) -> str:
    """Priority T-junctions with stop and yield signs around a roundabout; no lights.

    Args:
        half: half the side of the outer ring road, in metres.
        inner: distance from the centre to the inner T-junctions, in metres.

    Returns:
        OpenDRIVE text.
    """
    town = TownBuilder("Junctions")
    _ring_town(town, half, inner)
    return town.xml()


def multilane(half_length: float = 210.0, half_width: float = 90.0, links: float = 150.0) -> str:
    """A ring of dual carriageway, three lanes a side, with signalised side roads.

    Args:
        half_length: half the length of each straight, in metres.
        half_width: distance of each straight from the centre line, in metres.
        links: distance from the middle to the outer side roads, in metres.

    Returns:
        OpenDRIVE text.
    """
    town = TownBuilder("Multilane")
    main = Profile(forward=3, backward=3, median=1.0)
    wide, street = Profile(forward=2, backward=2), Profile()
    side_lane = main.inner_edge(2)  # where the carriageway's outermost lane begins
    columns = ((-links, street), (0.0, wide), (links, street))
    mouth = {profile: REACH + profile.inner_edge(profile.forward - 1) for _, profile in columns}
    stub = REACH + side_lane
    # Anticlockwise around the ring: the south straight east, the north straight west.
    gap = links - mouth[street] - mouth[wide]
    bend = [
        Segment(half_length - links - mouth[street]),
        arc(half_width, math.pi),
        Segment(half_length - links - mouth[street]),
    ]
    arms: dict[tuple[float, int], list[Arm]] = {}

    def carriageway(x: float, sign: int, to_x: float, to_sign: int, shape: list[Segment]) -> None:
        heading = EAST if sign < 0 else WEST
        profile = wide if x == 0.0 else street
        start = Pose(x, sign * half_width, heading).ahead(mouth[profile])
        road = town.road(start, shape, main, 50.0)
        arms.setdefault((x, sign), []).append(Arm(road, False, LIGHT, crosswalk=True))
        arms.setdefault((to_x, to_sign), []).append(Arm(road, True, LIGHT, crosswalk=True))

    carriageway(-links, -1, 0.0, -1, [Segment(gap)])
    carriageway(0.0, -1, links, -1, [Segment(gap)])
    carriageway(links, -1, links, 1, bend)
    carriageway(links, 1, 0.0, 1, [Segment(gap)])
    carriageway(0.0, 1, -links, 1, [Segment(gap)])
    carriageway(-links, 1, -links, -1, bend)
    _side_roads(town, arms, columns, half_width, stub, mouth)
    for key in sorted(arms):
        town.junction(arms[key], LEAD)
    return town.xml()


def _side_roads(
    town: TownBuilder,
    arms: dict[tuple[float, int], list[Arm]],
    columns: tuple[tuple[float, Profile], ...],
    half_width: float,
    stub: float,
    mouth: dict[Profile, float],
) -> None:
    """Roads between the two straights of ``Multilane``, crossed by one local street."""
    street = columns[0][1]
    for x, profile in columns:
        for sign in (-1, 1):
            heading = NORTH if sign < 0 else SOUTH
            start = Pose(x, sign * half_width, heading).ahead(stub)
            shape = [Segment(half_width - stub - REACH)]
            road = town.road(start, shape, profile, 40.0)
            arms[(x, sign)].append(Arm(road, False, LIGHT, crosswalk=True))
            arms.setdefault((x, 0), []).append(Arm(road, True, LIGHT, crosswalk=True))
    for west, east in ((columns[0], columns[1]), (columns[1], columns[2])):
        start = Pose(west[0], 0.0, EAST).ahead(mouth[west[1]])
        end = Pose(east[0], 0.0, EAST).ahead(-mouth[east[1]])
        road = town.road(start, join(start, end), street, 40.0)
        arms[(west[0], 0)].append(Arm(road, False, LIGHT, crosswalk=True))
        arms[(east[0], 0)].append(Arm(road, True, LIGHT, crosswalk=True))
