"""Folders of videos with JSON labels, in and out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.formats.videos import VideoFolderImport, export_videos
from robo.data.video import encode_video
from robo.errors import StoreError


def moving(rows: int) -> np.ndarray:
    y, x = np.mgrid[:32, :48]
    planes = [[x + 4 * t, y, x + y + t] for t in range(rows)]
    return np.moveaxis(np.array(planes), 1, -1).astype(np.uint8)


def test_recordings_with_labels(tmp_path):
    for name, rows in (("a_front", 21), ("a_side", 21), ("b", 9)):
        (tmp_path / f"{name}.mp4").write_bytes(encode_video(moving(rows), "video-lossless"))
    label = {
        "views": {"front": "a_front.mp4", "side": "a_side.mp4"},
        "instruction": "pour",
        "success": True,
        "keyframes": {"grasp": 8, "tilt": 14},
        "operator": "me",
    }
    (tmp_path / "a.json").write_text(json.dumps(label))
    (tmp_path / "b.json").write_text(json.dumps({"views": {"front": "b.mp4"}}))
    folder = VideoFolderImport(tmp_path, stride=2)
    first, second = list(folder)
    assert len(first) == 10
    assert np.array_equal(first.frames["side"], moving(21)[::2])
    assert dict(first.keyframes) == {"grasp": 4, "tilt": 7}
    assert first.reward.tolist() == [0.0] * 9 + [1.0]
    assert first.action.shape == (10, 0)
    assert not second.success and not second.reward.any()
    assert [note.what for note in folder.notes.list()] == ["operator of a.json"]
    store = EpisodeStore(tmp_path / "store")
    store.append(first)
    assert np.array_equal(store[0].frames["front"], first.frames["front"])
    small = next(iter(VideoFolderImport(tmp_path, size=(16, 24))))
    assert small.frames["front"].shape == (21, 16, 24, 3)


def test_episodes_of_robo_come_back(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed, rows=5) for seed in range(2)]
    notes = export_videos(originals, tmp_path / "a", "video-lossless")
    assert len(notes) == 1
    for stored, original in zip(VideoFolderImport(tmp_path / "a"), originals, strict=True):
        assert_equal(stored, original)
    assert {note.what for note in export_videos(originals, tmp_path / "b")} > {"pixels"}


def test_what_is_wrong_is_named(tmp_path, make_episode):
    with pytest.raises(StoreError, match="holds no JSON files"):
        VideoFolderImport(tmp_path)
    label = tmp_path / "a.json"
    for text, words in (
        ("{", "a.json cannot be used"),
        ('{"success": true}', "views"),
        ('[{"annotation": "lift"}]', "expected an object"),
        ('{"views": {"front": "none.mp4"}}', "none.mp4"),
    ):
        label.write_text(text)
        with pytest.raises(StoreError, match=words):
            list(VideoFolderImport(tmp_path))
    (tmp_path / "x.mp4").write_bytes(encode_video(moving(9), "video"))
    (tmp_path / "y.mp4").write_bytes(encode_video(moving(8), "video"))
    label.write_text('{"views": {"front": "x.mp4", "side": "y.mp4"}}')
    with pytest.raises(StoreError, match="expected the same"):
        list(VideoFolderImport(tmp_path))
    with pytest.raises(StoreError, match="no camera frames"):
        export_videos([make_episode(0, frames={}, frame_step=None)], tmp_path / "b")
