"""RPCs about traffic lights, and about the lamps of the map."""

from __future__ import annotations

import math
from typing import Any

from robo.sim.carla.standin import layouts
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.handlers import serves
from robo.sim.carla.standin.service import Service

STATES = 5


def seconds(number: float, what: str) -> float:
    """A duration; raises StandinError unless it is finite and not negative."""
    if not (math.isfinite(number) and number >= 0):
        raise StandinError(f"the {what} time is {number}, expected 0 s or more")
    return float(number)


@serves("set_traffic_light_state", "void")
def set_traffic_light_state(service: Service, id: int, state: int) -> None:
    """Set a light; its cycle goes on from there."""
    service.actor(id, "traffic_light")
    if not 0 <= state < STATES:
        raise StandinError(f"the light's state is {state}, expected 0 to {STATES - 1}")
    service.world.set_light_state(id, state)


@serves("set_traffic_light_green_time", "void")
def set_traffic_light_green_time(service: Service, id: int, time: float) -> None:
    """Seconds of green."""
    service.actor(id, "traffic_light")
    service.world.set_light_times(id, green=seconds(time, "green"))


@serves("set_traffic_light_yellow_time", "void")
def set_traffic_light_yellow_time(service: Service, id: int, time: float) -> None:
    """Seconds of yellow."""
    service.actor(id, "traffic_light")
    service.world.set_light_times(id, yellow=seconds(time, "yellow"))


@serves("set_traffic_light_red_time", "void")
def set_traffic_light_red_time(service: Service, id: int, time: float) -> None:
    """Seconds of red."""
    service.actor(id, "traffic_light")
    service.world.set_light_times(id, red=seconds(time, "red"))


@serves("freeze_traffic_light", "void")
def freeze_traffic_light(service: Service, id: int, frozen: bool) -> None:
    """Stop or start a light's cycle."""
    service.actor(id, "traffic_light")
    service.world.freeze_light(id, bool(frozen))


@serves("freeze_all_traffic_lights", "void")
def freeze_all_traffic_lights(service: Service, frozen: bool) -> None:
    """Stop or start every light's cycle."""
    service.world.freeze_all(bool(frozen))


@serves("reset_traffic_light_group", "void")
def reset_traffic_light_group(service: Service, id: int) -> None:
    """Start the cycle of a light's group anew."""
    service.actor(id, "traffic_light")
    service.world.reset_light_group(id)


@serves("reset_all_traffic_lights", "void")
def reset_all_traffic_lights(service: Service) -> None:
    """Start every cycle anew."""
    service.world.reset_lights()


@serves("get_group_traffic_lights")
def get_group_traffic_lights(service: Service, id: int) -> list[int]:
    """Lights of the same junction."""
    service.actor(id, "traffic_light")
    return list(service.world.light_group(id))


@serves("get_light_boxes")
def get_light_boxes(service: Service, id: int) -> list[Any]:
    """Boxes of a light's lamps, in the world's frame."""
    service.actor(id, "traffic_light")
    return [
        layouts.bounding_box(center, extent, rotation, id)
        for center, extent, rotation in service.world.light_boxes(id)
    ]


@serves("query_lights_state")
def query_lights_state(service: Service, client: str) -> list[Any]:
    """Street lamps: the town has none."""
    return []


@serves("update_lights_state", "void")
def update_lights_state(
    service: Service, client: str, lights: list[Any], discard: bool = False
) -> None:
    """Accepted: the town has no street lamps."""


@serves("update_day_night_cycle", "void")
def update_day_night_cycle(service: Service, client: str, active: bool) -> None:
    """Accepted: the town has no street lamps."""
