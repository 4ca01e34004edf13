"""Meshes out of a camera's sight, which need not be drawn.

OpenGL transforms every vertex of every mesh before it finds that none is in the picture, and in
software that is most of the work. Leaving whole meshes out changes no pixel as long as nothing
casts a shadow or a reflection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

HIDDEN_GROUP = 0
"""Of geoms: robosuite's collision shapes, never drawn."""
_MARGIN = 1.01
"""Of the bounding spheres, far above rounding."""


class MeshCulling:
    """Which mesh geoms of a model lie outside a view's frustum."""

    def __init__(self, model: Any) -> None:
        """Read the mesh geoms of ``model`` (``mujoco.MjModel``) and their bounding spheres."""
        import mujoco

        self._model = model
        is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH.value
        self._geoms = np.flatnonzero(is_mesh & (model.geom_group != HIDDEN_GROUP))
        self._groups = model.geom_group[self._geoms].copy()

    def outside(self, data: Any, camera: Any, aspect: float) -> np.ndarray:
        """Which of the mesh geoms cannot be in the picture, bool ``[M]``.

        Args:
            data: ``mujoco.MjData``.
            camera: ``mujoco.MjvGLCamera`` of the view.
            aspect: width of the picture over its height.
        """
        (fx, fy, fz), (ux, uy, uz) = camera.forward.tolist(), camera.up.tolist()
        right = (fy * uz - fz * uy, fz * ux - fx * uz, fx * uy - fy * ux)
        axes = np.array([(fx, fy, fz), right, (ux, uy, uz)])
        relative = data.geom_xpos[self._geoms] - camera.pos
        ahead, right, above = axes @ relative.T
        radius = self._model.geom_rbound[self._geoms] * _MARGIN
        near, far = camera.frustum_near, camera.frustum_far
        top, bottom, centre = camera.frustum_top, camera.frustum_bottom, camera.frustum_center
        half = camera.frustum_width / 2 or (top - bottom) / 2 * aspect
        out = (ahead + radius < near) | (ahead - radius > far)
        # Each side plane holds the eye and one edge of the near rectangle.
        for offset, edge, sign in (
            (right, centre + half, 1),
            (right, centre - half, -1),
            (above, top, 1),
            (above, bottom, -1),
        ):
            out |= sign * (offset * near - edge * ahead) > radius * math.hypot(near, edge)
        return out

    @contextmanager
    def hidden(self, data: Any, camera: Any, aspect: float) -> Iterator[None]:
        """Inside, geoms out of sight belong to :data:`HIDDEN_GROUP`; arguments as above."""
        self._model.geom_group[self._geoms[self.outside(data, camera, aspect)]] = HIDDEN_GROUP
        try:
            yield
        finally:
            self._model.geom_group[self._geoms] = self._groups
