"""What can be set of a driving environment: its server, routes, traffic, picture and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from robo.errors import RoboError

STEP_SECONDS = 0.1
"""Length of one step: the policy acts at 10 Hz, one server tick per step."""


def _check_numbers(options: Any) -> None:
    """Refuse text where a number or a switch is expected: a command line may give either.

    Raises:
        RoboError: naming the option.
    """
    for item in fields(options):
        value = getattr(options, item.name)
        kinds = {"int": (Integral,), "float": (Real,), "bool": (bool, np.bool_)}
        wanted = kinds.get(str(item.type).removesuffix(" | None"))
        optional = value is None and str(item.type).endswith("None")
        if wanted is not None and not optional and not isinstance(value, wanted):
            kind = "true or false" if bool in wanted else "a number"
            raise RoboError(f"{item.name} is {value!r}, expected {kind}")


@dataclass(frozen=True)
class ServerOptions:
    """Which server to drive in, and how it is watched.

    Without ``port`` the environment starts its own: the stand-in for ``carla-standin/...``, the
    CARLA of ``carla_root`` for ``carla/...``. With ``port`` it uses the server that runs there
    and never ends it.
    """

    host: str = "127.0.0.1"
    """Address of a server that runs already; only used with ``port``."""
    port: int | None = None
    """RPC port of a server that runs already; None starts one per environment."""
    port_block: int = 0
    """Ports from one candidate to the next where another environment of this machine drives in the
    server at ``port`` (training beside evaluation, several processes); 0 refuses then. A vector of
    N environments sets N times ``port_step``."""
    carla_root: str | None = None
    """Folder of an unpacked CARLA 0.9.16, for ``carla/...`` without ``port``."""
    opendrive: str | None = None
    """Path of an ``.xodr`` file that the stand-in serves in place of the built-in town."""
    start_timeout: float = 60.0
    """Seconds that a server may take to start."""
    tick_timeout: float = 5.0
    """Seconds without an answer after which a server counts as lost."""
    episodes_per_server: int = 1000
    """A server that we started is replaced after so many episodes (leak budget); 0 for never."""
    traffic_manager: bool = False
    """Drive traffic by the client's TrafficManager (``carla/...``), on a port of its own."""
    rendering: bool = True
    """False starts a real server with ``-nullrhi``: no cameras, no graphics card."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _check_numbers(self)
        if self.port is not None and not 0 < self.port < 65536:
            raise RoboError(f"port is {self.port}, expected 1 ... 65535, or none to start a server")
        if min(self.start_timeout, self.tick_timeout) <= 0 or self.episodes_per_server < 0:
            raise RoboError(
                f"start_timeout {self.start_timeout} and tick_timeout {self.tick_timeout} must be "
                f"positive, episodes_per_server {self.episodes_per_server} at least 0"
            )


@dataclass(frozen=True)
class CameraPose:
    """Where a camera sits on the car: metres and degrees in CARLA's left-handed frame."""

    x: float = 0.0
    """Metres ahead of the car's origin."""
    y: float = 0.0
    """Metres to its right."""
    z: float = 1.6
    """Metres above the road."""
    pitch: float = 0.0
    """Degrees upwards."""
    yaw: float = 0.0
    """Degrees to the right of straight ahead."""
    fov: float = 90.0
    """Horizontal field of view in degrees."""


@dataclass(frozen=True)
class CameraPoses:
    """One pose per camera role; a role's sensor exists only while a schedule asks for it."""

    front: CameraPose = CameraPose(x=1.3)
    """Through the windscreen."""
    left: CameraPose = CameraPose(x=0.3, y=-0.5, yaw=-90.0)
    """Out of the left window."""
    right: CameraPose = CameraPose(x=0.3, y=0.5, yaw=90.0)
    """Out of the right window."""
    rear: CameraPose = CameraPose(x=-1.6, yaw=180.0)
    """Out of the rear window."""
    bird: CameraPose = CameraPose(x=8.0, z=40.0, pitch=-90.0)
    """Straight down; the car's heading points up."""
    side: CameraPose = CameraPose(x=-3.0, y=-9.0, z=4.5, pitch=-18.0, yaw=60.0)
    """The car itself, from outside on its left."""


