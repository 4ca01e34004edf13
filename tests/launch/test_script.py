"""Launch scripts end as `robo` does: a sentence and 2, or 130; slips are found at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(script: str, *arguments: str, **options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch" / f"{script}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **options},
        # A shell starts what it puts in the background with interruptions ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("train_mujoco", ("--report-seeds", "foo"), "seeds 'foo'"),
        ("train_robosuite", ("--report-seeds", "5-3"), "5-3"),
        ("train_carla", ("--options", "vehicles", "many"), "vehicles is 'many', expected a number"),
    ],
)
def test_a_slip_is_one_sentence_before_anything_is_trained(
    tmp_path: Path, script: str, arguments: tuple[str, ...], sentence: str
) -> None:
    out, errors = start(script, "--out", str(tmp_path / "run"), *arguments).communicate(timeout=120)
    assert errors.startswith(f"{script}: ") and sentence in errors, errors
    assert errors.count("\n") == 1 and "steps" not in out
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_exit_codes_and_the_traceback_that_may_be_asked_for(tmp_path: Path) -> None:
    slip = ("train_mujoco", "--out", str(tmp_path / "run"), "--report-seeds", "foo")
    process = start(*slip)
    process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Traceback" in start(*slip, ROBO_DEBUG="1").communicate(timeout=120)[1]


@pytest.mark.slow
def test_an_interruption_is_no_traceback(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("train_mujoco", "--out", str(run), "--total-steps", "10000000")
    deadline = time.monotonic() + 110
    # In the middle of training: some libraries swallow an interruption while they are imported.
    while not any(file.stat().st_size > 1000 for file in run.rglob("events*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "train_mujoco: interrupted"
    assert "Traceback" not in errors
