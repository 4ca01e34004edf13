"""Compile what cameras need before a server serves: in a tick it would be seconds of silence."""

from __future__ import annotations

import tempfile
from pathlib import Path

from filelock import FileLock

COMPILED = ("seen.visible", "painting.fill")
"""What is called from Python; its helpers are within."""


def is_compiled() -> bool:
    """Whether an earlier process left its compilation beside the code; loads nothing."""
    kept = Path(__file__).with_name("__pycache__")
    return all(any(kept.glob(f"{name}-*.nbi")) for name in COMPILED)


def compile_once() -> None:
    """Compile where no process of this installation has; of several servers one does it.

    It takes some seconds, once. Where the code's folder cannot be written to, numba keeps the
    compilation in the user's cache, and every server reads it from there when it starts.
    """
    if is_compiled():
        return
    with FileLock(Path(tempfile.gettempdir()) / "robo-standin-compile.lock", mode=0o666):
        if is_compiled():
            return
        import numpy as np

        from robo.sim.carla.standin.sensors.bodies import join
        from robo.sim.carla.standin.sensors.camera import Camera
        from robo.sim.carla.standin.sensors.faces import Fixed, Moving, Shells, find
        from robo.sim.carla.standin.sensors.painting import fill

        nothing, nobody = np.zeros((0, 3)), join([])
        moving = Moving.at(Shells.of(nobody, nothing, nothing), np.zeros((0, 6)))
        fixed = Fixed.of(nobody, nothing, np.zeros((0, 6)))
        seen = find(Camera.at((0.0,) * 6, 8, 8, 90.0), fixed, moving)
        fill(np.zeros((8, 8), np.uint32), seen.polygons, seen.counts, np.zeros(0, np.uint32))