@dataclass(frozen=True)
class DrivingOptions:
    """Routes, traffic, observation and endings of a driving environment."""

    route_file: str | None = None
    """Leaderboard XML (or ``.xml.gz``) with the routes to drive; None draws random ones."""
    route_min_length: float = 200.0
    """Shortest random route in metres."""
    route_max_length: float = 400.0
    """Longest random route in metres."""
    vehicles: int = 20
    """Other vehicles."""
    pedestrians: int = 10
    """Pedestrians."""
    traffic_radius: float = 0.0
    """Metres around the route within which traffic starts; 0 spreads it over the whole town."""
    birdseye_size: int = 256
    """Height and width of the bird's-eye view in pixels."""
    pixels_per_metre: float = 2.0
    """Scale of the bird's-eye view."""
    metres_behind: float = 50.0
    """How far the bird's-eye view reaches behind the car; the rest of its height is ahead."""
    route_outside_junctions: bool = False
    """Draw the route between junctions too; CaRL draws it inside them only."""
    route_points: int = 0
    """Points of the route ahead that join the state, 1 m apart, in the car's frame: VLM-RL's 15."""
    start_delay_frames: int | None = None
    """Ticks with the brake on before an episode's first observation; None is CaRL's 20 on a real
    server, where cars fall to the road first, and none on the stand-in."""
    time_limit: float = 120.0
    """Seconds of an episode, after which it is truncated; CaRL allows 1200."""
    green_time: float | None = None
    """Seconds that a traffic light stays green; None leaves the server's."""
    red_time: float | None = None
    """Seconds in which all of a junction's lights are red, between two greens; None as above."""
    end_on_infraction: bool = True
    """A red light or a run stop sign ends the episode, as in CaRL; collisions always do."""
    paper_flags: bool = False
    """CaRL's own endings: a finished route truncates, the time limit terminates."""
    ego: str = "vehicle.lincoln.mkz_2020"
    """Blueprint of the car that is driven."""
    camera_poses: CameraPoses = field(default_factory=CameraPoses)
    """Where the cameras sit."""
    bird_fov: float | None = None
    """Horizontal field of view of the bird camera in degrees; None leaves its pose's 90. Narrow, it
    renders alone what a reward would crop: 2 atan(0.3) = 33.4 sees the middle 30 % of 90."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        _check_numbers(self)
        if not 0 < self.route_min_length <= self.route_max_length:
            raise RoboError(
                f"route lengths {self.route_min_length} to {self.route_max_length} m must be "
                "positive, the shortest first"
            )
        if min(self.vehicles, self.pedestrians, self.start_delay_frames or 0) < 0:
            raise RoboError(
                f"vehicles {self.vehicles}, pedestrians {self.pedestrians} and start_delay_frames "
                f"{self.start_delay_frames} must each be at least 0"
            )
        if self.bird_fov is not None and not 0 < self.bird_fov < 180:
            raise RoboError(f"bird_fov is {self.bird_fov}, expected above 0 and below 180 degrees")
        if self.route_points < 0:
            raise RoboError(f"route_points is {self.route_points}, expected at least 0")
        if self.birdseye_size < 16 or self.pixels_per_metre <= 0:
            raise RoboError(
                f"birdseye_size {self.birdseye_size} must be at least 16 and pixels_per_metre "
                f"{self.pixels_per_metre} positive"
            )
        if not 0 <= self.metres_behind * self.pixels_per_metre < self.birdseye_size:
            raise RoboError(
                f"metres_behind {self.metres_behind:g} leaves the car out of a bird's-eye view of "
                f"birdseye_size {self.birdseye_size} at {self.pixels_per_metre:g} pixels_per_metre;"
                f" expected 0 <= metres_behind < {self.birdseye_size / self.pixels_per_metre:g}"
            )
        if self.time_limit < STEP_SECONDS:
            raise RoboError(f"time_limit is {self.time_limit} s, expected at least {STEP_SECONDS}")

    @property
    def poses(self) -> CameraPoses:
        """Where the cameras sit, with the bird's field of view."""
        if self.bird_fov is None:
            return self.camera_poses
        bird = replace(self.camera_poses.bird, fov=self.bird_fov)
        return replace(self.camera_poses, bird=bird)

    @property
    def max_steps(self) -> int:
        """The time limit in steps."""
        return round(self.time_limit / STEP_SECONDS)


def split_options(id: str, options: dict[str, Any]) -> tuple[ServerOptions, DrivingOptions]:
    """Sort keyword options of ``robo.make`` into the two dataclasses.

    Raises:
        RoboError: an option that neither has, or a value out of range.
    """
    server = {item.name for item in fields(ServerOptions)}
    driving = {item.name for item in fields(DrivingOptions)}
    unknown = sorted(set(options) - server - driving)
    if unknown:
        raise RoboError(
            f"{id} has no option {', '.join(unknown)}; expected some of "
            f"{', '.join(sorted(server | driving))}"
        )
    return (
        ServerOptions(**{name: value for name, value in options.items() if name in server}),
        DrivingOptions(**{name: value for name, value in options.items() if name in driving}),
    )
