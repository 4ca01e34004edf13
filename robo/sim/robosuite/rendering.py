"""Camera images of a robosuite scene in a GL context of its own.

Profiles, to be recorded with the data: ``faithful`` draws what robosuite draws; ``fast`` leaves
out reflections, shadows and multisampling, thins visual meshes and skips those out of sight.
Software rendering is bound by vertices and samples, hardly by pixels.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from robo.errors import RenderingError, RoboError
from robo.sim.gl import backend_error, context_class
from robo.sim.mujoco.rendering import PROFILES, Profile
from robo.sim.robosuite.cameras import Camera, FreeView, camera_names
from robo.sim.robosuite.culling import HIDDEN_GROUP, MeshCulling
from robo.sim.robosuite.decimation import decimate

__all__ = ["PROFILES", "Profile", "SceneRenderer"]

_OPEN: weakref.WeakSet[SceneRenderer] = weakref.WeakSet()
_MAX_GEOMS = 2000


def _close_all() -> None:
    """Free what was left open, before the exit handlers of the GL bindings end the display."""
    for renderer in list(_OPEN):
        renderer.close()


class SceneRenderer:
    """Renders cameras of one ``mujoco.MjModel``; opens its GL context with the first image.

    Attributes:
        model: ``mujoco.MjModel`` that is drawn.
        data: its ``mujoco.MjData``, drawn as it is (nothing is recomputed).
        cameras: role to camera.
        profile: ``fast`` or ``faithful``.
        faces: mesh faces of the model before and after decimation, once opened.
    """

    def __init__(
        self, model: Any, data: Any, cameras: Mapping[str, Camera], profile: Profile = "fast"
    ) -> None:
        """Draw ``cameras`` of ``model`` in the state of ``data``.

        Raises:
            RoboError: an unknown profile.
        """
        if profile not in PROFILES:
            raise RoboError(f"unknown rendering profile {profile!r}; expected one of {PROFILES}")
        self.model, self.data = model, data
        self.cameras, self.profile = dict(cameras), profile
        self.faces: tuple[int, int] | None = None
        self._gl: Any = None
        self._context: Any = None

    def frames(self, roles: Sequence[str], height: int, width: int) -> dict[str, np.ndarray]:
        """Colour images, upright.

        Args:
            roles: keys of ``cameras``, or names of any camera of the scene.
            height: pixels.
            width: pixels.

        Returns:
            Role to uint8 ``[height, width, 3]``, fresh arrays.

        Raises:
            RoboError: an unknown role or camera.
            RenderingError: no working GL backend.
        """
        return {role: self._draw(role, height, width)[0] for role in roles}

    def depth(self, roles: Sequence[str], height: int, width: int) -> dict[str, np.ndarray]:
        """Distances along the optical axis, upright.

        Returns:
            Role to float32 ``[height, width]``, m; the far plane where nothing is hit.

        Raises:
            RoboError: as :meth:`frames`.
        """
        extent = self.model.stat.extent
        near, far = self.model.vis.map.znear * extent, self.model.vis.map.zfar * extent
        images = {}
        for role in roles:
            buffer = self._draw(role, height, width, depth=True)[1]
            assert buffer is not None
            images[role] = np.float32(near) / (1 - buffer * np.float32(1 - near / far))
        return images

    def segmentation(self, roles: Sequence[str], height: int, width: int) -> dict[str, np.ndarray]:
        """Which geom each pixel shows, upright.

        Returns:
            Role to int32 ``[height, width]``, ids of geoms; -1 where there is none.

        Raises:
            RoboError: as :meth:`frames`.
        """
        import mujoco

        images = {}
        for role in roles:
            pixels, _ = self._draw(role, height, width, segments=True)
            code = pixels.astype(np.int32) @ np.array([1, 256, 65536], dtype=np.int32)
            geom = np.full(self._scene.ngeom + 1, -1, dtype=np.int32)
            for drawn in self._scene.geoms[: self._scene.ngeom]:
                if drawn.segid >= 0 and drawn.objtype == mujoco.mjtObj.mjOBJ_GEOM.value:
                    geom[drawn.segid + 1] = drawn.objid
            images[role] = geom[np.where(code < len(geom), code, 0)]
        return images

    def _draw(
        self, role: str, height: int, width: int, depth: bool = False, segments: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Colours uint8 ``[H, W, 3]`` and depth buffer float32 ``[H, W]`` of one view, upright.

        Each view is drawn in the same corner of the buffer: software rasterisers round
        differently elsewhere, and a view's image must not depend on the views beside it.
        """
        import mujoco

        camera = self._camera(role)
        self._open(height, width)
        scene = self._scene
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            scene.flags[flag.value] = segments
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateCamera(self.model, self.data, camera, scene)
        # Shadows and reflections come from meshes outside the picture too.
        unseen = nullcontext()
        if self.profile == "fast":
            unseen = self._culling.hidden(self.data, scene.camera[0], width / height)
        with unseen:
            # The scene anew for each view: the headlight goes with the camera.
            mujoco.mjv_updateScene(
                self.model, self.data, self._option, None, camera, everything, scene
            )
        rectangle = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(rectangle, scene, self._context)
        pixels = np.empty((height, width, 3), np.uint8)
        buffer = np.empty((height, width), np.float32) if depth else None
        mujoco.mjr_readPixels(pixels, buffer, rectangle, self._context)
        # OpenGL has the bottom row first.
        return pixels[::-1].copy(), None if buffer is None else buffer[::-1].copy()

    def _camera(self, role: str) -> Any:
        import mujoco

        chosen = self.cameras.get(role, role)
        camera = mujoco.MjvCamera()
        if isinstance(chosen, FreeView):
            camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
            camera.lookat[:] = chosen.lookat
            camera.distance = chosen.distance
            camera.azimuth, camera.elevation = chosen.azimuth, chosen.elevation
            return camera
        names = camera_names(self.model)
        if chosen not in names:
            raise RoboError(
                f"no camera {role!r}: the roles here are {list(self.cameras)}, the scene's "
                f"cameras {names}"
            )
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        camera.fixedcamid = names.index(chosen)
        return camera

    def _open(self, height: int, width: int) -> None:
        """Make the context current, opened and large enough."""
        import mujoco

        if self._gl is None:
            self._first(height, width)
            return
        self._gl.make_current()
        if width > self._context.offWidth or height > self._context.offHeight:
            mujoco.mjr_resizeOffscreen(
                max(width, self._context.offWidth),
                max(height, self._context.offHeight),
                self._context,
            )
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)

    def _first(self, height: int, width: int) -> None:
        import mujoco

        model, fast = self.model, self.profile == "fast"
        if fast:
            model.vis.quality.offsamples = 0
            faces = decimate(model)
            self.faces = self.faces or faces
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        try:
            self._gl = context_class()(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        except Exception as error:  # each GL binding raises its own kind
            with suppress(Exception):
                self.close()
            self._gl = None
            raise backend_error(error) from error
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        if fast:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW.value] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION.value] = 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[HIDDEN_GROUP] = 0
        self._culling = MeshCulling(model)
        # Handlers run last in, first out: this one must come after those of the GL bindings.
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        _OPEN.add(self)

    def close(self) -> None:
        """Free the GL context, itself made current first, so that no other is harmed."""
        if self._gl is not None:
            self._gl.make_current()
            if self._context is not None:
                self._context.free()
            self._gl.free()
            self._gl = self._context = None
            _OPEN.discard(self)

    def __del__(self) -> None:
        """Free at garbage collection too, except while the interpreter shuts down."""
        if not sys.is_finalizing() and getattr(self, "_gl", None) is not None:
            with suppress(RenderingError):
                self.close()
