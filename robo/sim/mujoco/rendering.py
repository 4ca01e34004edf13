"""Camera images of one MuJoCo model: profiles, one wide frame buffer for all views.

Software rendering is bound by shadows, reflections and multisampling, hardly by pixels, so the
``fast`` profile leaves them out; ``faithful`` keeps them. The profile is recorded with the data.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Literal

import numpy as np

from robo.errors import RenderingError

Profile = Literal["fast", "faithful"]

_OPEN: weakref.WeakSet[ViewRenderer] = weakref.WeakSet()


def _close_all() -> None:
    """Free what was left open, before MuJoCo's own exit handler ends the GL display."""
    for renderer in list(_OPEN):
        renderer.close()


def choose_backend() -> None:
    """Pick a headless GL backend where neither the user nor a screen decides.

    MuJoCo reads ``MUJOCO_GL`` when it is first imported, hence before any import of it.
    """
    if "MUJOCO_GL" not in os.environ and os.name == "posix" and not os.environ.get("DISPLAY"):
        os.environ["MUJOCO_GL"] = "egl"
    if os.environ.get("MUJOCO_GL") == "egl":
        os.environ.setdefault("MUJOCO_EGL_DEVICE_ID", "0")


class ViewRenderer:
    """Renders several named cameras of one model side by side into one buffer."""

    def __init__(
        self, model, views: tuple[str, ...], height: int, width: int, profile: Profile = "fast"
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
        try:
            from mujoco.gl_context import GLContext

            self._gl = GLContext(total, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:  # each GL binding raises its own kind
            raise RenderingError(
                f"MuJoCo could not open the GL backend MUJOCO_GL="
                f"{os.environ.get('MUJOCO_GL', 'unset')!r} ({type(error).__name__}: {error}); "
                "run `robo doctor` to see which backends work and how to install one"
            ) from error
        self._scene = mujoco.MjvScene(model, maxgeom=500)
        if profile == "fast":
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = 0
        self._option = mujoco.MjvOption()
        self._cameras = []
        for view in views:
            camera = mujoco.MjvCamera()
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
            camera.fixedcamid = model.camera(view).id
            self._cameras.append(camera)
        self._rectangles = [
            mujoco.MjrRect(width * i, 0, width, height) for i in range(len(views))
        ]
        self._whole = mujoco.MjrRect(0, 0, total, height)
        self._pixels = np.empty((height, total, 3), np.uint8)
        self._data = mujoco.MjData(model)
        # Handlers run last in, first out: this one must come after MuJoCo's.
        if not _OPEN:
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _OPEN.add(self)

    def render(self, qpos: np.ndarray, mocap_pos: np.ndarray | None = None) -> list[np.ndarray]:
        """One image per view of the state ``qpos`` (``[nq]``), uint8 ``[H, W, 3]``, fresh arrays."""
        import mujoco

        self._data.qpos[:] = qpos
        if mocap_pos is not None and self.model.nmocap:
            self._data.mocap_pos[:] = mocap_pos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        for i, camera in enumerate(self._cameras):
            if i == 0:
                mujoco.mjv_updateScene(
                    self.model, self._data, self._option, None, camera, everything, self._scene
                )
            else:
                mujoco.mjv_updateCamera(self.model, self._data, camera, self._scene)
            mujoco.mjr_render(self._rectangles[i], self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._whole, self._context)
        upright = self._pixels[::-1]
        return [
            upright[:, self.width * i : self.width * (i + 1)].copy() for i in range(len(self.views))
        ]

    def close(self) -> None:
        """Free the GL context; its own context is made current first, so no other is harmed."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None
            _OPEN.discard(self)

    def __del__(self) -> None:
        """Free at garbage collection too, except while the interpreter shuts down."""
        if not sys.is_finalizing() and getattr(self, "_gl", None) is not None:
            self.close()
