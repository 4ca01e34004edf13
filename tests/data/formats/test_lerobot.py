"""LeRobot v3: round trips keep every number, and lerobot itself reads ours and we what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.formats.common import Notes, with_roles
from robo.data.formats.hdf5 import Hdf5Import
from robo.data.formats.hdf5_export import export_hdf5
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


def stated(path: Path) -> dict[str, dict[str, float]]:
    """What the export says that its videos changed, by camera role."""
    views = json.loads((path / "meta/robo/pixels.json").read_text())["views"]
    return {name.rpartition(".")[2]: view for name, view in views.items()}


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
        *({"pixels"} if images == "video" else ()),
    }
    imported = LeRobotImport(tmp_path / "set")
    assert len(imported) == 3
    for stored, original in zip(imported, originals, strict=True):
        if images == "video":
            stored.frames = original.frames
        assert_equal(stored, original)
    assert imported.notes.list() == [note for note in notes if note.what == "pixels"]


def test_the_error_of_a_video_is_what_a_reader_finds(tmp_path, originals):
    notes = export_lerobot(originals, tmp_path / "set", "video", fps=10)
    told = stated(tmp_path / "set")
    for role in ("front", "wrist"):
        pairs = zip(LeRobotImport(tmp_path / "set"), originals, strict=True)
        # The last state lies in meta/robo, whole.
        apart = np.concatenate(
            [np.abs(s.frames[role][:-1].astype(int) - o.frames[role][:-1]) for s, o in pairs]
        )
        assert told[role]["worst"] == apart.max() > 0
        assert 0 < apart.mean() < 8
        assert told[role]["mean"] == pytest.approx(apart.mean(), abs=1e-4)
        words = f"{role} {told[role]['mean']:.2f} on average, {apart.max()} at most"
        assert words in next(note.why for note in notes if note.what == "pixels")
    export_lerobot(originals, tmp_path / "exact", "video-lossless", fps=10)
    assert stated(tmp_path / "exact") == {role: {"mean": 0.0, "worst": 0} for role in told}


def test_videos_of_odd_sizes_are_refused_in_words(tmp_path, make_episode):
    odd = make_episode(0, size=15, rows=13, frame_step=np.arange(13))
    with pytest.raises(StoreError, match="even height and width, got 15 x 15: use 'video-lossless"):
        export_lerobot([odd], tmp_path / "set", "video")


def write_foreign(path: Path, originals: list) -> None:
    """A data set without what robo adds, as others record it."""
    export_lerobot(originals, path, "image", fps=10)
    shutil.rmtree(path / "meta/robo")


def change_info(path: Path, change: Callable[[dict], None]) -> None:
    info = json.loads((path / "meta/info.json").read_text())
    change(info)
    (path / "meta/info.json").write_text(json.dumps(info))


def test_what_others_recorded_and_we_cannot_hold_is_named(tmp_path, originals):
    from pyarrow import array, parquet

    path = tmp_path / "set"
    write_foreign(path, originals)
    joints = [f"joint_{i}" for i in range(7)]

    def change(info: dict) -> None:
        info["splits"] = {"train": "0:2", "test": "2:3"}
        info["features"]["action"]["names"] = joints
        del info["features"]["next.success"]

    change_info(path, change)
    file = path / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file)
    for name, values in (
        ("task_index", np.arange(len(table)) % 2),
        ("timestamp", np.linspace(0, 9, len(table)).astype(np.float32) ** 2),
    ):
        table = table.set_column(table.schema.get_field_index(name), name, array(values))
    parquet.write_table(table, file)
    imported = LeRobotImport(path)
    episodes = list(imported)
    assert {note.what for note in imported.notes.list()} == {
        "splits",
        "success",
        "task_index",
        "timestamp",
    }
    assert episodes[0].metadata["feature_names"]["action"] == joints
    notes = export_lerobot(episodes, tmp_path / "again", "image", fps=20)
    features = json.loads((tmp_path / "again/meta/info.json").read_text())["features"]
    assert features["action"]["names"] == joints
    assert "fps" in {note.what for note in notes}


def test_views_of_others_get_the_roles_that_rewards_take(tmp_path, originals):
    for episode in originals:
        episode.frames = {"top": episode.frames["front"], "wrist": episode.frames["wrist"]}
    write_foreign(tmp_path / "set", originals)
    episode = next(iter(LeRobotImport(tmp_path / "set")))
    notes = Notes()
    assert list(with_roles(episode, {}, notes).frames) == ["top", "wrist"]
    assert [note.what for note in notes.list()] == ["camera view top"]
    for name in ("top", "observation.images.top"):
        notes = Notes()
        given = with_roles(episode, {"front": name}, notes)
        assert np.array_equal(given.frames["front"], episode.frames["top"])
        assert list(given.frames) == ["front", "wrist"] and notes.list() == []
    with pytest.raises(StoreError, match="no camera view left to be front"):
        with_roles(episode, {"front": "left"}, Notes())
    with pytest.raises(StoreError, match="two camera views would be wrist"):
        with_roles(episode, {"wrist": "top"}, Notes())


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
        told = {"worst": 0, "mean": 0} if images == "image" else stated(tmp_path / "set")[role]
        # Its decoder gives floats of 255 parts: what is left over is rounding.
        assert apart.max() < told["worst"] + 0.01
        assert apart.mean() < told["mean"] + 0.01


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
    if images == "image":
        assert np.array_equal(frames, true["observation.images.front"])
    else:  # AV1, by lerobot's own settings: we see what lerobot sees
        in_lerobot("load", tmp_path / "set", tmp_path / "seen.npz")
        seen = np.load(tmp_path / "seen.npz")["observation.images.front"]
        assert np.abs(frames - np.moveaxis(seen, 1, -1) * 255).max() < 0.01
        assert np.abs(frames.astype(int) - true["observation.images.front"]).mean() < 12
    # What came from lerobot goes back to it.
    export_lerobot(episodes, tmp_path / "again", "image", fps=10)
    in_lerobot("load", tmp_path / "again", tmp_path / "rows.npz")
    assert np.array_equal(np.load(tmp_path / "rows.npz")["action"], true["action"])
