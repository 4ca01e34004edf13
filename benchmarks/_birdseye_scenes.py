"""Crowded places in a town, as what the bird's-eye raster reads: no server, no simulation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from robo.sim.carla.driving_state import GREEN, RED, YELLOW, Bodies, DrivingState, Ego
from robo.sim.carla.routes import Route
from robo.sim.carla.traffic_rules import light_stop_lines

if TYPE_CHECKING:
    import carla

ROUTE_LENGTH = 150
"""Metres of route ahead of the car: as far as the raster draws."""
HALF_CAR = (2.4, 1.0, 0.8)
"""Half length, width and height in metres."""
SPEED = 8.0
"""m/s of every car."""
PLACES = 50
"""Scenes of a town, about."""
SPACING = 10.0
"""Metres between two cars of a lane."""


class Scenes:
    """Scenes all over a town: a route ahead, cars close by, every light lit."""

    def __init__(self, city: carla.Map, vehicles: int) -> None:
        """Find places and routes.

        Args:
            city: map of the town.
            vehicles: cars around the ego, on the nearest places of the lanes.
        """
        self.vehicles = vehicles
        # In junctions lanes lie over each other, and so would the cars.
        waypoints = city.generate_waypoints(SPACING)
        roads = [waypoint for waypoint in waypoints if not waypoint.is_junction]
        found = [waypoint.transform for waypoint in roads]
        self._lanes = np.array([(at.location.x, at.location.y, 0.0) for at in found])
        self._lane_yaw = np.radians([at.rotation.yaw for at in found])
        # A map without a server has no spawn points.
        self._starts = roads[:: max(len(roads) // PLACES, 1)]
        self._routes = [_ahead(start) for start in self._starts]
        self._lights = np.resize([RED, YELLOW, GREEN], len(light_stop_lines(city)))

    def __len__(self) -> int:
        """How many scenes there are."""
        return len(self._starts)

    def scene(self, index: int) -> tuple[DrivingState, Route]:
        """A state of its own, with nothing computed yet, and the route; ``index`` wraps around."""
        index %= len(self)
        here = self._starts[index].transform
        ego = np.array([here.location.x, here.location.y, 0.0])
        away = np.hypot(*(self._lanes - ego)[:, :2].T)
        # The nearest place is the ego's own.
        near = np.argsort(away)[1 : self.vehicles + 1]
        count, yaw = len(near), self._lane_yaw[near]
        heading = np.stack([np.cos(yaw), np.sin(yaw), np.zeros(count)], 1)
        cars = Bodies(
            id=np.arange(count),
            center=self._lanes[near],
            yaw=yaw,
            velocity=SPEED * heading,
            extent=np.tile(HALF_CAR, (count, 1)),
            lights=np.zeros(count, np.int64),
        )
        zero = np.zeros(3)
        car = Ego(ego, math.radians(here.rotation.yaw), zero, zero, np.array(HALF_CAR))
        left = np.ones(len(self._lights))
        state = DrivingState(
            0.0, 0.1, car, vehicles=cars, light_state=self._lights, light_remaining=left
        )
        return state, self._routes[index]


def _ahead(waypoint: carla.Waypoint) -> Route:
    """The way straight on, or where that ends the first that goes on."""
    points, widths, inside = [], [], []
    for _ in range(ROUTE_LENGTH):
        at = waypoint.transform.location
        points.append((at.x, at.y, at.z))
        widths.append(waypoint.lane_width)
        inside.append(waypoint.is_junction)
        further = waypoint.next(1.0)
        if not further:
            break
        waypoint = further[0]
    return Route.from_samples(np.array(points), np.array(widths), np.array(inside))
