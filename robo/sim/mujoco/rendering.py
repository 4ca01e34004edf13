"""Camera images of one MuJoCo model: profiles, one wide frame buffer for all views.

Software rendering is bound by shadows, reflections and multisampling, hardly by pixels, so the
``fast`` profile leaves them out; ``faithful`` keeps them. The profile is recorded with the data.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import weakref
from contextlib import suppress
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from robo.errors import RenderingError

Profile = Literal["fast", "faithful"]
PROFILES: tuple[str, ...] = get_args(Profile)

LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
"""Headless GL backends of MuJoCo and the system library that each needs, best first."""

_OPEN: weakref.WeakSet[ViewRenderer] = weakref.WeakSet()


def _close_all() -> None:
    """Free what was left open, before MuJoCo's own exit handler ends the GL display."""
    for renderer in list(_OPEN):
        renderer.close()


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
        raise _backend_error(error) from error
    return mujoco


def _backend_error(error: Exception) -> RenderingError:
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


def _fixed_camera(id: int) -> Any:
    import mujoco

    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
    camera.fixedcamid = id
    return camera


class ViewRenderer:
    """Renders several named cameras of one model side by side into one buffer."""

    def __init__(
        self,
        model: Any,
        views: tuple[str, ...],
        height: int,
        width: int,
        profile: Profile = "fast",
    ) -> None:
        """Open a GL context for ``views`` of ``height`` x ``width`` pixels.

        Raises:
            RenderingError: where no GL backend works, with the command that shows why.
        """
        import mujoco

        self.views, self.height, self.width, self.profile = views, height, width, profile
        self.model = model
        total = width * len(views)
        quality = model.vis.quality
        quality.offsamples = 0 if profile == "fast" else 4
        if profile == "fast":  # software rendering is bound by vertices
            quality.numslices, quality.numstacks, quality.numquads = 10, 5, 1
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, total)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._gl = self._context = None
        try:
            from mujoco.gl_context import GLContext

            self._gl = GLContext(total, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:  # each GL binding raises its own kind
            with suppress(Exception):
                self.close()
            self._gl = None
            raise _backend_error(error) from error
        self._scene = mujoco.MjvScene(model, maxgeom=500)
        if profile == "fast":
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = 0
        self._option = mujoco.MjvOption()
        self._cameras = [_fixed_camera(model.camera(view).id) for view in views]
        # The headlight stays at the model's first camera, so that a view's image does not depend
        # on the views beside it.
        self._lamp = _fixed_camera(0)
        self._rectangles = [mujoco.MjrRect(width * i, 0, width, height) for i in range(len(views))]
        self._whole = mujoco.MjrRect(0, 0, total, height)
        self._pixels = np.empty((height, total, 3), np.uint8)
        self._data = mujoco.MjData(model)
        # Handlers run last in, first out: this one must come after MuJoCo's.
        if not _OPEN:
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _OPEN.add(self)

    def render(self, qpos: np.ndarray, mocap_pos: np.ndarray | None = None) -> list[np.ndarray]:
        """One image per view of a state.

        Args:
            qpos: ``[nq]`` joint positions.
            mocap_pos: ``[nmocap, 3]`` positions of the goal markers, m.

        Returns:
            uint8 ``[H, W, 3]`` per view, fresh arrays.

        Raises:
            RenderingError: after :meth:`close`.
        """
        if self._gl is None:
            raise RenderingError("this renderer was closed; open a new one to render")
        import mujoco

        self._data.qpos[:] = qpos
        if mocap_pos is not None and self.model.nmocap:
            self._data.mocap_pos[:] = mocap_pos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self.model, self._data, self._option, None, self._lamp, everything, self._scene
        )
        for rectangle, camera in zip(self._rectangles, self._cameras, strict=True):
            mujoco.mjv_updateCamera(self.model, self._data, camera, self._scene)
            mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._whole, self._context)
        upright = self._pixels[::-1]
        return [
            upright[:, self.width * i : self.width * (i + 1)].copy() for i in range(len(self.views))
        ]

    def close(self) -> None:
        """Free the GL context; its own context is made current first, so no other is harmed."""
        if self._gl is not None:
            self._gl.make_current()
            if self._context is not None:
                self._context.free()
            self._gl.free()
            self._gl = None
            _OPEN.discard(self)

    def __del__(self) -> None:
        """Free at garbage collection too, except while the interpreter shuts down."""
        if not sys.is_finalizing() and getattr(self, "_gl", None) is not None:
            self.close()
