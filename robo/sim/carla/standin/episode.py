"""Actors that come and go on a map: what every part of the world works on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robo.sim.carla.standin import dynamics, poses
from robo.sim.carla.standin.actors import DRIVE, Actor, ActorTable
from robo.sim.carla.standin.blueprints import (
    BLUEPRINTS,
    TAG_TRAFFIC_LIGHT,
    TAG_TRAFFIC_SIGN,
    Blueprint,
)
from robo.sim.carla.standin.collisions import Collider, boxes, overlap
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.landmarks import SPEED, STOP, Signal
from robo.sim.carla.standin.layouts import AckermannControl, Transform6
from robo.sim.carla.standin.motion import Motion
from robo.sim.carla.standin.road_map import read_map
from robo.sim.carla.standin.traffic_lights import TrafficLights

SPECTATOR: Transform6 = (0.0, 0.0, 10.0, -15.0, 0.0, 0.0)
"""Where the spectator is at first."""
SOLID = ("vehicle", "walker", "prop")
"""Kinds of actors that collide."""


class Episode:
    """A map and the actors on it.

    Args:
        opendrive: text of the OpenDRIVE map.
        name: name of the map.

    Raises:
        StandinError: the map has no driving lane.
    """

    def __init__(self, opendrive: str, name: str) -> None:
        """Read the map; :meth:`World.reset` places the actors."""
        self.opendrive, self.name = opendrive, name
        self.road_map = read_map(name, opendrive)
        self.map, self.lanes = self.road_map.carla_map, self.road_map.lanes
        self.spawn_points: list[Transform6] = list(self.road_map.spawn_points)
        self.lights = TrafficLights(self.road_map.lights)
        self.table = ActorTable()
        self.actors: dict[int, Actor] = {}
        self.motion = Motion(self.table, self.lanes)
        self.collider = Collider(self.table)
        self.seed = 0

    def _begin(self) -> None:
        """Forget all actors, and place the spectator, the lights and the signs."""
        self.actors.clear()
        self.table.clear()
        self._next_id = 1
        self._ackermann: dict[int, AckermannControl] = {}
        self._forces: dict[int, list[float]] = {}
        self._held: dict[int, tuple[float, float]] = {}
        self._ghosts: set[int] = set()
        self.motion.sliding = False
        self._changed = True
        self.spectator = self._add(Actor(0, "spectator", "spectator"), SPECTATOR).id
        self._place_signals()

    def _place_signals(self) -> None:
        """Make actors of the map's lights, then of its signs."""
        self.lights.reset(self.seed)
        lights = [self._add_signal(s, "traffic.traffic_light") for s in self.lights.plan.lights]
        first = lights[0].row if lights else 0
        self._light_rows = slice(first, first + len(lights))
        self._light_ids = np.array([light.id for light in lights], int)
        self._light_index = {light.id: number for number, light in enumerate(lights)}
        records = self.table.records["light"]
        for light, signal in zip(lights, self.lights.plan.lights, strict=True):
            records["opendrive_id"][light.row] = signal.id.encode()
            records["pole_index"][light.row] = self._light_index[light.id]
        for signal in self.road_map.signs:
            name = "stop" if signal.type == STOP else "yield"
            name = f"speed_limit.{signal.value:.0f}" if signal.type == SPEED else name
            self._add_signal(signal, f"traffic.{name}")

    def _add_signal(self, signal: Signal, type_id: str) -> Actor:
        light = type_id == "traffic.traffic_light"
        actor = Actor(
            id=0,
            type_id=type_id,
            kind="traffic_light" if light else "traffic_sign",
            attributes={"role_name": type_id.partition(".")[2]},
            extent=signal.extent,
            box_center=signal.center,
            semantic_tags=bytes([TAG_TRAFFIC_LIGHT if light else TAG_TRAFFIC_SIGN]),
            simulated=False,
        )
        return self._add(actor, signal.pose)

    def _add(self, actor: Actor, pose: Transform6) -> Actor:
        actor.id = self._next_id
        self._next_id += 1
        self.actors[actor.id] = actor
        self.table.append(actor, pose)
        self._changed = True
        return actor

    def actor(self, id: int) -> Actor:
        """The actor with an id.

        Raises:
            StandinError: there is none.
        """
        if id not in self.actors:
            raise StandinError(f"Actor {id} does not exist (it may have been destroyed).")
        return self.actors[id]

    def spawn(
        self,
        type_id: str,
        attributes: dict[str, str],
        transform: Sequence[float],
        parent: int = 0,
        attachment: int = 0,
    ) -> Actor:
        """Create an actor.

        Args:
            type_id: a key of ``blueprints.BLUEPRINTS``.
            attributes: values by name; the others take the blueprint's defaults. A vehicle or
                walker with ``role_name`` ``autopilot`` is driven by the server, by chance of the
                seed N with ``autopilot:N``.
            transform: pose (m, degrees) in the world, or in the parent's frame.
            parent: actor to attach it to, or 0.
            attachment: 0 rigid, 1 and 2 spring arm.

        Raises:
            StandinError: unknown type or parent, or the place is taken.
        """
        blueprint = BLUEPRINTS.get(type_id)
        if blueprint is None:
            raise StandinError(f"There is no blueprint '{type_id}' on this server.")
        pose = relative = finite_pose(transform)
        if parent:
            pose = self._pose_on(parent, relative)
        solid = blueprint.kind in SOLID
        if solid and not parent and not self.is_free(blueprint, pose):
            raise StandinError("Spawn failed because of collision at spawn position")
        actor = Actor(
            id=0,
            type_id=type_id,
            kind=blueprint.kind,
            attributes={**blueprint.defaults(), **attributes},
            parent=parent,
            attachment=attachment,
            extent=blueprint.extent,
            box_center=blueprint.box_center,
            semantic_tags=blueprint.semantic_tags,
            relative=relative if parent else None,
            simulated=solid and not parent,
        )
        self._add(actor, pose)
        self._equip(actor, blueprint)
        return actor

    def _equip(self, actor: Actor, blueprint: Blueprint) -> None:
        """Fill in what moves an actor."""
        drive = self.table.drive[actor.row]
        drive[DRIVE["mass"]] = max(blueprint.mass, 1.0)
        driven = actor.kind in ("vehicle", "walker")
        role = actor.attributes.get("role_name", "").partition(":")[0]
        actor.autopilot = driven and role == "autopilot"
        if actor.kind == "vehicle":
            drive[DRIVE["rear"]] = dynamics.rear_base(blueprint.extent[0])
            drive[DRIVE["power"]], drive[DRIVE["drag"]] = dynamics.engine(blueprint.top_speed)

    def is_free(self, blueprint: Blueprint, pose: Transform6) -> bool:
        """Whether no solid actor's box overlaps that of a blueprint at a pose."""
        solid = [a for a in self.actors.values() if a.kind in SOLID]
        if not solid:
            return True
        rows = np.array([actor.row for actor in solid])
        own = ActorTable(1)
        probe = Actor(0, "", "", extent=blueprint.extent, box_center=blueprint.box_center)
        own.append(probe, pose)
        state, drive = self.table.state[rows], self.table.drive[rows]
        box = np.repeat(boxes(own.state, own.drive), len(rows), 1)
        low, high = DRIVE["low"], DRIVE["high"]
        level = state[:, 2] + drive[:, low] < pose[2] + own.drive[0, high]
        level &= state[:, 2] + drive[:, high] > pose[2] - 0.5 + own.drive[0, low]
        return not bool(((overlap(box, boxes(state, drive))[0] > 0.0) & level).any())

    def destroy(self, id: int) -> bool:
        """Remove an actor and what is attached to it; False where there is none."""
        actor = self.actors.get(id)
        if actor is None:
            return False
        for child in [a.id for a in self.actors.values() if a.parent == id]:
            self.destroy(child)
        del self.actors[id]
        self.table.remove(actor.row)
        for other in self.actors.values():
            if other.row > actor.row:
                other.row -= 1
        self._ackermann.pop(id, None)
        self._forces.pop(id, None)
        self._held.pop(id, None)
        self._ghosts.discard(id)
        self._changed = True
        return True

    def _of_kind(self, id: int, kind: str) -> Actor:
        actor = self.actor(id)
        if actor.kind != kind:
            raise StandinError(f"Actor {id} is a {actor.kind} ({actor.type_id}), not a {kind}.")
        return actor

    def pose(self, id: int) -> Transform6:
        """Pose of an actor in the world (m, degrees)."""
        return self.table.pose(self.actor(id).row)

    def _pose_on(self, parent: int, relative: Transform6) -> Transform6:
        return poses.attached(self.table.state[self.actor(parent).row, :6].tolist(), relative)


def finite_pose(transform: Sequence[float]) -> Transform6:
    """A pose from six finite numbers (m, degrees).

    Raises:
        StandinError: it is none.
    """
    if len(transform) != 6 or not all(map(math.isfinite, transform)):
        raise StandinError(f"{list(transform)} is no pose: expected six finite numbers.")
    return tuple(float(value) for value in transform)  # type: ignore[return-value]
