"""LeRobot v3: round trips keep every number, and lerobot itself reads ours and we what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.formats.hdf5 import Hdf5Import, export_hdf5
from robo.data.formats.lerobot_export import export_lerobot
from robo.data.formats.lerobot_import import LeRobotImport
from robo.errors import StoreError

pytest.importorskip("pyarrow")

needs_lerobot = pytest.mark.skipif(
    "ROBO_LEROBOT_PYTHON" not in os.environ,
    reason="`make test-lerobot` sets ROBO_LEROBOT_PYTHON to an environment with lerobot",
)


def in_lerobot(*arguments: object) -> None:
    """Run :mod:`lerobot_side` there, without network."""
    done = subprocess.run(
        [
            os.environ["ROBO_LEROBOT_PYTHON"],
            str(Path(__file__).with_name("lerobot_side.py")),
            *map(str, arguments),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(arguments[2]) + "-home"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def smooth(rows: int, shift: int = 0) -> np.ndarray:
    y, x = np.mgrid[:32, :48]
    planes = [[2 * x + t, 3 * y + shift, x + y + t] for t in range(rows)]
    return np.moveaxis(np.array(planes), 1, -1).astype(np.uint8)


@pytest.fixture(name="originals")
def originals_fixture(make_episode):
    """Episodes with a frame of every state."""
    episodes = []
    for seed in range(3):
        length = 8 + seed
        episodes.append(
            make_episode(
                seed,
                length=length,
                frames={"front": smooth(length + 1), "wrist": smooth(length + 1, 40)},
                frame_step=np.arange(length + 1),
            )
        )
    return episodes


@pytest.mark.parametrize("images", ["image", "video-lossless", "video"])
def test_there_and_back(tmp_path, originals, assert_equal, images):
    notes = export_lerobot(originals, tmp_path / "set", images, fps=10)
    assert {note.what for note in notes} == {
        "last states",
        "keyframes, metadata",
        "observation.views.front",
    }
    imported = LeRobotImport(tmp_path / "set")
    assert len(imported) == 3
    for stored, original in zip(imported, originals, strict=True):
        if images == "video":
            for role, given in original.frames.items():
                apart = np.abs(stored.frames[role].astype(int) - given)
                assert 0 < apart.mean() < 8
            stored.frames = original.frames
        assert_equal(stored, original)
    assert imported.notes.list() == []


def test_sparse_frames_and_odd_shapes_come_back(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed, length=9 + seed) for seed in range(2)]
    for episode in originals:
        steps = len(episode)
        episode.observation["half"] = np.linspace(0, 1, steps + 1).astype(np.float16)
        episode.observation["flag"] = np.arange(steps + 1) % 2 == 0
        episode.observation["one"] = np.arange(steps + 1, dtype=np.float64)[:, None]
    notes = export_lerobot(originals, tmp_path / "set", "image")
    assert "frames" in {note.what for note in notes}
    for stored, original in zip(LeRobotImport(tmp_path / "set"), originals, strict=True):
        assert_equal(stored, original)


def test_hdf5_to_store_to_lerobot_and_back_is_the_same_file(tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("hdf5", Path(__file__).with_name("test_hdf5.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_libero(tmp_path / "a.hdf5", demos=3)
    store = EpisodeStore(tmp_path / "store")
    store.extend(Hdf5Import(tmp_path / "a.hdf5"))
    export_lerobot(store, tmp_path / "set", "image")
    again = EpisodeStore(tmp_path / "again")
    again.extend(LeRobotImport(tmp_path / "set"))
    export_hdf5(again, tmp_path / "b.hdf5")
    module.assert_same(tmp_path / "a.hdf5", tmp_path / "b.hdf5")


def test_what_cannot_be_is_refused(tmp_path, originals, make_episode):
    with pytest.raises(StoreError, match="episode 1 has"):
        export_lerobot([originals[0], make_episode(1, size=20)], tmp_path / "a")
    with pytest.raises(StoreError, match="exists"):
        export_lerobot(originals, tmp_path / "a")
    with pytest.raises(StoreError, match="no LeRobot data set"):
        LeRobotImport(tmp_path)
    export_lerobot(originals[:1], tmp_path / "b", "image")
    info = tmp_path / "b/meta/info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "codebase_version": "v2.1"}))
    with pytest.raises(StoreError, match=r"version v2.1, expected v3.0"):
        LeRobotImport(tmp_path / "b")


@needs_lerobot
@pytest.mark.slow
@pytest.mark.parametrize("images", ["image", "video-lossless", "video"])
def test_lerobot_loads_what_we_write(tmp_path, originals, images):
    export_lerobot(originals, tmp_path / "set", images, fps=10)
    in_lerobot("load", tmp_path / "set", tmp_path / "rows.npz")
    rows = np.load(tmp_path / "rows.npz")
    steps = [len(episode) for episode in originals]
    for key, name in (("action", "action"), ("next.reward", "reward")):
        assert np.array_equal(rows[key], np.concatenate([getattr(e, name) for e in originals]))
    states = np.concatenate([e.observation["state"][:-1] for e in originals])
    assert np.array_equal(rows["observation.state"], states)
    assert rows["episode_index"].tolist() == np.repeat(range(3), steps).tolist()
    assert set(rows["tasks"].tolist()) == {"lift the cube"}
    for role in ("front", "wrist"):
        given = np.concatenate([e.frames[role][:-1] for e in originals])
        got = np.moveaxis(rows[f"observation.images.{role}"], 1, -1) * 255
        apart = np.abs(got - given)
        assert apart.max() < 0.01 if images != "video" else apart.mean() < 8


@needs_lerobot
@pytest.mark.slow
@pytest.mark.parametrize("images", ["image", "video"])
def test_we_load_what_lerobot_writes(tmp_path, images):
    in_lerobot(f"write-{images}", tmp_path / "set", tmp_path / "true.npz")
    true = np.load(tmp_path / "true.npz")
    episodes = list(LeRobotImport(tmp_path / "set"))
    assert [len(episode) for episode in episodes] == [7, 8]
    assert [episode.info.instruction for episode in episodes] == ["task 0", "task 1"]
    actions = np.concatenate([episode.action for episode in episodes])
    assert np.array_equal(actions, true["action"])
    states = np.concatenate([episode.observation["state"][:-1] for episode in episodes])
    assert np.array_equal(states, true["observation.state"])
    frames = np.concatenate([episode.frames["front"][:-1] for episode in episodes])
    apart = np.abs(frames.astype(int) - true["observation.images.front"])
    assert apart.max() == 0 if images == "image" else apart.mean() < 12
    # What came from lerobot goes back to it.
    export_lerobot(episodes, tmp_path / "again", "image", fps=10)
    in_lerobot("load", tmp_path / "again", tmp_path / "rows.npz")
    assert np.array_equal(np.load(tmp_path / "rows.npz")["action"], true["action"])
