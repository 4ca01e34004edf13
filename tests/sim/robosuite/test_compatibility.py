"""Versions that fit and that do not; a missing robosuite; a missing GL library; nothing printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robo.errors import MissingExtraError, RoboError, UnknownTaskError
from robo.sim.robosuite.compatibility import check_versions
from robo.sim.robosuite.tasks import TASKS, name_of


@pytest.mark.parametrize(
    ("robosuite", "mujoco", "shim"),
    [
        ("1.4.0", "3.17.0", True),
        ("1.4.0", "3.10.0", True),
        ("1.4.0", "3.3.7", False),
        ("1.5.2", "3.9.0", False),
        ("1.5.2", "3.3.1", False),
    ],
)
def test_pairs_that_run(robosuite: str, mujoco: str, shim: bool) -> None:
    check_versions(robosuite, mujoco, shim)


@pytest.mark.parametrize(
    ("robosuite", "mujoco", "shim", "words"),
    [
        ("1.5.2", "3.10.0", False, r"1\.5\.2 beside mujoco 3\.10\.0 breaks.*< 3\.10.*robosuite15"),
        ("1.5.2", "4.0.0", True, r"beside mujoco 4\.0\.0 breaks"),
        ("1.4.0", "3.9.0", True, r"fails at make.*\[libero\]"),
        ("1.4.0", "3.17.0", False, r"shim.*\[libero\]"),
        ("1.3.2", "3.17.0", True, "not supported"),
    ],
)
def test_pairs_that_do_not_run(robosuite: str, mujoco: str, shim: bool, words: str) -> None:
    with pytest.raises(RoboError, match=words):
        check_versions(robosuite, mujoco, shim)


def test_unknown_tasks_are_named() -> None:
    assert name_of("robosuite/Lift") == "Lift"
    with pytest.raises(UnknownTaskError, match=r"Juggle.*robosuite/Lift"):
        name_of("robosuite/Juggle")
    with pytest.raises(UnknownTaskError, match=r"did you mean robosuite/Stack\?"):
        name_of("robosuite/Stak")
    assert all(task.instruction and task.horizon >= 500 for task in TASKS.values())


def test_a_task_of_another_robosuite_says_which(robosuite: Any) -> None:
    """By the name that everyone calls, too."""
    import robo

    if robosuite.__version__.startswith("1.5"):
        assert "robosuite/ToolHang" in robo.tasks()
        return
    with pytest.raises(UnknownTaskError, match=r"needs robosuite 1\.5; run .*\[robosuite15\]"):
        robo.make("robosuite/ToolHang")


def test_a_missing_robosuite_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from robo.sim.robosuite import compatibility

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    compatibility.version.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(MissingExtraError, match=r"not installed.*\[libero\]"):
        compatibility.version()
    compatibility.version.cache_clear()


PROGRAM = """
import sys
from robo.errors import RoboError
from robo.sim.robosuite.provider import make
try:
    environment = make("robosuite/Lift")
    environment.reset(seed=0)
    if "render" in sys.argv:
        environment.renderer.frames(("front",), 16, 16)
except RoboError as error:
    print(type(error).__name__, error)
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(folder), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_nothing_is_printed_or_left_behind(robosuite: Any, tmp_path: Path) -> None:
    """An environment left open, and a CUDA device that EGL's choice does not name."""
    done = run(tmp_path, "render", CUDA_VISIBLE_DEVICES="3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_no_gl_library_is_one_sentence(robosuite: Any, tmp_path: Path) -> None:
    done = run(tmp_path, MUJOCO_GL="disable")
    assert done.stdout.startswith("RenderingError") and "robo doctor" in done.stdout
    assert done.stderr == ""
