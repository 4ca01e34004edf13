"""Poses of attached actors: CARLA's rotation matrices for single poses.

The frame is left-handed (x forward, y right, z up); a rotation is pitch, yaw, roll in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from robo.sim.carla.standin.layouts import Transform6

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


def rotation_matrix(pitch: float, yaw: float, roll: float) -> Matrix:
    """Rows of the matrix that turns a local vector into the world's frame; degrees."""
    cp, sp = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    cy, sy = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    cr, sr = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return (
        (cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr),
        (cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr),
        (sp, -cp * sr, cp * cr),
    )


def rotate(matrix: Matrix, vector: Sequence[float]) -> tuple[float, float, float]:
    """A local vector in the world's frame."""
    x, y, z = vector
    a, b, c = matrix
    return (
        a[0] * x + a[1] * y + a[2] * z,
        b[0] * x + b[1] * y + b[2] * z,
        c[0] * x + c[1] * y + c[2] * z,
    )


def attached(parent: Sequence[float], relative: Transform6) -> Transform6:
    """World pose of an actor that is fixed to a parent.

    Args:
        parent: x, y, z (m), pitch, yaw, roll (degrees) of the parent.
        relative: the same in the parent's frame.
    """
    outer = rotation_matrix(parent[3], parent[4], parent[5])
    dx, dy, dz = rotate(outer, relative[:3])
    place = (parent[0] + dx, parent[1] + dy, parent[2] + dz)
    if relative[3] == relative[4] == relative[5] == 0.0:
        return *place, float(parent[3]), float(parent[4]), float(parent[5])
    inner = rotation_matrix(*relative[3:])
    columns = tuple(zip(*inner, strict=True))
    forward, right, up = (rotate(outer, column) for column in columns)
    pitch = math.degrees(math.asin(max(-1.0, min(1.0, forward[2]))))
    yaw = math.degrees(math.atan2(forward[1], forward[0]))
    roll = math.degrees(math.atan2(-right[2], up[2]))
    return *place, pitch, yaw, roll
