"""The actors of the world: what each is, and the arrays in which all of them move."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from robo.sim.carla.standin.layouts import Transform6
from robo.sim.carla.standin.layouts_streams import (
    ACTOR_STATE,
    STATE_OFFSET,
    VEHICLE_CONTROL,
    VEHICLE_STATE,
)

LOCATION, ROTATION, VELOCITY, ANGULAR, ACCELERATION = (
    slice(first, first + 3) for first in range(0, 15, 3)
)
"""Columns of :attr:`ActorTable.state`: m; degrees (pitch, yaw, roll); m/s; deg/s; m/s^2."""

DRIVE_COLUMNS = (
    "throttle",
    "steer",
    "brake",
    "hand_brake",
    "reverse",
    "wheel",
    "speed",
    "slide_x",
    "slide_y",
    "spin",
    "rear",
    "power",
    "drag",
    "mass",
    "extent_x",
    "extent_y",
    "center_x",
    "center_y",
    "radius",
    "low",
    "high",
    "direction_x",
    "direction_y",
    "walk",
)
"""Columns of :attr:`ActorTable.drive`, see :data:`DRIVE`."""
DRIVE = {name: column for column, name in enumerate(DRIVE_COLUMNS)}
"""Pedals and steer as commanded; wheel: steer as reached; speed along the heading and slide
(world frame) in m/s; spin in deg/s; rear: metres from the reference point to the rear axle; power
(m^2/s^3 per kg) and drag (1/m) of the engine and body; mass in kg; half sizes, centre and radius of
the box in metres; low and high: its bottom and top above the origin; direction and walk (m/s): a
walker's command."""

_STATE_BYTES = slice(5, STATE_OFFSET)
_PEDALS = struct.Struct("=5d")
"""The first five of :data:`DRIVE_COLUMNS`."""
_MANUAL = STATE_OFFSET + VEHICLE_STATE.fields["manual_gear_shift"][1]  # type: ignore[index]


@dataclass
class Actor:
    """One actor. Where it is stands in row ``row`` of the world's table."""

    id: int
    """Unique in an episode, from 1."""
    type_id: str
    """Such as ``vehicle.tesla.model3``."""
    kind: str
    """vehicle, walker, traffic_light, traffic_sign, sensor, spectator, controller or prop."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Blueprint attributes by name."""
    parent: int = 0
    """Actor it is attached to, or 0."""
    attachment: int = 0
    """0 rigid, 1 spring arm, 2 spring arm ghost."""
    extent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Half sizes of its box, metres; of a light or sign: of its trigger volume."""
    box_center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the box in the actor's frame, metres."""
    semantic_tags: bytes = b""
    """Tags of its pixels in semantic images."""
    row: int = -1
    """Index into the table's arrays; changes when another actor is destroyed."""
    relative: Transform6 | None = None
    """Pose in the parent's frame, of an attached actor."""
    simulated: bool = True
    """Whether physics moves it."""
    autopilot: bool = False
    """Whether the server drives it."""

    @property
    def driver_seed(self) -> int:
        """Seed of what drives it: N of ``role_name`` ``autopilot:N``, else its id.

        Clients name N so that traffic repeats whatever was spawned before it.
        """
        seed = self.attributes.get("role_name", "").partition(":")[2]
        return int(seed) if seed.isdecimal() else self.id


class ActorTable:
    """Rows of all actors, in the order of their creation.

    Attributes:
        count: number of actors; rows beyond it are spare.
        state: location, rotation, velocity, angular velocity, acceleration, float64 [capacity, 15].
        drive: commands, dynamics and boxes (:data:`DRIVE`), float64 [capacity, D].
        records: what the world observer sends, :data:`layouts_streams.ACTOR_STATE` [capacity]; the
            60 bytes of the state are written by :meth:`snapshot`.
    """

    def __init__(self, capacity: int = 64) -> None:
        """Without actors."""
        self.count = 0
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        old = (self.state, self.drive, self.records) if self.count else ()
        self.state = np.zeros((capacity, 15))
        self.drive = np.zeros((capacity, len(DRIVE)))
        self.records = np.zeros(capacity, ACTOR_STATE)
        for before, now in zip(old, (self.state, self.drive, self.records), strict=False):
            now[: self.count] = before[: self.count]
        self._raw = self.records.view(np.uint8).reshape(capacity, ACTOR_STATE.itemsize)
        # Single numbers are written through these: numpy takes five times as long for them.
        self._record_bytes, self._drive_bytes = self._raw.data.cast("B"), self.drive.data.cast("B")

    def clear(self) -> None:
        """Forget all actors."""
        self.count = 0

    def append(self, actor: Actor, pose: Transform6) -> int:
        """Give an actor a row at rest at a pose, and return the row."""
        if self.count == len(self.state):
            self._allocate(2 * self.count)
        row = actor.row = self.count
        self.count += 1
        self.state[row] = 0.0
        self.state[row, :6] = pose
        self.drive[row] = 0.0
        self._raw[row] = 0
        self.records[row]["id"] = actor.id
        self.records[row]["state"] = 1
        self._set_box(actor)
        return row

    def _set_box(self, actor: Actor) -> None:
        drive = self.drive[actor.row]
        (ex, ey, ez), (cx, cy, cz) = actor.extent, actor.box_center
        drive[DRIVE["extent_x"]], drive[DRIVE["extent_y"]] = ex, ey
        drive[DRIVE["center_x"]], drive[DRIVE["center_y"]] = cx, cy
        drive[DRIVE["radius"]] = float(np.hypot(ex, ey) + np.hypot(cx, cy))
        drive[DRIVE["low"]], drive[DRIVE["high"]] = cz - ez, cz + ez

    def write_control(
        self,
        row: int,
        throttle: float,
        steer: float,
        brake: float,
        hand_brake: bool,
        reverse: bool,
        backwards: bool,
    ) -> None:
        """Take pedals and steer within their ranges; ``backwards``: what the gear says, too."""
        pedals = (throttle, steer, brake, hand_brake)
        _PEDALS.pack_into(self._drive_bytes, row * self.drive.strides[0], *pedals, backwards)
        place = row * ACTOR_STATE.itemsize + STATE_OFFSET
        VEHICLE_CONTROL.pack_into(self._record_bytes, place, *pedals, reverse)

    def shifts_manually(self, row: int) -> bool:
        """Whether a vehicle's gear is its client's choice."""
        return bool(self._record_bytes[row * ACTOR_STATE.itemsize + _MANUAL])

    def remove(self, row: int) -> None:
        """Drop a row; rows above move down by one."""
        end = self.count
        for array in (self.state, self.drive, self._raw):
            array[row : end - 1] = array[row + 1 : end].copy()
        self.count -= 1

    def snapshot(self) -> np.ndarray:
        """All actors as the world observer sends them, a copy, ACTOR_STATE [count]."""
        return np.frombuffer(bytearray(self.packed()), ACTOR_STATE)

    def packed(self) -> bytes:
        """The bytes of :meth:`snapshot`, copied as such: field by field takes far longer."""
        end = self.count
        words = self.state[:end].astype("<f4")
        self._raw[:end, _STATE_BYTES] = words.view(np.uint8)
        return self._raw[:end].tobytes()

    def pose(self, row: int) -> Transform6:
        """x, y, z (m), pitch, yaw, roll (degrees) of a row."""
        return tuple(self.state[row, :6].tolist())  # type: ignore[return-value]
