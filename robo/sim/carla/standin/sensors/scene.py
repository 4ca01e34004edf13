"""Pictures of a world: colour, semantic tags and depth, from the same geometry.

The ground is one warped picture; everything else is flat quadrilaterals painted from far to near.
All three kinds of pictures draw the same polygons with the same rule, so they agree pixel for
pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from robo.sim.carla.standin.sensors import backdrop as backdrop_module
from robo.sim.carla.standin.sensors import bodies, faces, lidar, shapes, tags
from robo.sim.carla.standin.sensors.camera import Camera
from robo.sim.carla.standin.sensors.ground import Ground, build
from robo.sim.carla.standin.sensors.painting import fill
from robo.sim.carla.standin.sensors.scenery import Thing, place
from robo.sim.carla.standin.sensors.seen import REACH

FAR = 1000.0
"""Metres at which CARLA's depth pictures end."""
SUN = np.array([0.42, 0.3, 0.86], np.float32) / np.float32(1.003)
"""Direction towards the light that shades surfaces."""
_FAR_CODE = (1 << 24) - 1


@lru_cache(maxsize=3)
def _surroundings(name: str, opendrive: str) -> tuple[Ground, list[Thing]]:
    import carla

    ground = build(carla.Map(name, opendrive))
    return ground, place(ground)


