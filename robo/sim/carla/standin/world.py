"""The world of the stand-in server: actors on a map, stepped by :meth:`World.tick`.

Single-threaded and without a network: the server calls it under one lock. Given the same calls and
seed, two worlds are equal bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robo.sim.carla.standin import layouts, poses
from robo.sim.carla.standin.actors import DRIVE, Actor
from robo.sim.carla.standin.blueprints import BLUEPRINTS, Blueprint
from robo.sim.carla.standin.commands import Commands
from robo.sim.carla.standin.episode import SOLID
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.layouts import EpisodeSettings
from robo.sim.carla.standin.light_commands import LightCommands
from robo.sim.carla.standin.pedestrians import Pedestrians
from robo.sim.carla.standin.traffic import Traffic

CYCLES = ("vehicle.bh.crossbike",)


def _is_small(blueprint: Blueprint) -> bool:
    """Whether a vehicle takes the turns of any town without leaving its lane."""
    return blueprint.extent[0] < 2.6 and blueprint.extent[1] < 1.2


CARS = tuple(
    name
    for name, blueprint in BLUEPRINTS.items()
    if blueprint.kind == "vehicle" and name not in CYCLES and _is_small(blueprint)
)
"""Vehicles of the server's own traffic: nothing as large as a bus."""

WALKERS = tuple(name for name, blueprint in BLUEPRINTS.items() if blueprint.kind == "walker")


class Collision(NamedTuple):
    """A collision of the last tick, as one of its parties sees it."""

    actor: int
    """Actor id."""
    other: int
    """Id of the other party, 0 for the static world."""
    impulse: tuple[float, float, float]
    """On ``actor``, N s, world frame."""


