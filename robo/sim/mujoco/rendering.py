"""Camera images of one MuJoCo model: profiles, one wide frame buffer for all views.

Software rendering is bound by shadows, reflections and multisampling, hardly by pixels, so the
``fast`` profile leaves them out; ``faithful`` keeps them. The profile is recorded with the data.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from contextlib import suppress
from typing import Any, Literal, get_args

import numpy as np

from robo.errors import RenderingError
from robo.sim.gl import backend_error, context_class

Profile = Literal["fast", "faithful"]
PROFILES: tuple[str, ...] = get_args(Profile)

_OPEN: weakref.WeakSet[ViewRenderer] = weakref.WeakSet()


def _close_all() -> None:
    """Free what was left open, before MuJoCo's own exit handler ends the GL display."""
    for renderer in list(_OPEN):
        renderer.close()


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
            self._gl = context_class()(total, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:  # each GL binding raises its own kind
            with suppress(Exception):
                self.close()
            self._gl = None
            raise backend_error(error) from error
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
