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


def clustered(vertices: np.ndarray, faces: np.ndarray, cells: int) -> np.ndarray:
    """Which faces remain, with their corners moved to cluster representatives.

    Args:
        vertices: float ``[V, 3]``.
        faces: int ``[F, 3]`` indices of vertices.
        cells: cells along the longest side of the mesh's bounding box, at least 1.

    Returns:
        int ``[F, 3]``; rows of dropped faces hold -1.
    """
    low = vertices.min(axis=0)
    side = float((vertices.max(axis=0) - low).max()) / cells or 1.0
    keys = np.floor((vertices - low) / side).astype(np.int64)
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


def decimate_robot(model: Any, cells: int = 24) -> tuple[int, int]:
    """Thin the robot's visual meshes of ``model`` in place, before its GL context is made.

    Only meshes that no colliding geom uses are touched, so the physics stay bit for bit the
    same. Corners keep their own normals and texture coordinates.

    Args:
        model: ``mujoco.MjModel``.
        cells: see :func:`clustered`.

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
            _decimate(model, mesh, cells)
    return before, int(model.mesh_facenum.sum())


def _decimate(model: Any, mesh: int, cells: int) -> None:
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    first = int(model.mesh_vertadr[mesh])
    vertices = model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]
    faces = model.mesh_face[start : start + count]
    moved = clustered(vertices, faces, cells)
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
