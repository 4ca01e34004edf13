"""Signals and painted objects of roads: lights, signs, speed limits, crosswalks."""

from __future__ import annotations

import math

from scenariogeneration import xodr

from robo.sim.carla.standin.towns.profiles import Profile

LIGHT, STOP, YIELD, SPEED_LIMIT = "1000001", "206", "205", "274"
"""Signal types as the CARLA client reads them."""
POLE_OFFSET = 0.6
"""Metres from the outer edge of the driving lanes to a signal's pole."""
CROSSWALK = (0.9, 3.9)
"""Near and far edge of a crosswalk, in metres beyond the stop line."""

_NAMES = {
    LIGHT: "Signal_3Light_Post01",
    STOP: "Sign_Stop",
    YIELD: "Sign_Yield",
    SPEED_LIMIT: "Speed",
}


def add_signal(
    road: xodr.Road,
    profile: Profile,
    identity: int,
    kind: str,
    s: float,
    side: int,
    value: float | None = None,
) -> None:
    """Put a signal on the outer side of the lanes it is meant for.

    A light stands on its pole without valid lanes of its own (as in CARLA's towns): the lanes it
    governs are named by the references on the connecting roads (:func:`refer`). Signs govern
    the driving lanes of their side.

    Args:
        road: the road it belongs to.
        profile: the road's cross section.
        identity: signal id, unique in the town.
        kind: signal type, e.g. :data:`LIGHT`.
        s: metres along the road.
        side: -1 for traffic along the road (right lanes), +1 for traffic against it.
        value: km/h of a speed limit.
    """
    count = profile.forward if side < 0 else profile.backward
    signal = xodr.Signal(
        s=round(s, 6),
        t=side * (profile.outer_edge(count) + POLE_OFFSET),
        country="OpenDRIVE",
        Type=kind,
        subtype="-1" if value is None else f"{value:g}",
        id=str(identity),
        name=_NAMES[kind] + ("" if value is None else f"_{value:g}"),
        dynamic=xodr.Dynamic.yes if kind == LIGHT else xodr.Dynamic.no,
        value=-1 if value is None else value,
        unit="km/h",
        zOffset=0.0,
        orientation=xodr.Orientation.positive if side < 0 else xodr.Orientation.negative,
        height=1.2,
        width=0.5,
    )
    lanes = (profile.lane_id(0, side), profile.lane_id(count - 1, side))
    signal.add_validity(*((0, 0) if kind == LIGHT else (min(lanes), max(lanes))))
    # add_signal() of the library renumbers ids that an earlier town of this process used.
    road.signals.append(signal)


def refer(road: xodr.Road, identity: int, s: float = 0.5) -> None:
    """Let signal ``identity`` govern lane -1 of a connecting road from ``s`` metres on."""
    reference = xodr.SignalReference(
        s=s, t=0.0, id=str(identity), orientation=xodr.Orientation.positive
    )
    reference.add_validity(-1, -1)
    road.signals.append(reference)


def add_crosswalk(road: xodr.Road, profile: Profile, identity: int, at_end: bool) -> None:
    """Paint a crosswalk across the whole carriageway just beyond one end of a road."""
    near, far = CROSSWALK if at_end else (-CROSSWALK[1], -CROSSWALK[0])
    right = -profile.outer_edge(profile.forward) if profile.forward else 0.0
    left = profile.outer_edge(profile.backward) if profile.backward else 0.0
    crosswalk = xodr.Object(
        # A rounding error beyond the road's end would make the CARLA client refuse the map.
        s=math.floor(road.planview.get_total_length() * 1e3) / 1e3 if at_end else 0.0,
        t=0.0,
        Type=xodr.ObjectType.crosswalk,
        id=str(identity),
        name="SimpleCrosswalk",
        zOffset=0.0,
        orientation=xodr.Orientation.none,
        hdg=0.0,
        width=left - right,
        length=far - near,
    )
    outline = xodr.Outline()
    ring = ((near, right), (far, right), (far, left), (near, left), (near, right))
    for u, v in ring:
        outline.add_corner(xodr.CornerLocal(u, v, 0.0, 0.0))
    crosswalk.add_outline(outline)
    road.objects.append(crosswalk)
