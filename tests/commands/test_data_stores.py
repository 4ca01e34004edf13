"""``robo data merge|split|repair|migrate|stream|import|export`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo.cli import main
from robo.data import EpisodeStore
from robo.rollout import Episode, EpisodeInfo


def episode(seed: int, size: int = 16) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        info=EpisodeInfo("mujoco/Lift", "lift", seed=seed),
        observation={"state": rng.normal(size=(6, 3)).astype(np.float32)},
        action=rng.normal(size=(5, 2)).astype(np.float32),
        reward=np.zeros(5, np.float32),
        success=bool(seed % 2),
        terminated=bool(seed % 2),
        frames={"front": rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8)},
        frame_step=np.arange(6),
    )


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> str:
    EpisodeStore(tmp_path / "a").extend(episode(seed) for seed in range(10))
    return str(tmp_path / "a")


def run(capsys: pytest.CaptureFixture, *words: str, code: int = 0) -> dict[str, Any]:
    assert main(["data", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_merge_and_split(store: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    EpisodeStore(tmp_path / "b").append(episode(50, size=20))
    merged = run(capsys, "merge", store, str(tmp_path / "b"), "--to", str(tmp_path / "c"), "--skip")
    assert (merged["appended"], len(merged["left_out"])) == (10, 1)
    assert main(["data", "merge", store, str(tmp_path / "b"), "--to", str(tmp_path / "d")]) == 2
    assert "(20, 20)" in capsys.readouterr().err
    parts = run(capsys, "split", store, "--into", str(tmp_path / "s"))["parts"]
    assert sorted(parts["train"] + parts["test"]) == list(range(10))
    assert len(EpisodeStore(tmp_path / "s/test", mode="r")) == len(parts["test"])
    assert main(["data", "split", store, "--into", str(tmp_path / "t"), "--parts", "a"]) == 2
    assert "NAME:SHARE" in capsys.readouterr().err


def test_repair(store: str, capsys: pytest.CaptureFixture) -> None:
    (Path(store) / "episode-00000004.zip").write_bytes(b"no")
    verified = run(capsys, "verify", store, code=1)
    assert [damage["episode"] for damage in verified["damaged"]] == [4]
    repaired = run(capsys, "repair", store)
    assert (repaired["episodes"], len(repaired["taken_out"])) == (9, 1)
    assert run(capsys, "verify", store)["ok"]
    assert run(capsys, "info", store)["codings"] == ["lz4hc"]
    assert run(capsys, "migrate", store) == {
        "path": store,
        "episodes": 9,
        "rewritten": 0,
        "schema": 2,
    }
    assert main(["data", "migrate", store + "x"]) == 2
    assert not Path(store + "x").exists()


def test_stream(store: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for copied in (10, 0):
        result = run(capsys, "stream", store, "--to", str(tmp_path / "far"))
        assert (result["copied"], result["episodes"]) == (copied, 10)


@pytest.mark.parametrize(
    ("format", "name", "extra"),
    [
        ("hdf5", "x.hdf5", []),
        ("lerobot", "x", ["--images", "image"]),
        ("videos", "x", ["--images", "video-lossless"]),
    ],
)
def test_export_and_import(store, tmp_path, capsys, format, name, extra) -> None:
    pytest.importorskip({"hdf5": "h5py", "lerobot": "pyarrow", "videos": "av"}[format])
    target = str(tmp_path / name)
    written = run(capsys, "export", store, "--to", target, "--format", format, *extra)
    assert written["episodes"] == 10 and written["notes"]
    read = run(capsys, "import", target, "--to", str(tmp_path / "back"), "--limit", "4")
    assert (read["appended"], read["notes"]) == (4, [])
    for index in range(4):
        back, given = EpisodeStore(tmp_path / "back", mode="r")[index], episode(index)
        assert back.info == given.info
        assert np.array_equal(back.action, given.action)
        assert np.array_equal(back.frames["front"], given.frames["front"])
    assert main(["data", "export", store, "--to", target, "--format", format]) == 2
    assert "exists" in capsys.readouterr().err


def test_what_nothing_recognises(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "import", str(tmp_path), "--to", str(tmp_path / "b")]) == 2
    assert "neither an HDF5 file" in capsys.readouterr().err
