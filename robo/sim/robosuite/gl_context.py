"""robosuite's off-screen rendering mended while it runs, in 1.4 and 1.5 alike.

``MjSim.render`` never makes its GL context current, and ``MjRenderContext.__del__`` frees its GL
objects while another context is current. So a closed environment, or a late garbage collection
of one, destroys another's frame buffer: its images turn into noise or black. Here every use of a
context makes it current first, above all the freeing. Nothing installed is edited.

robo's own environments do not render through robosuite at all (see
:mod:`robo.sim.robosuite.rendering`); this is for those of your own, and for comparisons.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_MENDED = "_robo_mended"


def mend() -> None:
    """Patch robosuite's render contexts; a second call changes nothing."""
    from robosuite.utils import binding_utils  # type: ignore[import-not-found]

    context = binding_utils.MjRenderContext
    for name in ("render", "read_pixels", "upload_texture", "update_offscreen_size"):
        method = getattr(context, name)
        if not hasattr(method, _MENDED):
            setattr(context, name, _in_own_context(method))
    if not hasattr(context.__del__, _MENDED):
        setattr(context, "__del__", _freeing(context.__del__))  # noqa: B010 (pyright's signature)


def _in_own_context(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def mended(self: Any, *arguments: Any, **options: Any) -> Any:
        self.gl_ctx.make_current()
        return method(self, *arguments, **options)

    setattr(mended, _MENDED, True)
    return mended


def _freeing(method: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(method)
    def mended(self: Any) -> None:
        own = getattr(self, "gl_ctx", None)
        if own is None or not hasattr(self, "con"):
            return  # its constructor failed
        _silence_exit(type(own))
        if sys.is_finalizing():
            return  # the GL display is gone, and with it everything to free
        with suppress(Exception):
            own.make_current()
            method(self)

    setattr(mended, _MENDED, True)
    return mended


def _silence_exit(context_class: Any) -> None:
    """No ``EGLError`` tracebacks from contexts that are still open when Python exits."""
    free = getattr(context_class, "__del__", None)
    if free is None or hasattr(free, _MENDED):
        return

    @functools.wraps(free)
    def mended(self: Any) -> None:
        if not sys.is_finalizing():
            with suppress(Exception):
                free(self)

    setattr(mended, _MENDED, True)
    context_class.__del__ = mended
