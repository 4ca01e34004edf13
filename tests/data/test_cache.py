"""Decoded chunks kept in memory: the same bits, never more bytes than allowed."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.cache import ChunkCache
from robo.data.training import Windows
from robo.errors import StoreError


def test_the_chunks_used_last_stay_and_the_limit_holds():
    cache = ChunkCache(300)
    chunks = {key: np.full(100, key, np.uint8) for key in range(4)}
    for key in range(3):
        cache.put(key, chunks[key])
    assert cache.get(0) is chunks[0]
    cache.put(3, chunks[3])  # 1 was not used for longest
    assert [cache.get(key) is not None for key in range(4)] == [True, False, True, True]
    assert (cache.bytes, cache.hits, cache.misses) == (300, 4, 1)
    cache.put(9, np.zeros(301, np.uint8))  # larger than all of it: nothing is dropped for it
    assert cache.get(9) is None and cache.bytes == 300
    cache.put(0, np.zeros(50, np.uint8))
    assert cache.bytes == 250
    cache.clear()
    assert cache.bytes == 0 and cache.get(0) is None
    with pytest.raises(StoreError, match="cache_bytes is -1"):
        ChunkCache(-1)


@pytest.fixture(name="path")
def path_fixture(tmp_path, make_episode):
    """A store of two episodes with many chunks per view."""
    store = EpisodeStore(tmp_path)
    for seed in range(2):
        step = np.arange(61)
        store.append(make_episode(seed, length=60, rows=61, size=64, frame_step=step))
    assert store.array(0, "frames/front").chunk < 20
    return tmp_path


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("cache_bytes", [1, 10**6, 10**9])
def test_a_cache_of_any_size_changes_no_bit(path, cache_bytes, stride):
    views = ("front", "wrist")
    plain = Windows([EpisodeStore(path, mode="r")], 5, stride, views=views)
    store = EpisodeStore(path, mode="r", cache_bytes=cache_bytes)
    kept = Windows([store], 5, stride, views=views)
    numbers = np.random.default_rng(0).permutation(len(plain))
    for _ in range(2):
        expected, got = plain.read(numbers), kept.read(numbers)
        assert list(got) == list(expected)
        for name, array in expected.items():
            assert got[name].dtype == array.dtype
            assert np.array_equal(got[name], array), name
        got["frames/front"][:] = 0  # what was handed out is the caller's
        assert store.cache.bytes <= cache_bytes
    asked = store.cache.hits + store.cache.misses
    assert (store.cache.hits > asked / 2) == (cache_bytes == 10**9)


def test_a_damaged_chunk_is_not_kept_and_others_are(path):
    spec = EpisodeStore(path, mode="r").array(0, "frames/front")
    file = path / "episode-00000000.zip"
    data = bytearray(file.read_bytes())
    data[spec.offset + 50] ^= 1
    file.write_bytes(data)
    store = EpisodeStore(path, mode="r", cache_bytes=10**8)
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"frames/front: rows 0 to {spec.chunk - 1}"):
            store.rows(0, "frames/front", 0, 4)
    store.rows(0, "frames/front", spec.chunk, 3 * spec.chunk)
    assert store.cache.bytes > 0
    store.close()
    assert store.cache.bytes == 0


def test_threads_share_a_small_cache(path):
    store = EpisodeStore(path, mode="r", cache_bytes=500_000)
    plain = EpisodeStore(path, mode="r")
    starts = np.random.default_rng(1).integers(0, 53, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda s: store.rows(s % 2, "frames/wrist", s, s + 8), starts))
    for start, images in zip(starts, found, strict=True):
        assert np.array_equal(images, plain.rows(start % 2, "frames/wrist", start, start + 8))
    assert store.cache.bytes <= 500_000


def test_a_store_in_another_process_keeps_as_much(path):
    store = EpisodeStore(path, images="zstd", cache_bytes=12_345)
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.mode, copy.images, copy.cache.limit) == ("r", "zstd", 12_345)


@pytest.mark.parametrize("coding", ["lz4hc", "video-lossless"])
def test_rows_are_read_into_what_is_given(tmp_path, make_episode, coding):
    store = EpisodeStore(tmp_path, images=coding)
    store.append(make_episode(length=40, rows=41, size=64, frame_step=np.arange(41)))
    batch = np.full((3, 8, 64, 64, 3), 7, np.uint8)
    given = batch[1, :6]
    assert store.rows(0, "frames/front", 20, 26, given) is given
    assert np.array_equal(batch[1, :6], store.rows(0, "frames/front", 20, 26))
    assert (batch[[0, 2]] == 7).all() and (batch[1, 6:] == 7).all()
    sparse = np.zeros((6, 64, 64, 6), np.uint8)[..., ::2]
    for wrong, kind in (
        (batch[1, :5], "uint8 of shape (5, 64, 64, 3)"),
        (batch[1, :6].astype(np.int16), "int16 of shape (6, 64, 64, 3)"),
        (sparse, "not contiguous"),
    ):
        with pytest.raises(StoreError, match=r"a contiguous uint8 of shape \(6, 64") as error:
            store.rows(0, "frames/front", 20, 26, wrong)
        assert kind in str(error.value)
