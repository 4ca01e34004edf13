from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from robo.errors import RoboError
from robo.storage import plain, read_json, to_line, write_bytes, write_json, write_together


def test_files_that_belong_together_change_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "folder" / "b"
    write_together({first: b"1", second: b"1"})
    assert first.read_bytes() == second.read_bytes() == b"1"
    write_together({first: b"2", second: b"2"})
    assert first.read_bytes() == second.read_bytes() == b"2"
    # The second cannot be staged, so the first stays; nothing is left behind.
    with pytest.raises(RoboError, match="cannot write"):
        write_together({first: b"3", first / "below a file": b"3"})
    assert first.read_bytes() == b"2"
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]
    assert os.listdir(second.parent) == ["b"]


def test_a_file_size_limit_leaves_every_file_as_it_was(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    small, large = tmp_path / "small", tmp_path / "large"
    write_together({small: b"1", large: b"1"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(RoboError, match=r"large: the disk is full .* are intact"):
            write_together({small: b"2", large: bytes(20_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert small.read_bytes() == large.read_bytes() == b"1"
    assert sorted(os.listdir(tmp_path)) == ["large", "small"]


def test_written_files_can_be_read_by_others(tmp_path: Path) -> None:
    assert write_bytes(tmp_path / "a", b"1").stat().st_mode & 0o777 == 0o644


def test_json_values(tmp_path: Path) -> None:
    value = {
        "array": np.array([[1.0, np.nan]]),
        "scalar": np.float32(0.5),
        "infinite": float("inf"),
        "path": Path("a") / "b",
        "flag": np.bool_(True),
        3: (1, None),
    }
    expected = {
        "array": [[1.0, None]],
        "scalar": 0.5,
        "infinite": None,
        "path": "a/b",
        "flag": True,
        "3": [1, None],
    }
    assert plain(value) == expected
    assert json.loads(to_line(value)) == expected and "\n" not in to_line(value)
    assert read_json(write_json(tmp_path / "a.json", value)) == expected
