"""Renders ``mujoco/Lift`` for a moment and prints how fast; ``robo doctor`` runs it per GL backend.

A process of its own (``python -m robo.commands.render_probe``, with ``MUJOCO_GL`` set), because
MuJoCo binds one GL backend per process, and a broken driver may end the process. With a task id
as its argument it steps and renders that task instead.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.resources import as_file, files
from typing import Any

VIEWS = ("front", "side", "wrist")
PIXELS = 128
TASK_VIEWS = ("front", "wrist")


def probe(seconds: float = 0.5) -> dict[str, Any]:
    """Camera frames per second, three views of 128 x 128 pixels, and the GL renderer's name.

    Raises:
        RenderingError: where the GL backend does not open, or renders empty images.
    """
    from robo.sim.gl import choose_backend
    from robo.sim.mujoco.rendering import ViewRenderer

    choose_backend()
    import mujoco

    from robo.errors import RenderingError

    with as_file(files("robo.sim.mujoco") / "assets") as assets:
        model = mujoco.MjModel.from_xml_path(str(assets / "lift.xml"))
    renderer = ViewRenderer(model, VIEWS, PIXELS, PIXELS)
    try:
        images = renderer.render(model.qpos0)  # the first call compiles shaders
        flat = [view for view, image in zip(VIEWS, images, strict=True) if image.std() == 0]
        if flat:
            raise RenderingError(f"the camera images {flat} are one flat colour")
        rounds, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            renderer.render(model.qpos0)
            rounds += 1
        rate = rounds * len(VIEWS) / (time.perf_counter() - start)
        return {"frames_per_second": round(rate, 1), "renderer": _renderer_name()}
    finally:
        renderer.close()


def probe_task(id: str, seconds: float = 1.0) -> dict[str, Any]:
    """Environment steps per second of a task with two views of 128 x 128 pixels at each step.

    Raises:
        RoboError: an unknown task, versions that do not fit, no GL backend, or empty images.
    """
    import robo
    from robo.errors import RenderingError
    from robo.rollout import CameraSchedule

    environment = robo.make(id)
    try:
        environment.set_camera_schedule(CameraSchedule(TASK_VIEWS, PIXELS, PIXELS, 1))
        _, info = environment.reset(seed=0)
        flat = [view for view, image in info["frames"].items() if image.std() == 0]
        if flat:
            raise RenderingError(f"the camera images {flat} of {id} are one flat colour")
        environment.action_space.seed(0)
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            _, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
            steps += 1
            if terminated or truncated:
                environment.reset()
        return {"steps_per_second": round(steps / (time.perf_counter() - start), 1)}
    finally:
        environment.close()


def _renderer_name() -> str:
    """What draws: a graphics card, or Mesa's software renderer (llvmpipe)."""
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode(errors="replace") if isinstance(name, bytes) else "unknown renderer"


def main() -> int:
    """Print the probe's result as a line of JSON, or the reason of its failure; the exit code."""
    try:
        result = probe_task(sys.argv[1]) if len(sys.argv) > 1 else probe()
        print(json.dumps(result), flush=True)
    except Exception as error:  # the reason is the result here, whatever its kind
        reason = " ".join(str(error).split())
        print(json.dumps({"error": f"{type(error).__name__}: {reason}"}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
