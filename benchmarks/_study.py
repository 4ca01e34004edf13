"""Studies: many independent runs, each in a process of its own, that resume where they stopped.

Each finished run is one JSON file in the work folder, written whole or not at all. A killed study
loses the runs that were going on, and starts those anew; a run of other settings than asked for
is not taken over.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from robo.errors import RoboError
from robo.storage import plain, read_json, write_json


@dataclass(frozen=True)
class Run:
    """One run of a study."""

    name: str
    """Names its file and its folder."""
    settings: dict[str, Any] = field(default_factory=dict)
    """JSON values that decide its result; another value means another run."""


RunFunction = Callable[[Run, Path], dict[str, Any]]
"""From a run and an empty folder of its own to its result. Found by name in a new process."""


@dataclass(frozen=True)
class Study:
    """Finished runs in a work folder."""

    folder: Path
    """Work folder, made where missing."""

    def path(self, run: Run) -> Path:
        """File of a finished run."""
        return self.folder / f"{run.name}.json"

    def result(self, run: Run) -> dict[str, Any] | None:
        """Result of a finished run; None where it is not finished or had other settings."""
        if not self.path(run).exists():
            return None
        saved = read_json(self.path(run))
        return saved["result"] if saved.get("settings") == plain(run.settings) else None

    def save(self, run: Run, result: dict[str, Any]) -> None:
        """Write the file of a finished run, atomically."""
        content = {"name": run.name, "settings": run.settings, "result": result}
        write_json(self.path(run), content)

    def published(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Finished runs as a part of the published JSON, from which another machine may go on."""
        found = {run.name: (run, self.result(run)) for run in runs}
        return {
            name: {"settings": run.settings, "result": result}
            for name, (run, result) in found.items()
            if result is not None
        }

    def go_on_from(self, file: Path, runs: Sequence[Run]) -> dict[str, Any]:
        """Take finished runs over from the ``runs`` of a published JSON, of the same settings.

        Returns:
            All that it holds, so that a study of fewer runs publishes the others again.

        Raises:
            RoboError: no such file, or one without runs.
        """
        done = read_json(file).get("runs")
        if not isinstance(done, dict):
            raise RoboError(f"{file} holds no finished runs to go on from")
        for run in self.missing(runs):
            one = done.get(run.name)
            if one is not None and one["settings"] == plain(run.settings):
                self.save(run, one["result"])
        return done

    def missing(self, runs: Sequence[Run]) -> list[Run]:
        """Runs that have no result yet, in order."""
        return [run for run in runs if self.result(run) is None]


def execute(
    study: Study,
    runs: Sequence[Run],
    function: RunFunction,
    workers: int = 1,
    minutes: float | None = None,
    on_done: Callable[[Run, dict[str, Any] | None], None] = lambda run, result: None,
) -> list[Run]:
    """Do the missing runs in order, ``workers`` at a time, a fresh process each.

    Args:
        study: where results go.
        runs: in order of importance.
        function: does one run.
        workers: processes at a time.
        minutes: no run starts later than this; those going on are finished.
        on_done: called after each run; with None where its process failed.

    Returns:
        The runs whose process failed; they are tried again the next time.

    Raises:
        RoboError: workers is below 1.
    """
    if workers < 1:
        raise RoboError(f"workers is {workers}, expected at least 1")
    # Spawned, not forked: torch's threads and an open GL context do not survive a fork.
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    waiting, going, failed = study.missing(runs), {}, []
    try:
        while waiting or going:
            late = minutes is not None and time.monotonic() - began >= 60 * minutes
            if late:
                waiting = []
            while waiting and len(going) < workers:
                run = waiting.pop(0)
                process = context.Process(target=_child, args=(study, run, function))
                process.start()
                going[process.sentinel] = (process, run)
            # Waiting for nothing would never end.
            for sentinel in wait(list(going)) if going else ():
                process, run = going.pop(sentinel)
                process.join()
                result = study.result(run) if process.exitcode == 0 else None
                if process.exitcode and process.exitcode < 0:  # such a process shows no traceback
                    print(f"{run.name}: ended by signal {-process.exitcode}", flush=True)
                if result is None:
                    failed.append(run)
                on_done(run, result)
    finally:
        for process, _ in going.values():
            process.terminate()
            process.join()
    return failed


def minutes_left(minutes: float | None, began: float) -> float | None:
    """What is left of ``minutes`` since ``began`` (time.monotonic), for a study of many stages."""
    return None if minutes is None else minutes - (time.monotonic() - began) / 60


def _child(study: Study, run: Run, function: RunFunction) -> None:
    """Do one run and write its file."""
    import shutil

    folder = study.folder / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(run, folder)
    seconds = {
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }
    study.save(run, {**result, **seconds})


def one_thread() -> None:
    """One thread for OpenMP and BLAS here and in the processes started later; call it first."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def machine(device: str = "cpu") -> dict[str, Any]:
    """What figures depend on: processor, cores, versions, date; nothing that names a host."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "device": device,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "mujoco", "numpy")},
        "date": date.today().isoformat(),
    }


def _version(name: str) -> str | None:
    """A package's version; None where it is not installed, as on a machine for large models."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's model name."""
    for key, value in _cpuinfo():
        if key == "model name":
            return value
    return platform.processor() or platform.machine()


def _cpuinfo() -> Iterator[tuple[str, str]]:
    """Fields of Linux's list of processors; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return
    for line in text.splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def publish(result: dict[str, Any], out: Path | None) -> None:
    """Write the study's result where ``out`` names a file, and print it as the last line."""
    if out is not None:
        write_json(out, result)
    print(json.dumps(plain(result)), flush=True)
