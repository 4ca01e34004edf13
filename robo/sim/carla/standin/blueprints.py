"""What can be spawned: vehicles, walkers, sensors, the walker controller, static props.

Sizes and masses are those that the models have in CARLA 0.9.16 (rounded); the vehicles' bodies
are boxes on four wheels (or two) here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robo.sim.carla.standin import layouts

BOOL, INT, FLOAT, STRING, COLOR = 1, 2, 3, 4, 5
"""Kinds of attribute values."""

TAG_PEDESTRIAN, TAG_RIDER, TAG_CAR, TAG_TRUCK, TAG_BUS = 12, 13, 14, 15, 16
TAG_MOTORCYCLE, TAG_BICYCLE, TAG_STATIC, TAG_DYNAMIC = 18, 19, 20, 21
TAG_TRAFFIC_LIGHT, TAG_TRAFFIC_SIGN = 7, 8


@dataclass(frozen=True)
class Attribute:
    """One setting of a blueprint."""

    id: str
    """Name."""
    type: int
    """Kind of the value, one of BOOL, INT, FLOAT, STRING, COLOR."""
    value: str
    """Default."""
    recommended: tuple[str, ...] = ()
    """Values to choose from."""
    modifiable: bool = True
    """Whether a client may set it."""
    restrict: bool = False
    """Whether only recommended values are allowed."""


@dataclass(frozen=True)
class Blueprint:
    """A type of actor."""

    type_id: str
    """Such as ``vehicle.tesla.model3``."""
    kind: str
    """``vehicle``, ``walker``, ``sensor``, ``controller`` or ``prop``."""
    attributes: tuple[Attribute, ...] = ()
    """Settings and their defaults."""
    extent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Half sizes in metres: x forward, y right, z up."""
    box_center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the box from the actor's origin (vehicles: on the ground; walkers: mid-height)."""
    semantic_tags: bytes = b""
    """Tags of its pixels in the semantic camera."""
    wheels: int = 0
    """Number of wheels of a vehicle."""
    mass: float = 0.0
    """kg."""
    wheelbase: float = 0.0
    """Metres between the axles."""
    max_steer: float = 70.0
    """Largest angle of the front wheels, degrees."""
    top_speed: float = 0.0
    """Where drive force and drag balance, m/s."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Words that :meth:`carla.BlueprintLibrary.filter` finds."""
        return tuple(self.type_id.split("."))

    def defaults(self) -> dict[str, str]:
        """Default value of each attribute."""
        return {attribute.id: attribute.value for attribute in self.attributes}

    def attribute_types(self) -> dict[str, int]:
        """Kind of each attribute's value."""
        return {attribute.id: attribute.type for attribute in self.attributes}


def _fixed(name: str, kind: int, content: str) -> Attribute:
    """A property that clients read and cannot set."""
    return Attribute(name, kind, content, modifiable=False)


def _vehicle(
    model: str,
    extent: tuple[float, float, float],
    *,
    mass: float,
    tag: int = TAG_CAR,
    base_type: str = "car",
    special_type: str = "",
    wheels: int = 4,
    max_steer: float = 70.0,
    top_speed: float = 45.0,
    tags: bytes = b"",
) -> Blueprint:
    """A vehicle whose origin lies on the ground under its middle."""
    attributes = (
        Attribute("role_name", STRING, "scenario", ("autopilot", "scenario", "ego_vehicle")),
        Attribute("color", COLOR, "17,37,103", ("17,37,103", "180,180,180", "140,20,20", "0,0,0")),
        Attribute("driver_id", INT, "0"),
        Attribute("sticky_control", BOOL, "true"),
        Attribute("terramechanics", BOOL, "false"),
        _fixed("object_type", STRING, ""),
        _fixed("base_type", STRING, base_type),
        _fixed("special_type", STRING, special_type),
        _fixed("generation", INT, "1"),
        _fixed("number_of_wheels", INT, str(wheels)),
        _fixed("has_lights", BOOL, "true" if wheels == 4 else "false"),
        _fixed("has_dynamic_doors", BOOL, "false"),
        Attribute("ros_name", STRING, f"vehicle.{model}"),
    )
    return Blueprint(
        type_id=f"vehicle.{model}",
        kind="vehicle",
        attributes=attributes,
        extent=extent,
        box_center=(0.0, 0.0, extent[2]),
        semantic_tags=tags or bytes([tag]),
        wheels=wheels,
        mass=mass,
        wheelbase=round(1.2 * extent[0], 3),
        max_steer=max_steer,
        top_speed=top_speed,
    )


