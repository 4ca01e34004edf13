"""All quadrilaterals that a camera may see: scenery and the actors where they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.sim.carla.standin.sensors import shapes, tags

MOVING = ("vehicle", "walker", "prop")
"""Kinds of actors whose body fills their box."""
SIGNALS = ("traffic_light", "traffic_sign")
"""Kinds whose shapes are in metres from the actor's origin (their boxes are trigger volumes)."""
TALL_TYPES = ("volkswagen", "carlacola", "ambulance", "fusorosa", "sprinter", "firetruck")
DETAILED, THINNEST = 14.0, 0.5
"""Apparent size in pixels of a body from which its details are drawn, and of a quadrilateral."""


@dataclass(frozen=True)
class Bodies:
    """Quadrilaterals of several bodies; Q quadrilaterals, N bodies."""

    vertices: np.ndarray
    """Local coordinates in metres, float32 [Q, 4, 3]."""
    normals: np.ndarray
    """Outward unit normals in local coordinates, float32 [Q, 3]."""
    colors: np.ndarray
    """Blue, green, red, float32 [Q, 3]."""
    tags: np.ndarray
    """Semantic tags, uint8 [Q]."""
    need: np.ndarray
    """Pixels per metre from which a quadrilateral is drawn, float32 [Q]."""
    glow: np.ndarray
    """Unshaded, bool [Q]."""
    owner: np.ndarray
    """Index of the body, int [Q]."""
    first: np.ndarray
    """First quadrilateral of each body, int [N]."""
    radius: np.ndarray
    """Radius in metres of each body about its origin, float32 [N]."""

    @property
    def offsets(self) -> np.ndarray:
        """Distance of each quadrilateral's plane from the local origin, float32 [Q]."""
        return np.einsum("qi,qi->q", self.normals, self.vertices.mean(1))


def join(parts: Sequence[tuple[shapes.Shape, Any, Any, tags.Color, int]]) -> Bodies:
    """Scale shapes into bodies.

    Args:
        parts: per body its shape, half sizes and centre (metres, [3] each), colour and tag.
    """
    vertices, colors, kinds = [], [], []
    for shape, half, center, color, tag in parts:
        vertices.append(
            shape.vertices * np.asarray(half, np.float32) + np.asarray(center, np.float32)
        )
        colors.append(np.where(shape.colors < 0, np.asarray(color, np.int16), shape.colors))
        kinds.append(np.where(shape.tags == 0, np.uint8(tag), shape.tags))
    counts = np.array([len(kind) for kind in kinds], int)
    everything = np.concatenate(vertices) if parts else np.zeros((0, 4, 3), np.float32)
    # The diagonals' cross product is the normal also where two corners coincide.
    normals = np.cross(
        everything[:, 2] - everything[:, 0], everything[:, 3] - everything[:, 1]
    ).astype(np.float32)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Bodies(
        vertices=everything,
        normals=normals,
        colors=np.concatenate(colors).astype(np.float32) if parts else np.zeros((0, 3), "f4"),
        tags=np.concatenate(kinds) if parts else np.zeros(0, np.uint8),
        need=_needs(parts, vertices),
        glow=np.concatenate([part[0].glow for part in parts]) if parts else np.zeros(0, bool),
        owner=np.repeat(np.arange(len(parts)), counts),
        first=np.concatenate([[0], np.cumsum(counts)])[:-1].astype(int),
        radius=np.array([np.linalg.norm(v, axis=2).max() for v in vertices], np.float32),
    )


def _needs(parts: Sequence[Any], vertices: list[np.ndarray]) -> np.ndarray:
    """Pixels per metre from which quadrilaterals are drawn: details late, thin ones later."""
    needs = [np.zeros(0, np.float32)]
    for part, corners in zip(parts, vertices, strict=True):
        sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        thickness = np.minimum(sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]) / 2.0
        details = np.where(part[0].fine, DETAILED / _grain(part), 0.0)
        needs.append(np.maximum(THINNEST / np.maximum(thickness, 1e-3), details))
    return np.concatenate(needs).astype(np.float32)


def _grain(part: tuple[shapes.Shape, Any, Any, tags.Color, int]) -> float:
    """Storeys of a house, the body of a car, the plate of a sign."""
    return {tags.BUILDING: 4.0, tags.TRAFFIC_SIGN: 1.0}.get(part[4], 1.6)


def rotations(angles: np.ndarray) -> np.ndarray:
    """Matrices that turn local vectors into the world's frame.

    Args:
        angles: pitch, yaw, roll in degrees, [N, 3].

    Returns:
        float64 [N, 3, 3].
    """
    radians = np.radians(angles).T
    (cp, cy, cr), (sp, sy, sr) = np.cos(radians), np.sin(radians)
    turns = np.empty((len(angles), 3, 3))
    turns[:, 0, 0], turns[:, 1, 0], turns[:, 2, 0] = cp * cy, cp * sy, sp
    turns[:, 0, 1], turns[:, 1, 1] = cy * sp * sr - sy * cr, sy * sp * sr + cy * cr
    turns[:, 0, 2], turns[:, 1, 2] = -cy * sp * cr - sy * sr, -sy * sp * cr + cy * sr
    turns[:, 2, 1], turns[:, 2, 2] = -cp * sr, cp * cr
    return turns


def fixed_bodies(parts: Sequence[tuple[shapes.Shape, Any, int]]) -> Bodies:
    """Bodies that never move, with vertices and normals turned into the world's axes.

    Args:
        parts: per body its shape in metres, its pitch, yaw, roll in degrees, and its tag.
    """
    turned = []
    for shape, angles, tag in parts:
        turn = rotations(np.array([angles], float))[0].astype(np.float32)
        moved = shapes.Shape(
            shape.vertices @ turn.T, shape.colors, shape.tags, shape.fine, shape.glow
        )
        turned.append((moved, (1, 1, 1), (0, 0, 0), (0, 0, 0), tag))
    return join(turned)


def actor_bodies(actors: Sequence[Any]) -> Bodies:
    """Bodies of vehicles, walkers and props, one each, in local coordinates."""
    return join([_part(actor) for actor in actors])


def signal_shape(actor: Any) -> tuple[shapes.Shape, int]:
    """Shape and tag of a traffic light or sign."""
    if actor.kind == "traffic_light":
        return shapes.traffic_light(), tags.TRAFFIC_LIGHT
    kind = actor.type_id.removeprefix("traffic.").split(".")[0]
    return shapes.sign(kind), tags.TRAFFIC_SIGN


def _part(actor: Any) -> tuple[shapes.Shape, Any, Any, tags.Color, int]:
    tag = actor.semantic_tags[0] if actor.semantic_tags else tags.STATIC
    half, center = actor.extent, actor.box_center
    if actor.kind == "vehicle":
        if actor.attributes.get("number_of_wheels") == "2":
            shape = shapes.two_wheeler()
        elif any(word in actor.type_id for word in TALL_TYPES):
            shape = shapes.van()
        else:
            shape = shapes.car()
        return shape, half, center, _paint(actor), tag
    if actor.kind == "walker":
        color = tags.CLOTHES[actor.id % len(tags.CLOTHES)]
        return shapes.person(), half, center, color, tag
    return shapes.block(), half, center, (60, 120, 220), tag


def _paint(actor: Any) -> tags.Color:
    """The paint a client asked for; otherwise one of ours by the actor's id."""
    wish = actor.attributes.get("color", "")
    if wish in ("", "17,37,103"):
        return tags.PAINTS[actor.id % len(tags.PAINTS)]
    red, green, blue = (int(float(level)) for level in wish.split(",")[:3])
    return blue, green, red
