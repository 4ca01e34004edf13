"""Rows of stored arrays, every coding, and very long episodes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.data import CODINGS, EpisodeStore
from robo.errors import StoreError


def smooth(rows: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Moving gradients: what a video coder is made for."""
    y, x = np.mgrid[:height, :width]
    time = np.arange(rows)[:, None, None]
    planes = [(2 * x + time * 3 + seed), (3 * y + time), (x + y + 2 * time)]
    return np.stack([plane % 256 for plane in planes], axis=-1).astype(np.uint8)


@pytest.fixture(name="long", scope="module")
def long_fixture(tmp_path_factory):
    """A store with one episode of several chunks per array, and its images."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(
        "episodes", Path(__file__).with_name("conftest.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    images = smooth(61, 64, 48)
    episode = module.make_episode(length=60, frames={"front": images}, frame_step=np.arange(61))
    store = EpisodeStore(tmp_path_factory.mktemp("long"))
    store.append(episode)
    return store, images


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_rows_of_any_chunks(long, data):
    store, images = long
    start = data.draw(st.integers(0, 61))
    stop = data.draw(st.integers(start, 61))
    assert np.array_equal(store.rows(0, "frames/front", start, stop), images[start:stop])
    rows = data.draw(st.lists(st.integers(0, 60), max_size=6))
    assert np.array_equal(store.take(-1, "frames/front", rows), images[rows])


def test_rows_outside_and_arrays_that_are_not_there(long):
    store, _ = long
    assert next(s for s in store.info(0).arrays if s.name == "frames/front").chunk < 30
    for start, stop in ((-1, 2), (3, 2), (0, 62)):
        with pytest.raises(IndexError, match="episode 0, which has 61"):
            store.rows(0, "frames/front", start, stop)
    with pytest.raises(IndexError, match=r"\[61\]"):
        store.take(0, "frames/front", [61])
    with pytest.raises(StoreError, match=r"no array 'frames/rear'; it has .*frames/front"):
        store.rows(0, "frames/rear", 0, 1)
    with pytest.raises(IndexError, match="does not exist"):
        store.rows(1, "frames/front", 0, 1)


@pytest.mark.parametrize("coding", CODINGS)
def test_every_coding(tmp_path, make_episode, assert_equal, coding):
    images = smooth(23, 32, 48)
    episode = make_episode(length=22, frames={"front": images}, frame_step=np.arange(23))
    with EpisodeStore(tmp_path, images=coding) as store:
        store.append(episode)
    store = EpisodeStore(tmp_path, mode="r")
    assert store.verify() == []
    front = next(spec for spec in store.info(0).arrays if spec.name == "frames/front")
    assert front.coding == coding
    stored = store[0].frames["front"]
    apart = np.abs(stored.astype(int) - images)
    assert apart.max() == front.worst_error
    assert apart.mean() == pytest.approx(front.mean_error, abs=1e-4)
    if coding == "video":
        assert 0 < front.mean_error < 8  # of hard edges where the gradients wrap
        episode.frames = {"front": stored}
    assert_equal(store[0], episode)
    for rows in ([0], [22], [9, 3, 17, 3], list(range(5, 12))):
        assert np.array_equal(store.take(0, "frames/front", rows), stored[rows])
    assert np.array_equal(store.rows(0, "frames/front", 7, 19), stored[7:19])


def test_videos_are_small_and_damage_in_them_is_found(tmp_path, make_episode):
    images = smooth(40, 64, 64)
    episode = make_episode(length=39, frames={"front": images}, frame_step=np.arange(40))
    with EpisodeStore(tmp_path, images="video") as store:
        store.append(episode)
    front = next(spec for spec in store.info(0).arrays if spec.name == "frames/front")
    assert front.nbytes < images.nbytes / 10
    file = tmp_path / "episode-00000000.zip"
    data = bytearray(file.read_bytes())
    data[front.offset + front.nbytes // 2] ^= 1
    file.write_bytes(data)
    reader = EpisodeStore(tmp_path, mode="r")
    with pytest.raises(StoreError, match="frames/front: its video's checksum"):
        reader.rows(0, "frames/front", 0, 2)
    assert reader.rows(0, "action", 0, 39).shape == (39, 7)
    assert [damage.episode for damage in reader.verify()] == [0]


def test_codings_that_cannot_be(tmp_path, make_episode):
    with pytest.raises(StoreError, match="'gif' does not exist"):
        EpisodeStore(tmp_path, images="gif")  # pyright: ignore[reportArgumentType]
    with (
        EpisodeStore(tmp_path, images="video") as store,
        pytest.raises(StoreError, match="even height and width, got 15 x 15"),
    ):
        store.append(make_episode(size=15))
    assert len(EpisodeStore(tmp_path, mode="r")) == 0


def test_zarr_reads_every_array_of_the_shards(tmp_path, make_episode):
    import zarr
    from zarr.storage import ZipStore

    episode = make_episode(length=300, rows=301, size=32, frame_step=np.arange(301))
    episode.observation["flags"] = np.arange(301) % 3 == 0
    episode.observation["half"] = np.linspace(-1, 1, 301).astype(np.float16)
    episode.observation["empty"] = np.zeros((301, 0), np.float32)
    with EpisodeStore(tmp_path) as store:
        store.append(episode)
    with ZipStore(tmp_path / "episode-00000000.zip", mode="r") as file:
        group = zarr.open_group(file, mode="r")
        for key, value in episode.observation.items():
            got = np.asarray(group[f"observation.{key}".replace("/", "%2F")][...])
            assert got.dtype == value.dtype
            assert np.array_equal(got, value)
        assert np.array_equal(
            np.asarray(group["frames.wrist"][120:260]), episode.frames["wrist"][120:260]
        )
        assert group["frames.wrist"].shards is not None


@pytest.mark.slow
def test_an_episode_of_100_000_steps_is_read_and_written_in_pieces(tmp_path, make_episode):
    length = 100_000
    file = tmp_path / "frames.npy"
    images = np.lib.format.open_memmap(file, "w+", np.uint8, (length + 1, 16, 16, 3))
    images[:, 0, 0, 0] = np.arange(length + 1) % 251
    episode = make_episode(
        length=length, frames={"front": images}, frame_step=np.arange(length + 1)
    )
    with EpisodeStore(tmp_path / "store") as store:
        store.append(make_episode(1, frames={"front": images[:4]}))
        tracemalloc.start()
        store.append(episode)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for start in (0, 50_000, 99_990):
            window = store.rows(1, "frames/front", start, start + 8)
            assert window[:, 0, 0, 0].tolist() == [i % 251 for i in range(start, start + 8)]
        read = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert written < images.nbytes / 4
        assert read < images.nbytes / 8
        assert store.verify() == []
        assert len(store[0]) == 12


@pytest.mark.parametrize("coding", ["video", "video-lossless"])
def test_a_long_video_is_compared_some_frames_at_a_time(tmp_path, coding):
    from robo.data.video import COMPARED, changed_by, encode_video

    images = np.lib.format.open_memmap(
        tmp_path / "images.npy", "w+", np.uint8, (4 * COMPARED + 3, 64, 64, 3)
    )
    images[:] = smooth(len(images), 64, 64)
    encoded = encode_video(images, coding)
    tracemalloc.start()
    changed = changed_by(encoded, images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One part's frames, the same in int16 and their difference: whole, they take 20 parts.
    assert peak < 8 * images[:COMPARED].nbytes
    assert (changed.worst == 0) == (coding == "video-lossless")
    assert changed.count == images.size
    assert (changed.mean == 0) == (changed.worst == 0)
