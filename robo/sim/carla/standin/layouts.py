"""Every layout of the CARLA 0.9.16 wire protocol: msgpack structs, binary structs and their order.

RPC values are msgpack arrays. Records that travel in both directions are named tuples in the
order of the wire, so that they pack as they are. Streams carry packed little-endian structs.
A transform inside the server is one tuple (x, y, z, pitch, yaw, roll) in metres and degrees, in
CARLA's left-handed frame (x forward, y right, z up). Distances are metres, times seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

VERSION = "0.9.16"

Transform6 = tuple[float, float, float, float, float, float]
"""x, y, z in metres, then pitch, yaw, roll in degrees."""

# --- RPC answers -------------------------------------------------------------------------------

VOID: list[Any] = [False]
"""Answer of a call without a value that went well."""


def value(content: Any) -> list[Any]:
    """Answer that carries a value."""
    return [[1, content]]


def error(text: str) -> list[Any]:
    """Answer of a failed call that has a value; the client raises RuntimeError(text)."""
    return [[0, [text]]]


def void() -> list[Any]:
    """Answer of a call without a value."""
    return [VOID]


def void_error(text: str) -> list[Any]:
    """Answer of a failed call without a value."""
    return [[True, [text]]]


def optional(content: Any) -> list[Any]:
    """A value that may be absent (None)."""
    return [False] if content is None else [True, content]


def from_optional(message: Sequence[Any]) -> Any:
    """Inverse of :func:`optional`."""
    return message[1] if message[0] else None


# --- Geometry ----------------------------------------------------------------------------------


def transform(pose: Sequence[float]) -> list[list[float]]:
    """Transform: [location, rotation] with rotation [pitch, yaw, roll]."""
    return [list(pose[:3]), list(pose[3:6])]


def from_transform(message: Sequence[Sequence[float]]) -> Transform6:
    """Inverse of :func:`transform`."""
    (x, y, z), (pitch, yaw, roll) = message
    return float(x), float(y), float(z), float(pitch), float(yaw), float(roll)


def bounding_box(
    center: Sequence[float],
    extent: Sequence[float],
    rotation: Sequence[float] = (0.0, 0.0, 0.0),
    actor: int = 0,
) -> list[Any]:
    """Bounding box: centre, half sizes, rotation (pitch, yaw, roll), actor id (new in 0.9.16)."""
    return [list(center), list(extent), list(rotation), actor]


# --- Streams' addresses ------------------------------------------------------------------------

TOKEN = struct.Struct("<IHBB16s")
"""Stream id, port, protocol (1 = TCP), address type (0 = none, 1 = IPv4), address."""


def stream_token(stream: int, port: int) -> bytes:
    """The 24 bytes that tell a client where to fetch a stream: on the host it is connected to."""
    return TOKEN.pack(stream, port, 1, 0, b"")


def token(stream: bytes) -> list[bytes]:
    """Token as a struct of its own (an actor holds the bare bytes)."""
    return [stream]


# --- Episode -----------------------------------------------------------------------------------


class EpisodeSettings(NamedTuple):
    """Settings of the world, in wire order."""

    synchronous_mode: bool = False
    no_rendering_mode: bool = False
    fixed_delta_seconds: float | None = None
    substepping: bool = True
    max_substep_delta_time: float = 0.01
    max_substeps: int = 10
    max_culling_distance: float = 0.0
    deterministic_ragdolls: bool = False
    tile_stream_distance: float = 3000.0
    actor_active_distance: float = 2000.0
    spectator_as_ego: bool = True

    def message(self) -> list[Any]:
        """As sent."""
        return [*self[:2], optional(self.fixed_delta_seconds), *self[3:]]

    @classmethod
    def parse(cls, message: Sequence[Any]) -> EpisodeSettings:
        """As received; a fixed step of 0 means none."""
        return cls._make([*message[:2], from_optional(message[2]) or None, *message[3:]])


def episode_info(episode: int, stream: bytes) -> list[Any]:
    """Episode id and the token of the world observer."""
    return [episode, token(stream)]


def map_info(name: str, spawn_points: Iterable[Sequence[float]]) -> list[Any]:
    """Name of the map and its recommended spawn points."""
    return [name, [transform(pose) for pose in spawn_points]]


# --- Actors ------------------------------------------------------------------------------------


def actor_attribute(
    name: str, kind: int, content: str, recommended: Sequence[str], modifiable: bool, restrict: bool
) -> list[Any]:
    """Attribute of a blueprint; kinds: 1 bool, 2 int, 3 float, 4 string, 5 RGB colour."""
    return [name, kind, content, list(recommended), modifiable, restrict]


def actor_definition(
    uid: int, type_id: str, tags: Sequence[str], attributes: Sequence[list[Any]]
) -> list[Any]:
    """A blueprint."""
    return [uid, type_id, ",".join(tags), list(attributes)]


def actor_description(
    uid: int, type_id: str, attributes: Iterable[tuple[str, int, str]]
) -> list[Any]:
    """What an actor was made from."""
    return [uid, type_id, [list(attribute) for attribute in attributes]]


class Description(NamedTuple):
    """A request to spawn, as received."""

    uid: int
    type_id: str
    attributes: list[list[Any]]

    def values(self) -> dict[str, str]:
        """Values of the attributes by name."""
        return {name: str(content) for name, _, content in self.attributes}


def actor(
    id: int,
    parent: int,
    description: list[Any],
    box: list[Any],
    semantic_tags: bytes,
    stream: bytes = b"",
) -> list[Any]:
    """An actor; ``stream`` is empty or the 24-byte token of its data."""
    return [id, parent, description, box, semantic_tags, stream]


class VehicleControl(NamedTuple):
    """Pedals 0 to 1, steer -1 (left) to 1."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    manual_gear_shift: bool = False
    gear: int = 0


