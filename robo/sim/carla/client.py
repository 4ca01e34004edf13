"""A synchronous connection to a CARLA server, over nothing but the public client API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import carla

from robo.errors import RoboError
from robo.sim.carla.options import STEP_SECONDS
from robo.sim.carla.supervisor import ServerLostError, accepts
from robo.sim.carla.traffic_watch import TrafficWatch

VERSION = "0.9.16"
"""Messages differ between releases, and a foreign one may end the process: only this one."""
_LOAD_TIMEOUT = 60.0


class Connection:
    """One client in synchronous mode at 10 Hz.

    Attributes:
        client: ``carla.Client`` with one worker thread: with one, callbacks run in the order in
            which the server sent their data, so that everything the server sent before a tick's
            state has been received when :meth:`tick` returns.
        world: ``carla.World``.
        map: ``carla.Map``, fetched once.
        spawn_points: ``carla.Transform`` list of the map.
        frame: number of the newest tick.
        traffic_watch: around every tick, where the client's TrafficManager drives.
    """

    def __init__(
        self,
        host: str,
        port: int,
        town: str | None = None,
        start_timeout: float = 60.0,
        tick_timeout: float = 5.0,
    ) -> None:
        """Connect, load ``town`` where another map runs, and take over the clock.

        Raises:
            ServerLostError: nothing listens within ``start_timeout``, or no answer comes.
            RoboError: another version than 0.9.16, a map that the server does not have, or one
                without spawn points.
        """
        self.host, self.port = host, port
        self.tick_timeout = tick_timeout
        self._start_timeout = start_timeout
        self.traffic_watch: TrafficWatch | None = None
        # A client built before its server listens never connects, however often it is asked.
        _wait_for(host, port, start_timeout)
        with self.calls():
            self.client = carla.Client(host, port, worker_threads=1)
            self.client.set_timeout(start_timeout)
            self._check_version()
            self.world = self.client.get_world()
            self.map = self.world.get_map()
            if town is not None and self.map.name.split("/")[-1] != town:
                self._load(town, max(_LOAD_TIMEOUT, start_timeout))
            self.spawn_points = self.map.get_spawn_points()
            if not self.spawn_points:
                raise RoboError(
                    f"map {self.map.name!r} at {host}:{port} has no spawn points, so no car can "
                    "start; serve a map with driving lanes"
                )
            self._boxes: dict[str, Any] = {}
            self._before = self.world.get_settings()
            self.render(False)
            self.client.set_timeout(tick_timeout)
            self.frame = self.world.get_snapshot().frame

    def _check_version(self) -> None:
        """Before anything else is parsed.

        Raises:
            RoboError: client or server is not 0.9.16.
        """
        own, server = self.client.get_client_version(), self.client.get_server_version()
        for side, version, advice in (
            ("client", own, f"run `pip install carla=={VERSION}`"),
            ("server", server, f"start CARLA {VERSION}"),
        ):
            if version.split("-")[0] != VERSION:
                raise RoboError(
                    f"the CARLA {side} at {self.host}:{self.port} is {version}, expected "
                    f"{VERSION}, because the messages differ between versions; {advice}"
                )

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Allow every call inside ``start_timeout``: a server's first ticks may take long.

        Its first picture compiles shaders, and many servers that start together share the cores.
        """
        usual = self.tick_timeout
        self._allow(max(usual, self._start_timeout))
        try:
            yield
        finally:
            self._allow(usual)

    def _allow(self, seconds: float) -> None:
        self.tick_timeout = seconds
        self.client.set_timeout(seconds)

    def _load(self, town: str, timeout: float) -> None:
        """Switch the server's map, within ``timeout`` seconds.

        Raises:
            RoboError: the server does not have it.
        """
        known = sorted({name.split("/")[-1] for name in self.client.get_available_maps()})
        if town not in known:
            raise RoboError(
                f"the server at {self.host}:{self.port} has no map {town!r}; it offers "
                f"{', '.join(known)}"
            )
        self.client.set_timeout(timeout)
        self.world = self.client.load_world(town)
        self.map = self.world.get_map()

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Turn the client's failures inside the block into sentences.

        Raises:
            ServerLostError: in place of the client's ``RuntimeError``.
        """
        try:
            yield
        except RoboError:
            raise
        except RuntimeError as error:
            said = " ".join(str(error).split()).split(", make sure")[0]
            raise ServerLostError(
                f"the CARLA server at {self.host}:{self.port} does not answer ({said})"
            ) from error

    def render(self, rendering: bool) -> None:
        """Set synchronous mode, with the server's renderer on or off."""
        settings = self.world.get_settings()
        settings.synchronous_mode = True
        settings.fixed_delta_seconds = STEP_SECONDS
        settings.deterministic_ragdolls = True
        settings.no_rendering_mode = not rendering
        self.world.apply_settings(settings)

    def tick(self) -> int:
        """One step of 0.1 s; returns its frame number.

        Raises:
            ServerLostError: no answer within the tick timeout.
        """
        with self.calls(), self.traffic_watch or nullcontext():
            self.frame = self.world.tick(self.tick_timeout)
        return self.frame

    def batch(self, commands: list[Any]) -> list[int]:
        """Run commands in one call; ids of the actors concerned, 0 where one was refused.

        Never with a tick inside: ``apply_batch_sync(commands, True)`` keeps Python's lock while
        it waits, and deadlocks with sensor callbacks.
        """
        with self.calls():
            answers = self.client.apply_batch_sync(commands, False)
        return [0 if answer.has_error() else answer.actor_id for answer in answers]

    def box(self, actor: Any) -> Any:
        """``carla.BoundingBox`` of an actor; one call per type of actor, not per actor."""
        if actor.type_id not in self._boxes:
            with self.calls():
                self._boxes[actor.type_id] = actor.bounding_box
        return self._boxes[actor.type_id]

    def close(self) -> None:
        """Give the clock back to the server."""
        with suppress(RuntimeError):
            self.client.set_timeout(1.0)
            self.world.apply_settings(self._before)


def _wait_for(
    host: str, port: int, timeout: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Until something listens.

    Raises:
        ServerLostError: nothing does within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not accepts(host, port):
        if time.monotonic() > deadline:
            raise ServerLostError(
                f"no CARLA server listens on {host}:{port} (waited {timeout:g} s); start one, or "
                "leave the port out to start our own"
            )
        pause(0.05)
