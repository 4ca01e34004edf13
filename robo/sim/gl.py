"""MuJoCo with a headless GL backend: chosen once, for our models and for gymnasium's."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from types import ModuleType
from typing import Any

from robo.errors import RenderingError

LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
"""Headless GL backends of MuJoCo and the system library that each needs, best first."""


def choose_backend() -> None:
    """Pick a headless GL backend where neither the user nor a screen decides.

    MuJoCo reads ``MUJOCO_GL`` when it is first imported, hence before any import of it. Without
    any GL library physics still runs: MuJoCo's import would fail, so its rendering is disabled.
    """
    if "MUJOCO_GL" not in os.environ and os.name == "posix" and not os.environ.get("DISPLAY"):
        loadable = (name for name, library in LIBRARIES.items() if _loads(library))
        os.environ["MUJOCO_GL"] = next(loadable, "disable")
    if os.environ.get("MUJOCO_GL") == "egl":
        os.environ.setdefault("MUJOCO_EGL_DEVICE_ID", "0")


def _loads(library: str) -> bool:
    if sys.platform != "linux":
        return True  # other names there; MuJoCo's own import tells
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def import_mujoco() -> ModuleType:
    """The ``mujoco`` module, imported with a GL backend chosen.

    Raises:
        RenderingError: where ``MUJOCO_GL`` names a backend that cannot be imported.
    """
    choose_backend()
    try:
        import mujoco
    except Exception as error:  # each GL binding raises its own kind
        if not os.environ.get("MUJOCO_GL"):
            raise
        raise backend_error(error) from error
    return mujoco


def context_class() -> Any:
    """``GLContext`` of the chosen backend.

    MuJoCo's own, ``mujoco.gl_context.GLContext``, is that of the backend which was chosen when
    ``mujoco`` was imported: with ``import mujoco`` before ``import robo``, one that needs a screen.
    """
    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if sys.platform == "linux" and backend in LIBRARIES:
        return importlib.import_module(f"mujoco.{backend}").GLContext
    return importlib.import_module("mujoco.gl_context").GLContext


def backend_error(error: Exception) -> RenderingError:
    """One sentence on a GL backend that ``error`` shows not to work."""
    backend = os.environ.get("MUJOCO_GL", "unset")
    if backend == "disable":
        return RenderingError(
            "camera images need a GL backend, but MUJOCO_GL is 'disable' (robo sets that where "
            f"it finds none of {', '.join(LIBRARIES.values())}); run `robo doctor` to see how to "
            "install one"
        )
    reason = " ".join(str(error).split())
    return RenderingError(
        f"MuJoCo could not open the GL backend MUJOCO_GL={backend!r} "
        f"({type(error).__name__}: {reason}); run `robo doctor` to see which backends work and "
        "how to install one"
    )