def _walker(number: int, *, age: str = "adult", gender: str = "female") -> Blueprint:
    """A pedestrian whose origin lies at mid-height."""
    height = 0.93 if age == "adult" else 0.55
    width = 0.1877 if age == "adult" else 0.125
    walk, run = ("1.4", "2.8") if age == "adult" else ("1.1", "2.2")
    return Blueprint(
        type_id=f"walker.pedestrian.{number:04d}",
        kind="walker",
        attributes=(
            Attribute("role_name", STRING, "pedestrian"),
            Attribute("is_invincible", BOOL, "true"),
            Attribute("speed", FLOAT, "0.0", ("0.0", walk, run)),
            Attribute("can_use_wheelchair", BOOL, "false", modifiable=False),
            Attribute("use_wheelchair", BOOL, "false"),
            _fixed("age", STRING, age),
            _fixed("gender", STRING, gender),
            _fixed("generation", INT, "1"),
            Attribute("ros_name", STRING, f"walker.pedestrian.{number:04d}"),
        ),
        extent=(width, width, height),
        semantic_tags=bytes([TAG_PEDESTRIAN]),
        mass=75.0 if age == "adult" else 30.0,
    )


def _sensor(name: str, **defaults: str) -> Blueprint:
    """A sensor; kinds of values follow from the defaults' text."""
    common = {"role_name": "front", "sensor_tick": "0.0", "ros_name": f"sensor.{name}"}
    attributes = tuple(
        Attribute(key, _kind(content), content) for key, content in {**common, **defaults}.items()
    )
    return Blueprint(f"sensor.{name}", "sensor", attributes)


def _kind(content: str) -> int:
    """Kind of an attribute's value, from its text."""
    if content in ("true", "false"):
        return BOOL
    if content.lstrip("-").isdigit():
        return INT
    try:
        float(content)
    except ValueError:
        return STRING
    return FLOAT


def _prop(name: str, extent: tuple[float, float, float], tag: int = TAG_DYNAMIC) -> Blueprint:
    """A thing that stands on the ground."""
    return Blueprint(
        type_id=f"static.prop.{name}",
        kind="prop",
        attributes=(
            Attribute("role_name", STRING, "prop"),
            Attribute("size", STRING, "medium", modifiable=False),
            Attribute("ros_name", STRING, f"static.prop.{name}"),
        ),
        extent=extent,
        box_center=(0.0, 0.0, extent[2]),
        semantic_tags=bytes([tag]),
        mass=20.0,
    )


_CAMERA = {"image_size_x": "800", "image_size_y": "600", "fov": "90.0"}
_LIDAR = {
    "channels": "32",
    "range": "10.0",
    "points_per_second": "56000",
    "rotation_frequency": "10.0",
    "upper_fov": "10.0",
    "lower_fov": "-30.0",
    "horizontal_fov": "360.0",
}
_LIDAR_LOSSES = {
    "atmosphere_attenuation_rate": "0.004",
    "dropoff_general_rate": "0.45",
    "dropoff_intensity_limit": "0.8",
    "dropoff_zero_intensity": "0.4",
    "noise_stddev": "0.0",
    "noise_seed": "0",
}
_GNSS = {
    f"noise_{axis}_{what}": "0.0" for axis in ("lat", "lon", "alt") for what in ("bias", "stddev")
}
_IMU = {
    **{f"noise_accel_stddev_{axis}": "0.0" for axis in "xyz"},
    **{f"noise_gyro_{what}_{axis}": "0.0" for what in ("stddev", "bias") for axis in "xyz"},
}


