from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Before torch and NumPy start their thread pools: on few cores small tensors are several times
# slower with more threads, and one thread makes sums the same in every run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch._dynamo  # noqa: F401  crashes where an EGL context exists already: before any
from hypothesis import HealthCheck, settings

# No deadline: the first example of many tests compiles or imports something large.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=50, **_COMMON)
settings.register_profile("soak", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session", autouse=True)
def sb3_logs(tmp_path_factory):
    """stable-baselines3 makes a folder for every learner, by default beside all temporary files."""
    os.environ.setdefault("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Folder of a tiny open_clip model with initial weights, as robo fit clip writes one."""
    pytest.importorskip("open_clip")
    from robo.perception.clip_build import build_clip, save_clip
    from robo.perception.clip_config import ClipShape

    shape = ClipShape(
        tower="transformer",
        image_size=32,
        patch_size=8,
        width=32,
        layers=2,
        heads=2,
        text_width=16,
        text_layers=1,
        context_length=24,
        embed_dim=32,
    )
    folder = tmp_path_factory.mktemp("clip")
    return save_clip(build_clip(shape), shape.model_config(), folder)


class Turns:
    """Lets tests marked ``alone`` run while no other process of pytest-xdist runs one.

    Two locks, since those of the kernel are not fair: whoever waits for the floor keeps the door.
    """

    def __init__(self, folder: Path) -> None:
        self.door, self.floor = (folder / name for name in ("door.lock", "floor.lock"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        import fcntl

        kind = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
        with self.floor.open("w") as floor:
            with self.door.open("w") as door:
                fcntl.flock(door, fcntl.LOCK_EX)
                fcntl.flock(floor, kind)
            try:
                return (yield)
            finally:  # also of what the test forked, if that still runs
                fcntl.flock(floor, fcntl.LOCK_UN)


@pytest.hookimpl(trylast=True)  # after the plug-in of temporary folders
def pytest_configure(config: pytest.Config) -> None:
    """Take turns with the other processes of pytest-xdist, where there are any."""
    if hasattr(config, "workerinput"):
        folder = config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
        config.pluginmanager.register(Turns(folder), "turns")
