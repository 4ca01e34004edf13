"""A rotating lidar in a world of boxes on a flat ground: exact ray casting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robo.sim.carla.standin.layouts_streams import SEMANTIC_POINT
from robo.sim.carla.standin.sensors import tags
from robo.sim.carla.standin.sensors.bodies import rotations
from robo.sim.carla.standin.sensors.ground import Ground


@dataclass(frozen=True)
class Boxes:
    """Boxes that rays may hit, N of them."""

    centers: np.ndarray
    """World frame, metres, [N, 3]."""
    turns: np.ndarray
    """Rotation matrices, [N, 3, 3]."""
    half: np.ndarray
    """Half sizes in metres, [N, 3]."""
    tags: np.ndarray
    """Semantic tags, uint32 [N]."""
    actors: np.ndarray
    """Actor ids, 0 for scenery, uint32 [N]."""


class Hits(NamedTuple):
    """Where rays end; P of them."""

    distance: np.ndarray
    """Metres, inf where nothing is hit, [P]."""
    box: np.ndarray
    """Index of the box, -1 for the ground, int [P]."""
    cosine: np.ndarray
    """Of the angle of incidence, 0 to 1, [P]."""


def directions(attributes: Mapping[str, str], start: float, dt: float) -> tuple[np.ndarray, int]:
    """Rays of one step in the sensor's frame, channel by channel from the upper one.

    Args:
        attributes: the blueprint's, as text.
        start: horizontal angle in degrees at which the step begins.
        dt: seconds of the step.

    Returns:
        Unit vectors [channels * n, 3], and n.
    """
    channels = int(attributes["channels"])
    count = max(0, round(float(attributes["points_per_second"]) * dt / channels))
    upper, lower = float(attributes["upper_fov"]), float(attributes["lower_fov"])
    pitch = np.radians(np.linspace(upper, lower, channels))
    sweep = 360.0 * float(attributes["rotation_frequency"]) * dt
    field = float(attributes.get("horizontal_fov", 360.0))
    turn = (start + sweep * np.arange(count) / max(count, 1)) % field - field / 2.0
    yaw = np.radians(turn)[None]
    flat = np.cos(pitch)[:, None]
    rays = np.stack(
        np.broadcast_arrays(flat * np.cos(yaw), flat * np.sin(yaw), np.sin(pitch)[:, None]), -1
    )
    return rays.reshape(-1, 3), count


def cast(origin: np.ndarray, rays: np.ndarray, reach: float, boxes: Boxes, level: float) -> Hits:
    """First hits of rays.

    Args:
        origin: where all rays begin, metres, [3]; boxes around it are ignored.
        rays: unit vectors in the world's frame, [P, 3].
        reach: metres beyond which nothing is hit.
        boxes: what can be hit beside the ground.
        level: height of the ground in metres.
    """
    distance = np.full(len(rays), np.inf)
    box = np.full(len(rays), -1)
    cosine = np.zeros(len(rays))
    down = rays[:, 2] < -1e-6
    if origin[2] > level:
        distance[down] = (level - origin[2]) / rays[down, 2]
        cosine[down] = -rays[down, 2]
    radius = np.linalg.norm(boxes.half, axis=1)
    offsets = boxes.centers - origin
    apart = np.linalg.norm(offsets, axis=1)
    for index in np.flatnonzero(apart - radius < reach).tolist():
        turn, half = boxes.turns[index], boxes.half[index]
        start = -offsets[index] @ turn
        if (np.abs(start) < half).all():
            continue
        # Only rays within the cone around the box's sphere can hit it.
        sine = min(1.0, radius[index] / max(apart[index], 1e-6))
        limit = -1.0 if sine >= 1.0 else np.sqrt(1.0 - sine * sine)
        near = np.flatnonzero(rays @ (offsets[index] / max(apart[index], 1e-6)) > limit - 1e-9)
        local = rays[near] @ turn
        local = np.where(np.abs(local) < 1e-12, 1e-12, local)
        first, second = (-half - start) / local, (half - start) / local
        enter, leave = np.minimum(first, second), np.maximum(first, second).min(1)
        axis = enter.argmax(1)
        entry = enter[np.arange(len(near)), axis]
        hit = (entry > 0.0) & (entry <= leave) & (entry < distance[near])
        chosen = near[hit]
        distance[chosen] = entry[hit]
        box[chosen] = index
        cosine[chosen] = np.abs(local[hit, axis[hit]])
    distance[distance > reach] = np.inf
    return Hits(distance, box, cosine)


def scan(
    pose: Sequence[float],
    attributes: Mapping[str, str],
    elapsed: float,
    dt: float,
    boxes: Boxes,
    ground: Ground,
) -> tuple[float, np.ndarray, np.ndarray, Hits]:
    """One step of a lidar.

    Returns:
        Horizontal angle at its end (rad), channel of each ray, local rays [P, 3], hits.
    """
    turning = 360.0 * float(attributes["rotation_frequency"])
    start = turning * max(elapsed - dt, 0.0) % 360.0
    rays, count = directions(attributes, start, dt)
    turn = rotations(np.array([pose[3:6]], float))[0]
    origin = np.array(pose[:3], float)
    level = ground.height(origin[0], origin[1])
    hits = cast(origin, rays @ turn.T, float(attributes["range"]), boxes, level)
    channel = np.repeat(np.arange(int(attributes["channels"])), count)
    return float(np.radians((start + turning * dt) % 360.0)), channel, rays, hits


def points(
    attributes: Mapping[str, str], channel: np.ndarray, rays: np.ndarray, hits: Hits, frame: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts per channel, uint32 [C], and x, y, z, intensity, float32 [N, 4], sensor frame.

    Intensity falls off as exp(-rate * distance). Points are lost at random as the attributes say
    (from ``noise_seed`` and the frame), and moved along their ray by ``noise_stddev`` metres.
    """
    random = np.random.default_rng([int(attributes.get("noise_seed", 0)), frame])
    hit = np.isfinite(hits.distance)
    distance = hits.distance[hit]
    rate = float(attributes.get("atmosphere_attenuation_rate", 0.004))
    intensity = np.exp(-rate * distance)
    limit = float(attributes.get("dropoff_intensity_limit", 0.8))
    zero = float(attributes.get("dropoff_zero_intensity", 0.4))
    keep = random.random(len(distance)) >= float(attributes.get("dropoff_general_rate", 0.45))
    chance = 1.0 - zero + zero / max(limit, 1e-9) * intensity
    keep &= (intensity > limit) | (random.random(len(distance)) < chance)
    spread = float(attributes.get("noise_stddev", 0.0))
    if spread > 0.0:
        distance = distance + random.normal(0.0, spread, len(distance))
    cloud = np.column_stack([rays[hit] * distance[:, None], intensity])[keep]
    counts = np.bincount(channel[hit][keep], minlength=int(attributes["channels"]))
    return counts.astype(np.uint32), cloud.astype(np.float32)