class Scene:
    """Renders a world; keeps what only changes with the map or the set of actors.

    Args:
        world: the world (its map, actors, table and weather are read).
    """

    def __init__(self, world: Any) -> None:
        """Paint the map (once per process) and take up who is there."""
        self.ground, self.things = _surroundings(world.name, world.opendrive)
        self._everyone: list[int] = []
        self._index(world)

    # --- Actors -----------------------------------------------------------------------------

    def _index(self, world: Any) -> None:
        """Take up who is there."""
        self._everyone = list(world.actors)
        everyone = world.actors.values()
        signals = [actor for actor in everyone if actor.kind in bodies.SIGNALS]
        self._movers = [actor for actor in everyone if actor.kind in bodies.MOVING]
        poses = [world.table.pose(actor.row) for actor in signals]
        parts = [(thing.shape, (0.0, thing.pose[3], 0.0), thing.tag) for thing in self.things]
        for actor, pose in zip(signals, poses, strict=True):
            shape, tag = bodies.signal_shape(actor)
            parts.append((shape, pose[3:], tag))
        spots = [thing.pose[:3] for thing in self.things] + [pose[:3] for pose in poses]
        prints = np.full((len(parts), 6), np.nan)
        for index, thing in enumerate(self.things):
            if thing.tag == tags.BUILDING:
                yaw = np.radians(thing.pose[3])
                prints[index] = (*thing.pose[:2], *thing.half[:2], np.cos(yaw), np.sin(yaw))
        fixed = bodies.fixed_bodies(parts)
        self._fixed = faces.Fixed.of(fixed, np.array(spots).reshape(-1, 3), prints)
        self._near: dict[tuple[int, int], faces.Fixed] = {}
        bright = _brightness(fixed.normals @ SUN)
        bright[fixed.glow] = 1.0
        self._fixed_colors = _pixels(fixed.colors * bright[:, None])
        lights = [i for i, actor in enumerate(signals) if actor.kind == "traffic_light"]
        self._light_actors = [signals[i] for i in lights]
        first = len(shapes.traffic_light().tags) - 3
        self._lamps = (fixed.first[len(self.things) :][lights] + first).tolist()
        self._lit: list[int] = []
        half = np.array([actor.extent for actor in self._movers]).reshape(-1, 3)
        middle = np.array([actor.box_center for actor in self._movers]).reshape(-1, 3)
        self._mobile = bodies.actor_bodies(self._movers)
        self._shells = faces.Shells.of(self._mobile, half, middle)
        self._solid = _solid(self.things, signals, poses)
        self._fixed_tags = _labels(fixed.tags)
        self._mobile_tags = _labels(self._mobile.tags)

    def _moving(self, world: Any) -> faces.Moving:
        if list(world.actors) != self._everyone:
            self._index(world)
        rows = [actor.row for actor in self._movers]
        return faces.Moving.at(self._shells, world.table.state[rows])

    def _around(self, position: np.ndarray) -> faces.Fixed:
        """Fixed bodies within reach of the camera."""
        key = (round(position[0] / faces.CELL), round(position[1] / faces.CELL))
        found = self._near.get(key)
        if found is None:
            if len(self._near) > 64:
                self._near.clear()
            middle = np.array(key) * faces.CELL
            found = self._near[key] = self._fixed.within(middle, REACH + faces.CELL)
        return found

    def _find(self, world: Any, camera: Camera) -> tuple[faces.Faces, faces.Moving]:
        moving = self._moving(world)
        return faces.find(camera, self._around(camera.position), moving), moving

    def _light_lamps(self, world: Any) -> None:
        if not self._light_actors:
            return
        rows = [actor.row for actor in self._light_actors]
        states = world.table.records["light"]["state"][rows].tolist()
        if states == self._lit:
            return
        self._lit = states
        for state, first in zip(states, self._lamps, strict=True):
            for lamp in range(3):
                color = tags.LAMPS[lamp] if state == lamp else tags.DARK_LAMPS[lamp]
                self._fixed_colors[first + lamp] = _pixels(np.array([color]))[0]

    def _colors(self, seen: faces.Faces, moving: faces.Moving) -> np.ndarray:
        """Colours under the light, by the direction a quadrilateral faces, uint32 [K]."""
        mobile = seen.rows < 0
        mine = -1 - seen.rows[mobile]
        part = self._mobile
        sun = (SUN @ moving.turns).astype(np.float32)[part.owner[mine]]
        bright = _brightness(np.einsum("qi,qi->q", part.normals[mine], sun))
        bright[part.glow[mine]] = 1.0
        colors = self._fixed_colors.take(seen.rows, mode="clip")
        colors[mobile] = _pixels(part.colors[mine] * bright[:, None])
        return colors

    # --- Pictures ---------------------------------------------------------------------------

    def render_rgb(
        self, world: Any, transform: Sequence[float], width: int, height: int, fov: float
    ) -> np.ndarray:
        """Colour picture.

        Args:
            world: the world.
            transform: x, y, z (m), pitch, yaw, roll (degrees) of the camera.
            width: pixels.
            height: pixels.
            fov: horizontal field of view in degrees.

        Returns:
            BGRA, uint8 [H, W, 4].
        """
        camera = Camera.at(transform, width, height, fov)
        seen, moving = self._find(world, camera)
        self._light_lamps(world)
        picture = backdrop_module.colors(self.ground, camera)
        fill(_whole(picture), seen.polygons, seen.counts, self._colors(seen, moving))
        light = _daylight(world.weather)
        if light < 0.99:
            cv2.convertScaleAbs(picture, picture, light)
            picture[..., 3] = 255
        return picture

    def render_semantic(
        self, world: Any, transform: Sequence[float], width: int, height: int, fov: float
    ) -> np.ndarray:
        """Semantic tags in the red channel; arguments as :meth:`render_rgb`.

        Returns:
            BGRA, uint8 [H, W, 4], blue and green 0.
        """
        camera = Camera.at(transform, width, height, fov)
        seen, _ = self._find(world, camera)
        picture = np.zeros((height, width, 4), np.uint8)
        picture[..., 2] = backdrop_module.labels(self.ground, camera)
        picture[..., 3] = 255
        labels = self._fixed_tags.take(seen.rows, mode="clip")
        mobile = seen.rows < 0
        labels[mobile] = self._mobile_tags[-1 - seen.rows[mobile]]
        fill(_whole(picture), seen.polygons, seen.counts, labels)
        return picture

    def depth(
        self, world: Any, transform: Sequence[float], width: int, height: int, fov: float
    ) -> np.ndarray:
        """Depth along the view in metres, at most 1000, float32 [H, W]."""
        camera = Camera.at(transform, width, height, fov)
        seen, _ = self._find(world, camera)
        inverse = backdrop_module.inverse_depth(self.ground, camera)
        owner = np.zeros((height, width), np.uint32)
        fill(owner, seen.polygons, seen.counts, np.arange(1, len(seen.rows) + 1, dtype=np.uint32))
        covered = np.flatnonzero(owner)
        if len(covered):
            corners = seen.corners
            normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
            offset = np.einsum("ki,ki->k", normals, corners.mean(1))
            planes = normals / np.where(np.abs(offset) < 1e-9, 1e-9, offset)[:, None]
            own = planes[owner.ravel()[covered] - 1].astype(np.float32)
            rows, columns = np.divmod(covered, width)
            middle_u, middle_v = camera.center
            across = ((columns - middle_u) / camera.focal).astype(np.float32)
            down = ((rows - middle_v) / camera.focal).astype(np.float32)
            inverse.ravel()[covered] = own[:, 0] * across + own[:, 1] * down + own[:, 2]
        return 1.0 / np.clip(inverse, 1.0 / FAR, 1e3)

    def render_depth(
        self, world: Any, transform: Sequence[float], width: int, height: int, fov: float
    ) -> np.ndarray:
        """Depth in CARLA's encoding; arguments as :meth:`render_rgb`.

        Returns:
            BGRA, uint8 [H, W, 4]: metres = 1000 (R + 256 G + 65536 B) / (2^24 - 1).
        """
        metres = self.depth(world, transform, width, height, fov)
        codes = np.minimum((metres * np.float32(_FAR_CODE / FAR)).astype(np.uint32), _FAR_CODE)
        packed = ((codes << 8) | 255).astype(">u4")
        return packed.view(np.uint8).reshape(height, width, 4)

    # --- Lidar ------------------------------------------------------------------------------

    def _boxes(self, world: Any) -> lidar.Boxes:
        """Everything that a ray may hit, as boxes."""
        moving = self._moving(world)
        shells = moving.shells
        middles = moving.locations + np.einsum("nij,nj->ni", moving.turns, shells.middle)
        still, solid = self._solid, np.array([_tag(actor) for actor in self._movers], np.uint32)
        ids = np.array([actor.id for actor in self._movers], np.uint32)
        return lidar.Boxes(
            np.concatenate([still.centers, middles]),
            np.concatenate([still.turns, moving.turns]),
            np.concatenate([still.half, shells.half]),
            np.concatenate([still.tags, solid]),
            np.concatenate([still.actors, ids]),
        )

    def lidar(
        self, world: Any, transform: Sequence[float], attributes: Mapping[str, str], dt: float
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Points of a lidar for the last ``dt`` seconds.

        Args:
            world: the world.
            transform: x, y, z (m), pitch, yaw, roll (degrees) of the sensor.
            attributes: of ``sensor.lidar.ray_cast``, as text.
            dt: seconds.

        Returns:
            Horizontal angle (rad), counts per channel uint32 [C], and x, y, z, intensity float32
            [N, 4] in the sensor's frame, channel by channel.
        """
        boxes = self._boxes(world)
        angle, channel, rays, hits = lidar.scan(
            transform, attributes, world.elapsed, dt, boxes, self.ground
        )
        return angle, *lidar.points(attributes, channel, rays, hits, world.frame)

    def semantic_lidar(
        self, world: Any, transform: Sequence[float], attributes: Mapping[str, str], dt: float
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """As :meth:`lidar`, but rows of ``layouts_streams.SEMANTIC_POINT``, none lost."""
        boxes = self._boxes(world)
        angle, channel, rays, hits = lidar.scan(
            transform, attributes, world.elapsed, dt, boxes, self.ground
        )
        found = lidar.semantic_points(
            transform, attributes, channel, rays, hits, boxes, self.ground
        )
        return angle, *found


def _tag(actor: Any) -> int:
    return actor.semantic_tags[0] if actor.semantic_tags else tags.STATIC


def _solid(things: list[Thing], signals: list[Any], poses: list[Any]) -> lidar.Boxes:
    """Scenery and signals as boxes; signals are posts."""
    half = [thing.half for thing in things] + [(0.12, 0.2, 1.9)] * len(signals)
    spots = [thing.pose[:3] for thing in things] + [pose[:3] for pose in poses]
    angles = [(0.0, thing.pose[3], 0.0) for thing in things] + [pose[3:] for pose in poses]
    sizes = np.array(half, float).reshape(-1, 3)
    centers = np.array(spots, float).reshape(-1, 3)
    centers[:, 2] += sizes[:, 2]
    kinds = [thing.tag for thing in things] + [bodies.signal_shape(a)[1] for a in signals]
    return lidar.Boxes(
        centers,
        bodies.rotations(np.array(angles, float).reshape(-1, 3)),
        sizes,
        np.array(kinds, np.uint32),
        np.array([0] * len(things) + [actor.id for actor in signals], np.uint32),
    )


def _brightness(cosine: np.ndarray) -> np.ndarray:
    """Brightness of surfaces by the cosine of the angle to the light."""
    return 0.64 + 0.36 * np.clip(cosine, -0.5, 1.0)


def _pixels(colors: np.ndarray) -> np.ndarray:
    """Colours [K, 3] (blue, green, red, 0 to 255) as opaque pixels, uint32 [K]."""
    opaque = np.full((len(colors), 4), 255, np.uint8)
    opaque[:, :3] = np.rint(colors)
    return opaque.view("<u4")[:, 0]


def _labels(kinds: np.ndarray) -> np.ndarray:
    """Semantic tags [K] as pixels: red of an opaque black, uint32 [K]."""
    opaque = np.zeros((len(kinds), 4), np.uint8)
    opaque[:, 2], opaque[:, 3] = kinds, 255
    return opaque.view("<u4")[:, 0]


def _whole(picture: np.ndarray) -> np.ndarray:
    """The same picture, a pixel [H, W, 4] as one number."""
    return picture.view("<u4")[..., 0]


def _daylight(weather: Sequence[float]) -> float:
    """Brightness 0.25 to 1 by the sun's altitude and the clouds."""
    clouds, altitude = float(weather[0]), float(weather[5])
    day = float(np.clip((altitude + 10.0) / 30.0, 0.25, 1.0))
    return day * (1.0 - 0.0018 * max(0.0, clouds - 15.0))