class World(Commands, LightCommands):
    """A map with its actors.

    Args:
        opendrive: text of the OpenDRIVE map.
        name: name of the map.
        seed: of everything random.

    Attributes:
        map: the client library's ``carla.Map``; ``lanes``: its lanes as arrays.
        spawn_points: poses on driving lanes (m, degrees).
        frame, elapsed: ticks and seconds since the episode began.
        settings: of the episode; ``weather``: 14 numbers, layouts.WEATHER_FIELDS.
        actors: by id, in the order of their creation.
        table: their rows.

    Raises:
        StandinError: the map has no driving lane.
    """

    def __init__(self, opendrive: str, name: str, seed: int = 0) -> None:
        """Read the map and begin an episode."""
        super().__init__(opendrive, name)
        self.settings = EpisodeSettings()
        self.reset(seed)

    def reset(self, seed: int | None = None, frame: int = 0) -> None:
        """Begin a new episode in place: the state of a fresh world on the same map.

        Args:
            seed: of everything random; the last one where None.
            frame: number of the episode's first frame (clients ignore frames that go back).
        """
        self.seed = self.seed if seed is None else seed
        self.frame, self.elapsed = frame, 0.0
        self.weather = list(layouts.CLEAR_NOON)
        self._collisions: list[Collision] = []
        self._colors = 0
        self._attached: list[Actor] = []
        self._begin()
        self.traffic = Traffic(self.table, self.road_map, self.seed)
        self.pedestrians = Pedestrians(self.table, self.road_map, self.seed)
        self._random = np.random.default_rng([self.seed, 0])

    def _index(self) -> None:
        """Take up who is there, after anything was spawned, destroyed or frozen."""
        actors = list(self.actors.values())
        self.motion.index(actors)
        self.traffic.index(actors)
        self.pedestrians.index(actors)
        solid = [a for a in actors if a.relative is None and a.id not in self._ghosts]
        frozen = [a for a in solid if a.kind in ("vehicle", "walker") and not a.simulated]
        self.collider.index(
            [a.row for a in solid if a.kind == "vehicle" and a.simulated],
            [a.row for a in solid if a.kind == "walker" and a.simulated],
            [a.row for a in [*solid, *frozen] if a.kind == "prop" or a in frozen],
        )
        self._attached = [a for a in actors if a.relative is not None]
        self._ids = [a.id for a in actors]
        self._changed = False

    def tick(self) -> int:
        """Advance by one step of :attr:`delta` seconds, and return the new frame."""
        dt = self.delta
        if self._changed:
            self._index()
        if self._ackermann or self._forces or self._held:
            self._apply_commands(dt)
        self.traffic.drive(dt, self.lights.color, self._relocate)
        self.pedestrians.drive(dt)
        self.motion.step(dt)
        self._collide()
        for actor in self._attached:
            parent = self.table.state[self.actors[actor.parent].row, :6].tolist()
            relative = actor.relative or parent
            self.table.state[actor.row, :6] = poses.attached(parent, relative)
        self._show_lights(dt)
        self.frame += 1
        self.elapsed += dt
        return self.frame

    def _relocate(self, id: int) -> bool:
        """Move a vehicle to a spawn point from which others are 15 m away."""
        row = self.actors[id].row
        solid = [a.row for a in self.actors.values() if a.kind in SOLID and a.id != id]
        places = self.table.state[solid, :2]
        random = self.traffic.random_of(id)
        point = self.spawn_points[int(random.integers(len(self.spawn_points)))]
        if len(places) and np.hypot(*(places - point[:2]).T).min() < 15.0:
            return False
        self.set_transform(id, point)
        self.table.drive[row, DRIVE["wheel"] : DRIVE["spin"] + 1] = 0.0
        self.table.state[row, 6:15] = 0.0
        return True

    def populate(self, vehicles: int, pedestrians: int, seed: int) -> list[int]:
        """Spawn traffic that the server drives, and return the actors' ids.

        Args:
            vehicles: how many vehicles, on spawn points chosen by chance; fewer where those run
                out. One in ten is a bicycle.
            pedestrians: how many walkers, beside the roads.
            seed: of what is spawned where; the world's own seed decides what they do.
        """
        random = np.random.default_rng([seed, 3])
        ids: list[int] = []
        for number in random.permutation(len(self.spawn_points)):
            if len(ids) == vehicles:
                break
            cycle = random.random() < 0.1
            kind = CYCLES[0] if cycle else CARS[int(random.integers(len(CARS)))]
            try:
                actor = self.spawn(kind, {"role_name": "autopilot"}, self.spawn_points[number])
            except StandinError:
                continue
            ids.append(actor.id)
        return ids + self._populate_walkways(pedestrians, random)

    def _populate_walkways(self, pedestrians: int, random: np.random.Generator) -> list[int]:
        ids: list[int] = []
        tries = 4 * pedestrians if self.road_map.walkways else 0
        for _ in range(tries):
            if len(ids) == pedestrians:
                break
            kind = WALKERS[int(random.integers(len(WALKERS)))]
            x, y, z, pitch, yaw, roll = self.pedestrians.place(random)
            pose = (x, y, z + BLUEPRINTS[kind].extent[2], pitch, yaw, roll)
            try:
                ids.append(self.spawn(kind, {"role_name": "autopilot"}, pose).id)
            except StandinError:
                continue
        return ids

    def _show_lights(self, dt: float) -> None:
        """Advance the lights, and tell vehicles of lights and limits where they are."""
        lights = self.lights
        lights.tick(dt)
        if len(lights.color):
            records, rows = self.table.records["light"], self._light_rows
            records["elapsed"][rows] = lights.elapsed
            if lights.changed:
                self._colors = self._colors + 1
                records["state"][rows], records["frozen"][rows] = lights.color, lights.frozen
                records["green_time"][rows] = lights.green
                records["yellow_time"][rows], records["red_time"][rows] = lights.yellow, lights.red
                lights.changed = False
        self.motion.govern(lights.plan.node_light, self._light_ids, lights.color, self._colors)

    def _collide(self) -> None:
        hits = self.collider.resolve()
        self._collisions = []
        for hit in hits:
            a, b = self._ids[hit.first], self._ids[hit.second]
            x, y, z = hit.impulse
            self._collisions += [Collision(a, b, (x, y, z)), Collision(b, a, (-x, -y, -z))]
        self.motion.sliding |= bool(hits)

    def snapshot(self) -> np.ndarray:
        """State of all actors as sent to clients, ACTOR_STATE [N], in the order of creation."""
        return self.table.snapshot()

    def collisions(self) -> list[Collision]:
        """Collisions of the last tick, each as both parties see it."""
        return self._collisions
