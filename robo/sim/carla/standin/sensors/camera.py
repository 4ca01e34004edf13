"""A pinhole camera: where the ground and quadrilaterals fall on its pixels.

Image coordinates: u to the right, v down, pixel centres at integers; camera coordinates: x right,
y down, z along the view. Angles are CARLA's (left-handed frame, degrees).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robo.sim.carla.standin.poses import rotation_matrix

NEAR = 0.15
"""Metres in front of the camera at which everything is cut off."""


@dataclass(frozen=True)
class Camera:
    """A posed camera."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    focal: float
    """Focal length in pixels."""
    position: np.ndarray
    """x, y, z in metres."""
    axes: np.ndarray
    """Columns: right, down and forward in the world's frame, [3, 3]."""

    @classmethod
    def at(cls, pose: Sequence[float], width: int, height: int, fov: float) -> Camera:
        """A camera at (x, y, z, pitch, yaw, roll) with a horizontal field of view in degrees."""
        turn = np.array(rotation_matrix(pose[3], pose[4], pose[5]))
        axes = np.column_stack([turn[:, 1], -turn[:, 2], turn[:, 0]])
        focal = width / (2.0 * np.tan(np.radians(fov) / 2.0))
        return cls(width, height, float(focal), np.array(pose[:3], float), axes)

    @property
    def center(self) -> tuple[float, float]:
        """Principal point in image coordinates."""
        return self.width / 2.0 - 0.5, self.height / 2.0 - 0.5

    @cached_property
    def rays(self) -> np.ndarray:
        """Matrix [3, 3] from (u, v, 1) to view directions in the world's frame (depth 1)."""
        cu, cv = self.center
        inverse = np.diag([1.0 / self.focal, 1.0 / self.focal, 1.0])
        inverse[:2, 2] = -cu / self.focal, -cv / self.focal
        return self.axes @ inverse

    def ground_matrix(
        self, level: float, origin: tuple[float, float], resolution: float
    ) -> np.ndarray:
        """Matrix [3, 3] from (u, v, 1) to homogeneous pixels of a picture of the ground.

        Args:
            level: height of the ground in metres.
            origin: x, y of the picture's corner.
            resolution: metres per pixel of the picture.

        Returns:
            The matrix, and its third row is positive where the ground is seen.
        """
        # Plain numbers: nine of them are faster without arrays.
        rays = self.rays.tolist()
        x, y, z = self.position.tolist()
        height, fall = z - level, [-value for value in rays[2]]
        rows = [
            [
                (aside * -down + height * ray) / resolution + 0.5 * down
                for ray, down in zip(rays[axis], rays[2], strict=True)
            ]
            for axis, aside in enumerate((x - origin[0], y - origin[1]))
        ]
        return np.array([*rows, fall])

    @cached_property
    def horizon(self) -> tuple[int, bool]:
        """First row with ground below the horizon, and whether the horizon is a row at all."""
        slope_u, slope_v, offset = self.rays[2].tolist()
        ends = [
            slope_u * u + slope_v * v + offset
            for u in (0, self.width - 1)
            for v in (0, self.height - 1)
        ]
        if max(ends) < -1e-9:
            return 0, True
        if min(ends) >= 0.0:
            return self.height, True
        if abs(slope_u) * self.width > 1e-6 or slope_v >= 0.0:
            return 0, False
        return min(max(math.floor(-offset / slope_v) + 1, 0), self.height), True
