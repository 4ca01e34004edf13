"""What `make` asks of the system before it installs: one sentence with the command that mends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "system_libraries.sh"


@pytest.mark.skipif(sys.platform != "linux", reason="it does nothing elsewhere")
def test_a_missing_compiler_is_named_before_anything_is_built(tmp_path: Path) -> None:
    """Nobody's PATH but a folder without a compiler and without Debian's installer."""
    (tmp_path / "uname").symlink_to(shutil.which("uname") or "/bin/uname")
    for name, text in {"id": "echo 1000", "python3": f'exec {sys.executable} "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), "compiler"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("The system lacks gcc")
    assert "building C extensions" in done.stderr and "linux-libc-dev" in done.stderr
