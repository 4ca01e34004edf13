"""Programs in a network of their own: the client's TrafficManager binds every interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run_isolated(program: str, timeout: float = 120.0, alone: bool = False) -> list[str]:
    """What ``program`` printed, line by line; with ``alone`` it sees no processes of others either.

    Skips the test where namespaces may not be made, fails it where the program fails, or where the
    client ended a process of its.
    """
    isolated = ["unshare", "-n", *(("-p", "-f", "--mount-proc") if alone else ())]
    isolated += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("no leave to make namespaces")
    done = subprocess.run(
        [*isolated, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "terminate called" not in done.stderr
    return done.stdout.splitlines()