def semantic_points(
    pose: Sequence[float],
    attributes: Mapping[str, str],
    channel: np.ndarray,
    rays: np.ndarray,
    hits: Hits,
    boxes: Boxes,
    ground: Ground,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts per channel, uint32 [C], and points with actor and tag, SEMANTIC_POINT [N]."""
    hit = np.flatnonzero(np.isfinite(hits.distance))
    local = rays[hit] * hits.distance[hit, None]
    cloud = np.zeros(len(hit), SEMANTIC_POINT)
    cloud["x"], cloud["y"], cloud["z"] = local.T
    cloud["cosine"] = hits.cosine[hit]
    box = hits.box[hit]
    solid = box >= 0
    cloud["actor"][solid] = boxes.actors[box[solid]]
    cloud["tag"][solid] = boxes.tags[box[solid]]
    turn = rotations(np.array([pose[3:6]], float))[0]
    flat = local[~solid] @ turn.T + np.array(pose[:3])
    cells = np.floor((flat[:, :2] - ground.origin) / ground.resolutions[0]).astype(int)
    rows, columns = ground.tags.shape
    inside = ((cells >= 0) & (cells < (columns, rows))).all(1)
    found = np.full(len(cells), tags.TERRAIN)
    found[inside] = ground.tags[cells[inside, 1], cells[inside, 0]]
    cloud["tag"][~solid] = found
    counts = np.bincount(channel[hit], minlength=int(attributes["channels"]))
    return counts.astype(np.uint32), cloud