class AckermannControl(NamedTuple):
    """Steer (rad), steer speed (rad/s), speed (m/s), acceleration (m/s^2), jerk (m/s^3)."""

    steer: float = 0.0
    steer_speed: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    jerk: float = 0.0


class AckermannSettings(NamedTuple):
    """Gains of the controller that follows an :class:`AckermannControl`."""

    speed_kp: float = 0.15
    speed_ki: float = 0.0
    speed_kd: float = 0.25
    accel_kp: float = 0.01
    accel_ki: float = 0.0
    accel_kd: float = 0.01


class WalkerControl(NamedTuple):
    """Direction (unit vector), speed (m/s), jump."""

    direction: Sequence[float] = (1.0, 0.0, 0.0)
    speed: float = 0.0
    jump: bool = False


class WheelPhysics(NamedTuple):
    """A wheel; radius and position (world frame) in centimetres, torques in N m, steer in deg."""

    tire_friction: float
    damping_rate: float
    max_steer_angle: float
    radius: float
    max_brake_torque: float
    max_handbrake_torque: float
    lat_stiff_max_load: float
    lat_stiff_value: float
    long_stiff_value: float
    position: Sequence[float]


class VehiclePhysics(NamedTuple):
    """Physics of a vehicle; curves are lists of [x, y], mass in kg."""

    torque_curve: Sequence[Sequence[float]]
    max_rpm: float
    moi: float
    damping_rate_full_throttle: float
    damping_rate_zero_throttle_clutch_engaged: float
    damping_rate_zero_throttle_clutch_disengaged: float
    use_gear_autobox: bool
    gear_switch_time: float
    clutch_strength: float
    final_ratio: float
    forward_gears: Sequence[Sequence[float]]
    mass: float
    drag_coefficient: float
    center_of_mass: Sequence[float]
    steering_curve: Sequence[Sequence[float]]
    wheels: Sequence[WheelPhysics | Sequence[Any]]
    use_sweep_wheel_collision: bool


WEATHER_FIELDS = (
    "cloudiness",
    "precipitation",
    "precipitation_deposits",
    "wind_intensity",
    "sun_azimuth_angle",
    "sun_altitude_angle",
    "fog_density",
    "fog_distance",
    "fog_falloff",
    "wetness",
    "scattering_intensity",
    "mie_scattering_scale",
    "rayleigh_scattering_scale",
    "dust_storm",
)
CLEAR_NOON = [5.0, 0.0, 0.0, 10.0, -1.0, 45.0, 2.0, 0.75, 0.1, 0.0, 1.0, 0.03, 0.0331, 0.0]


def light_state(
    id: int,
    location: Sequence[float],
    intensity: float,
    group: int,
    color: Sequence[int],
    active: bool,
) -> list[Any]:
    """A lamp of the map: group 1 vehicle, 2 street, 3 building, 4 other."""
    return [id, list(location), intensity, group, list(color), active]


def environment_object(
    pose: Sequence[float], box: list[Any], id: int, name: str, kind: int
) -> list[Any]:
    """A fixed part of the map; ``kind`` is a semantic tag."""
    return [transform(pose), box, id, name, kind]


def labelled_point(location: Sequence[float], label: int) -> list[Any]:
    """A point on a surface, and the surface's semantic tag."""
    return [list(location), label]


COMMANDS = (
    "spawn_actor",
    "destroy_actor",
    "vehicle_control",
    "ackermann_control",
    "walker_control",
    "vehicle_physics",
    "transform",
    "walker_state",
    "target_velocity",
    "target_angular_velocity",
    "impulse",
    "force",
    "angular_impulse",
    "torque",
    "simulate_physics",
    "enable_gravity",
    "autopilot",
    "debug_telemetry",
    "light_state",
    "location",
    "console",
    "traffic_light_state",
)
"""Order of the variant in which batch commands travel, each as [[index, struct]]."""
