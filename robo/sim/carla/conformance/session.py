"""What every conformance check works with: a client in synchronous mode, and helpers."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from robo.errors import MissingExtraError, RoboError
from robo.sim.carla.supervisor import accepts

STEP = 0.05
"""Seconds per tick during the checks."""
CONNECT_TIMEOUT = 10.0
"""Seconds in which a server must answer at all."""
TIMEOUT = 60.0
"""Seconds for one call: a server may paint its town before the first picture."""
EGO = "vehicle.tesla.model3"
WORKER_THREADS = 4

Outcome = tuple[bool, Any]
"""Whether it is as expected, and what was found."""


class NotApplicableError(Exception):
    """The check cannot be made here, for the reason that the exception gives."""


@dataclass(frozen=True)
class Check:
    """One call of the client API and what it must do."""

    name: str
    """The call, as ``Class.method``."""
    expected: str
    """What CARLA does."""
    function: Callable[[Session], Outcome]
    """Makes the call; raises :class:`NotApplicableError` where it cannot be made."""
    changes_world: bool = False
    """Whether it ends the episode."""


def check(
    checks: list[Check], name: str, expected: str, changes_world: bool = False
) -> Callable[[Callable[[Session], Outcome]], Callable[[Session], Outcome]]:
    """Decorator: append a function to ``checks``."""

    def register(function: Callable[[Session], Outcome]) -> Callable[[Session], Outcome]:
        checks.append(Check(name, expected, function, changes_world))
        return function

    return register


@dataclass
class Session:
    """A client connected to the server under test."""

    client: Any
    """``carla.Client``."""
    world: Any
    """``carla.World`` of the current episode, in synchronous mode."""
    spawned: list[Any] = field(default_factory=list)
    """Actors of the check that runs."""

    def renew(self, world: Any) -> None:
        """Go on in another episode."""
        self.world = world
        synchronous(world, True)

    def tick(self, count: int = 1) -> int:
        """Step the world; returns the last frame."""
        frame = 0
        for _ in range(count):
            frame = self.world.tick(TIMEOUT)
        return frame

    def place(self, number: int = 0) -> Any:
        """A spawn point."""
        points = self.world.get_map().get_spawn_points()
        if not points:
            raise RoboError("the map has no spawn points, expected at least one")
        return points[number % len(points)]

    def straight_place(self, length: float = 60.0) -> Any:
        """A spawn point with a straight lane of ``length`` metres before it."""
        town = self.world.get_map()
        best, least = self.place(), float("inf")
        for point in town.get_spawn_points():
            waypoint, turn = town.get_waypoint(point.location), 0.0
            for _ in range(int(length / 5)):
                following = waypoint.next(5.0)
                if len(following) != 1:
                    turn = float("inf")
                    break
                difference = following[0].transform.rotation.yaw - waypoint.transform.rotation.yaw
                turn += abs((difference + 180.0) % 360.0 - 180.0)
                waypoint = following[0]
            if turn < least:
                best, least = point, turn
            if turn < 1.0:
                break
        return best

    def spawn(self, type_id: str, place: Any, attach_to: Any = None, **attributes: str) -> Any:
        """An actor that is destroyed after the check."""
        blueprint = self.world.get_blueprint_library().find(type_id)
        for name, text in attributes.items():
            blueprint.set_attribute(name, text)
        actor = self.world.spawn_actor(blueprint, place, attach_to=attach_to)
        self.spawned.append(actor)
        return actor

    def vehicle(self, place: Any = None, type_id: str = EGO) -> Any:
        """A vehicle that stands; its pose is valid."""
        vehicle = self.spawn(type_id, place or self.place())
        self.tick()
        return vehicle

    def measure(self, sensor: Any, before: Callable[[], None] = lambda: None) -> tuple[Any, int]:
        """The sensor's first data for a tick of ours, and that tick's frame."""
        data: queue.Queue[Any] = queue.Queue()
        sensor.listen(data.put)
        try:
            for _ in range(20):
                before()
                frame = self.tick()
                with contextlib.suppress(queue.Empty):
                    while True:
                        seen = data.get(timeout=0.5)
                        if seen.frame >= frame:
                            return seen, frame
            raise RoboError("the sensor sent nothing in 20 ticks")
        finally:
            sensor.stop()

    @contextlib.contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Destroy what a check spawned, sensors first."""
        self.spawned.clear()
        try:
            yield
        finally:
            for actor in reversed(self.spawned):
                # It may be gone with its parent, or with its episode.
                with contextlib.suppress(RuntimeError):
                    actor.destroy()
            self.spawned.clear()


def synchronous(world: Any, on: bool) -> None:
    """Switch between the client's ticks and the server's own."""
    settings = world.get_settings()
    settings.synchronous_mode = on
    settings.fixed_delta_seconds = STEP if on else None
    world.apply_settings(settings)


@contextlib.contextmanager
def open_session(host: str, port: int) -> Iterator[Session]:
    """A session; the world's settings are restored at the end.

    Raises:
        RoboError: no server answers there.
        MissingExtraError: ``carla`` is not installed.
    """
    try:
        import carla
    except ImportError as error:
        raise MissingExtraError(
            'the CARLA client is not installed: pip install -e ".[carla]"'
        ) from error
    if not accepts(host, port):
        raise RoboError(f"no CARLA server answers at {host}:{port}: nothing listens there")
    client = carla.Client(host, port, worker_threads=WORKER_THREADS)
    client.set_timeout(CONNECT_TIMEOUT)
    try:
        world = client.get_world()
    except RuntimeError as error:
        raise RoboError(f"no CARLA server answers at {host}:{port}: {error}") from error
    client.set_timeout(TIMEOUT)
    settings = world.get_settings()
    session = Session(client, world)
    synchronous(world, True)
    try:
        yield session
    finally:
        session.world.apply_settings(settings)
