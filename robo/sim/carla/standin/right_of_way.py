"""Who may enter a junction: lights, signs, and one at a time where ways cross.

A vehicle reserves its way through a junction before it enters and gives it back behind it. Ways
that cross or merge are never reserved by two vehicles at once, unless patience ran out.
"""

from __future__ import annotations

import numpy as np

from robo.sim.carla.standin.landmarks import STOP
from robo.sim.carla.standin.lanes import LaneGraph
from robo.sim.carla.standin.road_map import RoadMap
from robo.sim.carla.standin.traffic_lights import RED, YELLOW

SOON = 4.0
"""Seconds in which a vehicle with priority has to arrive to be waited for."""
FIRM_BRAKE = 3.0
"""m/s^2 that a yellow light is worth."""
INSIST, SQUEEZE, FORCE = 8.0, 25.0, 45.0
"""Seconds of waiting after which a vehicle no longer yields to approaching ones, to a full exit,
and to reservations."""
PREDICTION = np.array([0.0, 0.7, 1.4, 2.1, 2.8])
"""Seconds ahead at which other traffic is imagined."""
KEEP_CLEAR = 2.6
"""Metres from a way that others have to stay away."""


class RightOfWay:
    """Reservations of ways through junctions.

    Attributes:
        holders: vehicles (actor ids) that hold each way.
    """

    def __init__(self, road_map: RoadMap) -> None:
        """Nothing is reserved."""
        self.graph: LaneGraph = road_map.lanes
        self.conflicts = road_map.junctions.conflicts
        self.rank = road_map.ranks
        self.way_light = road_map.lights.way_light
        self.must_stop = {way for sign in road_map.signs if sign.type == STOP for way in sign.ways}
        self.holders: dict[int, list[int]] = {}
        self._points: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def take(self, way: int, id: int) -> None:
        """Reserve a way for a vehicle."""
        self.holders.setdefault(way, []).append(id)

    def give_back(self, way: int, id: int) -> None:
        """End a reservation, if there is one."""
        if id in self.holders.get(way, ()):
            self.holders[way].remove(id)

    def taken(self, way: int, id: int) -> bool:
        """Whether another vehicle holds a way that crosses or merges with this one."""
        holders = self.holders
        return any(
            holder != id for other in self.conflicts[way] for holder in holders.get(other, ())
        )

    def light_allows(self, way: int, color: list[int], distance: float, speed: float) -> bool:
        """Whether the light lets a vehicle pass that is ``distance`` m before its stop line."""
        light = self.way_light.get(way)
        if light is None:
            return True
        shown = color[light]
        if shown == RED:
            return False
        if shown == YELLOW:
            return distance < speed * speed / (2.0 * FIRM_BRAKE)
        return True

    def must_yield(
        self, way: int, id: int, approaching: dict[int, list[tuple[int, float]]]
    ) -> bool:
        """Whether a vehicle of a better rank is about to enter a conflicting way.

        Args:
            way: the way asked for.
            id: the vehicle that asks.
            approaching: (actor id, seconds to the entry) of the vehicles that may enter each way.
        """
        own = self.rank[way]
        return any(
            other_id != id and seconds < SOON
            for other in self.conflicts[way]
            if self.rank[other] < own
            for other_id, seconds in approaching.get(other, ())
        )

    def is_crossed(self, way: int, others: np.ndarray) -> bool:
        """Whether vehicles that the server does not drive are about to come near a way.

        Args:
            way: a way through a junction.
            others: their x, y (m), velocity x, y (m/s), [K, 4].
        """
        if not len(others):
            return False
        if way not in self._points:
            nodes = slice(self.graph.first[way], self.graph.last[way] + 1, 2)
            self._points[way] = self.graph.x[nodes], self.graph.y[nodes]
        px, py = self._points[way]
        x = (others[:, 0, None] + others[:, 2, None] * PREDICTION).ravel()
        y = (others[:, 1, None] + others[:, 3, None] * PREDICTION).ravel()
        away = (x[:, None] - px) ** 2 + (y[:, None] - py) ** 2
        return bool(away.min() < KEEP_CLEAR * KEEP_CLEAR)
