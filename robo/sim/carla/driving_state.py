"""What detectors, signals and the bird's-eye raster read of one simulator step: plain numpy.

The frame is CARLA's: x forward (east), y to the right, z up, left-handed. Yaw is in radians and
grows clockwise seen from above, so that ``(cos yaw, sin yaw)`` points forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

RED, YELLOW, GREEN, OFF, UNKNOWN = range(5)
"""Traffic light states, numbered as ``carla.TrafficLightState``."""


def _none() -> Bodies:
    return Bodies.empty()


@dataclass
class Bodies:
    """K vehicles, walkers or static props, as oriented boxes."""

    id: np.ndarray
    """int64 ``[K]``, actor ids."""
    center: np.ndarray
    """float64 ``[K, 3]``, m: centre of the bounding box in the world."""
    yaw: np.ndarray
    """float64 ``[K]``, rad."""
    velocity: np.ndarray
    """float64 ``[K, 3]``, m/s, in the world frame."""
    extent: np.ndarray
    """float64 ``[K, 3]``, m: half length, half width, half height."""
    lights: np.ndarray
    """int64 ``[K]``: flags of ``carla.VehicleLightState``; 0 for everything but vehicles."""

    @classmethod
    def empty(cls) -> Bodies:
        """No bodies at all."""
        return cls(
            id=np.zeros(0, np.int64),
            center=np.zeros((0, 3)),
            yaw=np.zeros(0),
            velocity=np.zeros((0, 3)),
            extent=np.zeros((0, 3)),
            lights=np.zeros(0, np.int64),
        )

    def __len__(self) -> int:
        """Number of bodies K."""
        return len(self.yaw)

    # Bodies are read by several detectors and by the raster, and never change once read.
    @cached_property
    def heading(self) -> np.ndarray:
        """Unit heading ``[K, 2]``."""
        heading = np.empty((len(self.yaw), 2))
        np.cos(self.yaw, out=heading[:, 0])
        np.sin(self.yaw, out=heading[:, 1])
        return heading

    @cached_property
    def forward_speed(self) -> np.ndarray:
        """Speed along each body's own heading ``[K]``, m/s, negative when reversing."""
        return self.velocity[:, 0] * self.heading[:, 0] + self.velocity[:, 1] * self.heading[:, 1]


@dataclass
class Ego:
    """The driven vehicle."""

    location: np.ndarray
    """float64 ``[3]``, m: the actor's origin."""
    yaw: float
    """rad."""
    velocity: np.ndarray
    """float64 ``[3]``, m/s, in the world frame."""
    acceleration: np.ndarray
    """float64 ``[3]``, m/s², in the world frame."""
    extent: np.ndarray
    """float64 ``[3]``, m: half length, half width, half height."""
    box_center: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """float64 ``[3]``, m: centre of the bounding box in the vehicle's frame."""
    steer: float = 0.0
    """Last steering command in [-1, 1], right positive."""
    throttle: float = 0.0
    """Last throttle command in [0, 1]."""
    brake: float = 0.0
    """Last brake command in [0, 1]."""
    gear: int = 0
    """Current gear."""

    @property
    def forward(self) -> np.ndarray:
        """Unit heading ``[2]``."""
        return np.array([np.cos(self.yaw), np.sin(self.yaw)])

    @property
    def forward_speed(self) -> float:
        """Speed along the heading, m/s, negative when reversing."""
        return float(self.velocity[0] * np.cos(self.yaw) + self.velocity[1] * np.sin(self.yaw))

    @property
    def speed(self) -> float:
        """Speed in the plane, m/s, never negative."""
        return float(np.hypot(self.velocity[0], self.velocity[1]))

    @property
    def center(self) -> np.ndarray:
        """Centre of the bounding box in the world ``[3]``, m."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x, y, z = self.box_center
        return self.location + np.array([cos * x - sin * y, sin * x + cos * y, z])


@dataclass(frozen=True)
class CollisionEvent:
    """One contact of the ego in the last step, as the collision sensor reports it."""

    other: str
    """"vehicle", "walker" or "static"."""
    other_id: int = 0
    """Actor id; 0 for the static world."""
    impulse: float = 0.0
    """Length of the normal impulse, N s."""


@dataclass
class DrivingState:
    """The state after one step, filled by the environment and read by everything else here."""

    time: float
    """Seconds since the episode began."""
    delta: float
    """Seconds since the last step (0.1 at 10 Hz)."""
    ego: Ego
    vehicles: Bodies = field(default_factory=_none)
    """All vehicles but the ego."""
    walkers: Bodies = field(default_factory=_none)
    """Pedestrians."""
    statics: Bodies = field(default_factory=_none)
    """Static props (obstacles)."""
    light_state: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    """int8 ``[S]``: state of the light of each stop line of ``light_stop_lines(map)``."""
    light_remaining: np.ndarray | None = None
    """float64 ``[S]``, s until the light changes; None where unknown. Only the raster's ramp of
    yellow lines reads it."""
    speed_limit: float = 0.0
    """km/h, as ``carla.Vehicle.get_speed_limit`` gives it; 0 where not known yet."""
    collisions: tuple[CollisionEvent, ...] = ()
    """Contacts of the ego since the last step."""
