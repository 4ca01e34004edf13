"""``robo data info|verify|import``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robo.commands.data import DataInfo, DataVerify
from robo.commands.data_formats import DataImport
from robo.data import EpisodeStore
from robo.data.video import encode_video
from robo.errors import RoboError, StoreError
from robo.rollout import Episode, EpisodeInfo


def episode(task: str, success: bool) -> Episode:
    """A short episode with one camera."""
    return Episode(
        info=EpisodeInfo(task),
        observation={"state": np.zeros((4, 5), np.float32)},
        action=np.zeros((3, 2), np.float32),
        reward=np.zeros(3, np.float32),
        success=success,
        terminated=success,
        frames={"front": np.zeros((2, 8, 9, 3), np.uint8)},
        frame_step=np.array([0, 3], dtype=np.int64),
        metadata={"kind": "demo" if success else "random"},
    )


@pytest.fixture(name="store")
def store_fixture(tmp_path):
    """Three episodes of two tasks."""
    with EpisodeStore(tmp_path / "store") as store:
        store.extend(
            [
                episode("mujoco/Lift", True),
                episode("mujoco/Lift", False),
                episode("mujoco/Push", True),
            ]
        )
    return tmp_path / "store"


def test_info(store, capsys):
    result = DataInfo(store).run()
    assert (result["episodes"], result["successes"], result["steps"]) == (3, 2, 9)
    assert result["frames"] == 6
    assert result["tasks"]["mujoco/Lift"] == {"episodes": 2, "successes": 1, "steps": 6}
    assert result["kinds"] == {"demo": 2, "random": 1}
    assert result["image_sizes"] == {"front": (8, 9)}
    assert result["bytes"] > 0
    assert "mujoco/Push" in capsys.readouterr().out


def test_verify(store, capsys):
    result = DataVerify(store).run()
    assert result["ok"]
    assert result["episodes"] == 3
    assert "all whole" in capsys.readouterr().out
    (store / "episode-00000001.zip").write_bytes(b"gone")
    result = DataVerify(store).run()
    assert not result["ok"]
    assert [damage["episode"] for damage in result["damaged"]] == [1]
    assert "episode 1 (episode-00000001.zip)" in " ".join(capsys.readouterr().out.split())


def test_json_prints_nothing_else_and_an_empty_store_counts_zero(tmp_path, capsys):
    EpisodeStore(tmp_path).close()
    assert DataInfo(tmp_path, json=True).run()["episodes"] == 0
    assert DataVerify(tmp_path, json=True).run()["ok"]
    assert capsys.readouterr().out == ""


def test_no_store(tmp_path):
    for command in (DataInfo, DataVerify):
        with pytest.raises(StoreError, match="there is no episode store"):
            command(tmp_path / "none").run()


def test_from_the_command_line(store, capsys):
    from robo.cli import main

    assert main(["data", "info", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["episodes"] == 3
    (store / "episode-00000002.zip").unlink()
    assert main(["data", "verify", str(store), "--json"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is False
    assert main(["data", "verify", str(store / "none")]) == 2
    assert "no episode store" in capsys.readouterr().err


def test_imported_views_get_the_roles_that_rewards_ask_for(tmp_path):
    video = encode_video(np.zeros((4, 16, 16, 3), np.uint8), "video-lossless")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.mp4").write_bytes(video)
    (source / "a.json").write_text(json.dumps({"views": {"top": "a.mp4"}, "success": True}))
    named = DataImport(source, str(tmp_path / "named"), views=("front=top",), json=True).run()
    assert named["notes"] == []
    (stored,) = EpisodeStore(tmp_path / "named", mode="r")
    assert list(stored.frames) == ["front"]
    kept = DataImport(source, str(tmp_path / "kept"), json=True).run()
    (note,) = kept["notes"]
    assert note["what"] == "camera view top" and "--views ROLE=top" in note["why"]
    for wrong in ("top=front", "front", "front="):
        with pytest.raises(RoboError, match=f"--views {wrong}: expected ROLE=VIEW"):
            DataImport(source, str(tmp_path / "other"), views=(wrong,), json=True).run()
    with pytest.raises(StoreError, match=r"no camera view left to be front; there are .'top'."):
        DataImport(source, str(tmp_path / "other"), views=("front=left",), json=True).run()
    assert not (tmp_path / "other").exists()  # no empty store where nothing could be imported
