"""The studies of the General Reward Model, as small as they go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def study(name, tmp_path, *options):
    """Exit code and result of a benchmark's last printed line."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *map(str, options)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_throughput_of_the_compact_and_of_a_tiny_model(tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--batches", 1, 8, "--repeats", 1, "--seconds", 0.02, "--vlm", "tiny"]
    code, result, _ = study(
        "grm_throughput", tmp_path, *arguments, "--vlm-batches", 2, "--out", out
    )
    assert code == 0 and json.loads(out.read_text()) == result
    names = [row["name"] for row in result["rows"]]
    assert names == [
        "compact, 1 frames a call",
        "compact, 8 frames a call",
        "tiny, 2 pairs, caching on",
        "tiny, 2 pairs, caching off",
    ]
    assert all(row["pairs_per_second"] > 0 for row in result["rows"])
    on, off = result["rows"][2:]
    assert on["operations_per_pair"] < off["operations_per_pair"]
