"""All that a map fixes: read once, shared by every world on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.junctions import Junctions, way_ranks
from robo.sim.carla.standin.landmarks import LIGHT, SPEED, STOP, YIELD, Signal, find_signals
from robo.sim.carla.standin.lanes import LaneGraph
from robo.sim.carla.standin.layouts import Transform6
from robo.sim.carla.standin.paths import curve_speed
from robo.sim.carla.standin.traffic_lights import LightPlan
from robo.sim.carla.standin.walkways import Walkway, find_walkways


@dataclass(frozen=True)
class RoadMap:
    """A map and what is derived from it."""

    carla_map: Any
    """The client library's ``carla.Map``."""
    lanes: LaneGraph
    """Driving lanes as arrays."""
    junctions: Junctions
    """Ways through junctions and their conflicts."""
    lights: LightPlan
    """Traffic lights and their phases."""
    signs: tuple[Signal, ...]
    """Stop, yield and speed limit signs."""
    spawn_points: tuple[Transform6, ...]
    """Poses on driving lanes (m, degrees)."""
    walkways: tuple[Walkway, ...]
    """Where people walk."""
    curve_speed: np.ndarray
    """Speed at which each lane node's curve is taken comfortably, m/s, [M]."""
    ranks: tuple[int, ...]
    """Rank of each lane segment as a way through a junction; the lower one goes first."""


@lru_cache(maxsize=6)
def read_map(name: str, opendrive: str) -> RoadMap:
    """Read an OpenDRIVE map.

    Raises:
        StandinError: the text is no OpenDRIVE map with driving lanes.
    """
    import carla

    try:
        carla_map = carla.Map(name, opendrive)
    except RuntimeError as error:
        raise StandinError(
            f"Map '{name}' cannot be read as OpenDRIVE ({error}): give a valid .xodr."
        ) from error
    # The client's library crashes the process when it is asked for waypoints of an empty map.
    if not re.search(r"type\s*=\s*[\"']driving", opendrive):
        raise StandinError(f"Map '{name}' has no driving lanes: give an OpenDRIVE map with roads.")
    lanes = LaneGraph(carla_map)
    junctions = Junctions(lanes)
    lights = LightPlan(find_signals(carla_map, lanes, LIGHT), lanes, junctions)
    signs = [s for kind in (STOP, YIELD, SPEED) for s in find_signals(carla_map, lanes, kind)]
    return RoadMap(
        carla_map,
        lanes,
        junctions,
        lights,
        tuple(signs),
        tuple(lanes.spawn_points()),
        find_walkways(carla_map, lanes),
        curve_speed(lanes),
        way_ranks(lanes, signs),
    )
