"""What the server serves: the world of the current episode, its streams, and what clients set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.sim.carla.standin import layouts, layouts_streams
from robo.sim.carla.standin.blueprints import BLUEPRINTS, UIDS
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.layouts import EpisodeSettings
from robo.sim.carla.standin.maps import Maps

if TYPE_CHECKING:
    from robo.sim.carla.standin.connection import Connection
    from robo.sim.carla.standin.streams import StreamServer
    from robo.sim.carla.standin.world import Actor

WORLD_STREAM = 1
ASYNCHRONOUS_PERIOD = 0.05
"""Seconds of wall clock between the ticks that the server makes by itself."""
FRESH, SETTLE = 0.5, 0.05
"""Seconds for which an episode is new, and for which clients are then left to settle."""


class Service:
    """The state that RPC handlers work on; used by one thread only."""

    def __init__(self, maps: Maps, town: str, seed: int) -> None:
        """Load the first episode.

        Args:
            maps: where maps come from.
            town: name of the first map.
            seed: seed of each episode's world.

        Raises:
            StandinError: no such map, or one that cannot be driven on.
        """
        self.maps = maps
        self.seed = seed
        self.episode = 0
        self.streams: StreamServer | None = None
        self.traffic_managers: dict[int, tuple[str, int]] = {}
        self.sensors_due = False
        self.next_tick = time.monotonic()
        self.fresh_until = 0.0
        self._pending_flags = 0
        self._last_stream = WORLD_STREAM
        self.load(town)

    def load(self, town: str, reset_settings: bool = True) -> None:
        """Start an episode on a map ('' for the current one), with a fresh world.

        Raises:
            StandinError: no such map, or one that cannot be driven on.
        """
        # carla is an extra that only these two need.
        from robo.sim.carla.standin.sensor_streams import SensorStreams
        from robo.sim.carla.standin.world import World

        name = Maps.short(town) or self.name
        world = World(self.maps.opendrive(name), name, self.seed)
        if self.episode:
            self.fresh_until = time.monotonic() + FRESH
            self._end_streams(list(self.sensor_streams))
            # As on a real server: clients ignore frames that go back.
            world.frame = self.world.frame + 1
            if not reset_settings:
                world.settings = self.world.settings
        self.name = name
        self.world = world
        self.episode += 1
        self.sensors = SensorStreams(self)
        self.sensor_streams: dict[int, int] = {}
        self.records: dict[int, list[Any]] = {}
        self.vehicle_lights: dict[int, int] = {}
        self.vehicle_physics: dict[int, Any] = {}
        self.ackermann_settings: dict[int, Any] = {}
        self.answers: dict[str, bytes] = {}
        self._pending_flags = layouts_streams.MAP_CHANGED
        self.publish()

    def _end_streams(self, streams: list[int]) -> None:
        """Streams of sensors that are no more."""
        for stream in streams:
            self.sensor_streams.pop(stream, None)
            if self.streams is not None:
                self.streams.end(stream)

    # --- Time --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Leave a client alone that takes up a new episode, as a real server's slow load does.

        The client's main thread replaces its episode as soon as it has this answer. Where its
        other thread still handles a state then, the old episode dies after the new one has
        subscribed, and takes that subscription along, which has the same id: the client aborts.
        So no state is sent for a while before the answer, nor after it.
        """
        if time.monotonic() < self.fresh_until:
            time.sleep(SETTLE)
            self.next_tick = time.monotonic() + SETTLE

    def tick(self) -> int:
        """One step of the world; its state is on its way before this returns the frame."""
        frame = self.world.tick()
        # Contacts go first: a client that has the state of a tick then has its collisions too.
        # Pictures take longer and nobody should wait for them.
        self.sensors_due = not self.world.collisions()
        if not self.sensors_due:
            self.sensors.publish()
        self.publish()
        return frame

    def run_due(self) -> float:
        """Tick where the world runs by itself and it is time; returns seconds to wait."""
        if self.world.settings.synchronous_mode:
            self.next_tick = time.monotonic()
            return 1.0
        wait = self.next_tick - time.monotonic()
        if wait <= 0:
            self.tick()
            self.finish_tick()
            # After a long pause there is no catching up.
            self.next_tick = max(self.next_tick, time.monotonic() - ASYNCHRONOUS_PERIOD)
            self.next_tick += ASYNCHRONOUS_PERIOD
            wait = self.next_tick - time.monotonic()
        return max(wait, 0.0)

    def finish_tick(self) -> None:
        """Send what sensors saw; done after the answer to whoever asked for the tick."""
        if self.sensors_due:
            self.sensors_due = False
            self.sensors.publish()

    def set_settings(self, settings: EpisodeSettings) -> int:
        """Take new settings; returns the frame whose state carries them."""
        self.world.settings = settings
        self.publish()
        return self.world.frame

    # --- Streams -----------------------------------------------------------------------------

    def announce(self, flags: int) -> None:
        """Set flags in the next state that is published."""
        self._pending_flags |= flags

    def _world_state(self, flags: int) -> bytes:
        """Payload of the world observer."""
        world = self.world
        return layouts_streams.world_state(
            frame=world.frame,
            seconds=world.elapsed,
            episode=self.episode,
            # The real server's own clock; here simulated time, so that runs repeat to the bit.
            clock=world.elapsed,
            step=world.settings.fixed_delta_seconds or ASYNCHRONOUS_PERIOD,
            flags=flags,
            actors=world.table.packed(),
        )

    def publish(self) -> None:
        """Send the world's state to every client."""
        if self.streams is not None and self.streams.wanted(WORLD_STREAM):
            self.streams.publish(WORLD_STREAM, self._world_state(self._pending_flags))
            self._pending_flags = 0

    def subscribe(self, stream: int, connection: Connection) -> bool:
        """Whether there is such a stream; a new observer of the world learns its state at once.

        Without that, a client that joins while nobody ticks would wait until it times out.
        """
        if stream == WORLD_STREAM:
            state = self._world_state(0)
            connection.send(layouts_streams.MESSAGE_SIZE.pack(len(state)), state)
            return True
        return stream in self.sensor_streams

    def token(self, stream: int) -> bytes:
        """Where to fetch a stream: the client fills in the host that it is connected to."""
        port = self.streams.port if self.streams is not None else 0
        return layouts.stream_token(stream, port)

    # --- Actors ------------------------------------------------------------------------------

    def actor(self, id: int, *kinds: str) -> Actor:
        """An actor by id, of one of ``kinds`` where given.

        Raises:
            StandinError: there is none, or it is of another kind.
        """
        actor = self.world.actors.get(id)
        if actor is None:
            raise StandinError(f"unable to find an actor with id {id}")
        if kinds and actor.kind not in kinds:
            expected = " or ".join(kinds)
            raise StandinError(f"actor {id} is a {actor.kind}, expected a {expected}")
        return actor

    def record(self, id: int) -> list[Any]:
        """An actor as sent to clients; raises StandinError where there is none."""
        record = self.records.get(id)
        if record is None:
            actor = self.actor(id)
            record = self.records[id] = self._make_record(actor)
        return record

    def _make_record(self, actor: Actor) -> list[Any]:
        """What does not change about an actor."""
        blueprint = BLUEPRINTS.get(actor.type_id)
        types = blueprint.attribute_types() if blueprint else {}
        description = layouts.actor_description(
            UIDS.get(actor.type_id, 0),
            actor.type_id,
            [(name, types.get(name, 4), text) for name, text in actor.attributes.items()],
        )
        stream = b""
        if actor.kind == "sensor":
            # Never given twice: a client may still listen to a sensor of an earlier episode.
            self._last_stream += 1
            self.sensor_streams[self._last_stream] = actor.id
            stream = self.token(self._last_stream)
        return layouts.actor(
            actor.id,
            actor.parent,
            description,
            layouts.bounding_box(actor.box_center, actor.extent, actor=actor.id),
            bytes(actor.semantic_tags),
            stream,
        )

    def destroy(self, id: int) -> bool:
        """Destroy an actor, and forget what was set for it."""
        if not self.world.destroy(id):
            return False
        for gone in [key for key in self.records if key not in self.world.actors]:
            self._forget(gone)
        self._forget(id)
        return True

    def _forget(self, id: int) -> None:
        """Drop everything kept for an actor that is no more."""
        for kept in (
            self.records,
            self.vehicle_lights,
            self.vehicle_physics,
            self.ackermann_settings,
        ):
            kept.pop(id, None)
        self.sensors.forget(id)
        self._end_streams([stream for stream, own in self.sensor_streams.items() if own == id])


def open_service(town: str | Path, seed: int = 0) -> Service:
    """A service whose first episode is on a built-in town or an OpenDRIVE file.

    Raises:
        StandinError: neither a built-in town nor a readable file.
    """
    maps = Maps()
    return Service(maps, maps.add(town), seed)