def _all() -> Iterable[Blueprint]:
    """Every blueprint, in the order in which clients list them."""
    yield _vehicle("tesla.model3", (2.396, 1.082, 0.744), mass=1845.0, top_speed=50.0)
    yield _vehicle("lincoln.mkz_2020", (2.446, 1.118, 0.745), mass=2404.0)
    yield _vehicle("audi.a2", (1.853, 0.894, 0.774), mass=1700.0)
    yield _vehicle("nissan.micra", (1.817, 0.923, 0.751), mass=1600.0, top_speed=40.0)
    yield _vehicle("mini.cooper_s", (1.903, 0.985, 0.738), mass=1430.0)
    yield _vehicle("ford.mustang", (2.359, 0.947, 0.650), mass=1800.0, top_speed=55.0)
    yield _vehicle("toyota.prius", (2.257, 1.003, 0.762), mass=1740.0)
    yield _vehicle(
        "volkswagen.t2", (2.240, 1.034, 1.019), mass=2000.0, base_type="van", top_speed=30.0
    )
    yield _vehicle(
        "carlamotors.carlacola",
        (2.602, 1.307, 1.234),
        mass=5500.0,
        tag=TAG_TRUCK,
        base_type="truck",
        top_speed=28.0,
    )
    yield _vehicle(
        "ford.ambulance",
        (3.183, 1.175, 1.215),
        mass=4000.0,
        base_type="van",
        special_type="emergency",
        top_speed=35.0,
    )
    yield _vehicle(
        "mitsubishi.fusorosa",
        (5.136, 1.972, 2.126),
        mass=7600.0,
        tag=TAG_BUS,
        base_type="bus",
        top_speed=28.0,
    )
    yield _vehicle(
        "kawasaki.ninja",
        (1.017, 0.401, 0.764),
        mass=400.0,
        base_type="motorcycle",
        wheels=2,
        tags=bytes([TAG_MOTORCYCLE, TAG_RIDER]),
        top_speed=50.0,
    )
    yield _vehicle(
        "bh.crossbike",
        (0.744, 0.430, 0.802),
        mass=120.0,
        base_type="bicycle",
        wheels=2,
        tags=bytes([TAG_BICYCLE, TAG_RIDER]),
        top_speed=10.0,
    )
    yield _walker(1)
    yield _walker(2, gender="male")
    yield _walker(3, gender="male")
    yield _walker(5)
    yield _walker(9, age="child")
    yield _walker(12, age="child", gender="male")
    yield Blueprint("controller.ai.walker", "controller")
    yield _sensor("other.collision")
    yield _sensor("other.lane_invasion")
    yield _sensor("other.gnss", noise_seed="0", **_GNSS)
    yield _sensor("other.imu", noise_seed="0", **_IMU)
    yield _sensor("camera.rgb", gamma="2.2", enable_postprocess_effects="true", **_CAMERA)
    yield _sensor("camera.semantic_segmentation", **_CAMERA)
    yield _sensor("camera.depth", **_CAMERA)
    yield _sensor("lidar.ray_cast", **_LIDAR, **_LIDAR_LOSSES)
    yield _sensor("lidar.ray_cast_semantic", **_LIDAR)
    yield _prop("trafficcone01", (0.19, 0.19, 0.36))
    yield _prop("streetbarrier", (0.60, 0.15, 0.53))
    yield _prop("constructioncone", (0.16, 0.16, 0.30))
    yield _prop("warningconstruction", (0.62, 0.33, 1.20))
    yield _prop("box01", (0.35, 0.35, 0.35))
    yield _prop("bench01", (0.90, 0.31, 0.50), TAG_STATIC)


BLUEPRINTS: dict[str, Blueprint] = {blueprint.type_id: blueprint for blueprint in _all()}
"""Every type of actor that can be spawned, by its id."""

UIDS: dict[str, int] = {type_id: number for number, type_id in enumerate(BLUEPRINTS, start=1)}
"""Number by which a request to spawn may name a blueprint."""


def definitions() -> list[list[Any]]:
    """Every blueprint as sent to clients."""
    return [
        layouts.actor_definition(
            UIDS[blueprint.type_id],
            blueprint.type_id,
            blueprint.tags,
            [
                layouts.actor_attribute(
                    attribute.id,
                    attribute.type,
                    attribute.value,
                    attribute.recommended,
                    attribute.modifiable,
                    attribute.restrict,
                )
                for attribute in blueprint.attributes
            ],
        )
        for blueprint in BLUEPRINTS.values()
    ]
