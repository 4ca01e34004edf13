"""Fewer triangles in meshes that are only looked at: software rendering is bound by vertices.

Vertex clustering (Rossignac and Borrel 1993): vertices that share a cell of a regular grid
become one of them; triangles that collapse or coincide are dropped.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

ROBOT_MESH = re.compile(r"(robot|gripper|mount|fixed_mount|base|fixed_base)\d")
"""Names of the meshes of robots, grippers and their mounts, in robosuite 1.4 and 1.5."""
ROBOT_CELLS = 24
"""Cells along a mesh of a robot."""
DETAIL = 0.002
"""Metres along a cell of any other mesh: less than a pixel in the usual views."""
MANY = 2000
"""Faces; fewer stay as they are in meshes that are not of a robot."""


def clustered(vertices: np.ndarray, faces: np.ndarray, cells: int) -> np.ndarray:
    """Which faces remain, with their corners moved to cluster representatives.

    Args:
        vertices: float ``[V, 3]``.
        faces: int ``[F, 3]`` indices of vertices.
        cells: cells along the longest side of the mesh's bounding box, at least 1.

    Returns:
        int ``[F, 3]``; rows of dropped faces hold -1.
    """
    side = _side(vertices) / cells or 1.0
    keys = np.floor((vertices - vertices.min(axis=0)) / side).astype(np.int64)
    _, first, cluster = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    cluster = cluster.reshape(-1)
    # The vertex nearest to its cluster's centre stands for it.
    count = np.bincount(cluster)[:, None]
    centre = np.stack([np.bincount(cluster, vertices[:, axis]) for axis in range(3)], 1) / count
    distance = np.linalg.norm(vertices - centre[cluster], axis=1)
    order = np.lexsort((distance, cluster))
    chosen = order[np.searchsorted(cluster[order], np.arange(len(first)))]
    moved = chosen[cluster][faces]
    kept = (
        (moved[:, 0] != moved[:, 1]) & (moved[:, 1] != moved[:, 2]) & (moved[:, 2] != moved[:, 0])
    )
    _, distinct = np.unique(np.sort(moved, axis=1), axis=0, return_index=True)
    unique = np.zeros(len(faces), dtype=bool)
    unique[distinct] = True
    return np.where((kept & unique)[:, None], moved, -1)


def decimate(model: Any) -> tuple[int, int]:
    """Thin the visual meshes of ``model`` in place, before its GL context is made.

    Those of the robot coarsely (:data:`ROBOT_CELLS`), all others that have :data:`MANY` faces to a
    :data:`DETAIL` finer than a pixel: scanned things of LIBERO come with 15,000 to 65,000. Only
    meshes that no colliding geom uses are touched, so the physics stay bit for bit the same.
    Corners keep their own normals and texture coordinates.

    Args:
        model: ``mujoco.MjModel``.

    Returns:
        Faces of all meshes before and after.
    """
    import mujoco

    before = int(model.mesh_facenum.sum())
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH.value
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding = set(model.geom_dataid[is_mesh & collides].tolist())
    shown = set(model.geom_dataid[is_mesh & ~collides].tolist())
    for mesh in sorted(shown - colliding):
        if ROBOT_MESH.match(model.mesh(mesh).name):
            _decimate(model, mesh, ROBOT_CELLS)
        elif model.mesh_facenum[mesh] >= MANY:
            _decimate(model, mesh, max(1, int(_side(_vertices(model, mesh)) / DETAIL)))
    return before, int(model.mesh_facenum.sum())


def _vertices(model: Any, mesh: int) -> np.ndarray:
    first = int(model.mesh_vertadr[mesh])
    return model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]


def _side(vertices: np.ndarray) -> float:
    """The longest of the bounding box."""
    return float((vertices.max(axis=0) - vertices.min(axis=0)).max())


def _decimate(model: Any, mesh: int, cells: int) -> None:
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    faces = model.mesh_face[start : start + count]
    moved = clustered(_vertices(model, mesh), faces, cells)
    kept = moved[:, 0] >= 0
    remaining = int(kept.sum())
    if remaining == 0 or remaining == count:
        return
    block = slice(start, start + remaining)
    for array in (model.mesh_facenormal, model.mesh_facetexcoord):
        if len(array) == len(model.mesh_face):
            array[block] = array[start : start + count][kept]
    model.mesh_face[block] = moved[kept]
    model.mesh_facenum[mesh] = remaining
