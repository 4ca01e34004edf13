"""Stores that fsspec reaches: whole episodes, by ranges, brought up to date as the source grows."""

from __future__ import annotations

import uuid

import fsspec
import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.remote import stream
from robo.data.training import Windows
from robo.data.training_loader import TrainingLoader
from robo.errors import StoreError


@pytest.fixture(name="url")
def url_fixture():
    """An address of its own in fsspec's memory."""
    url = f"memory://robo-{uuid.uuid4().hex}/store"
    yield url
    fsspec.filesystem("memory").rm(url.rsplit("/", 1)[0], recursive=True)


def test_a_remote_store_is_a_store(url, make_episode, assert_equal):
    with pytest.raises(StoreError, match="there is no episode store at memory://"):
        EpisodeStore(url, mode="r")
    store = EpisodeStore(url)
    originals = [make_episode(seed, length=7 + seed) for seed in range(3)]
    assert store.extend(originals) == [0, 1, 2]
    reader = EpisodeStore(url, mode="r")
    for stored, original in zip(reader, originals, strict=True):
        assert_equal(stored, original)
    assert reader.verify() == []
    assert reader.bytes_on_disk() > 0
    wrist = originals[2].frames["wrist"]
    assert np.array_equal(reader.rows(2, "frames/wrist", 1, 3), wrist[1:3])
    assert len(list(TrainingLoader(Windows([reader], 3), 4))) > 1
    store.append(make_episode(3))
    assert len(reader) == 3
    assert reader.refresh() == 4
    with pytest.raises(StoreError, match="same camera schedule"):
        store.append(make_episode(4, size=20))


def test_a_damaged_remote_episode_is_named(url, make_episode, assert_equal):
    store = EpisodeStore(url)
    store.extend([make_episode(0), make_episode(1)])
    system = fsspec.filesystem("memory")
    file = f"{url}/{store.info(0).file}"
    data = bytearray(system.cat_file(file))
    spec = next(s for s in store.info(0).arrays if s.name == "frames/front")
    data[spec.offset + 20] ^= 1
    system.pipe_file(file, bytes(data))
    reader = EpisodeStore(url, mode="r")
    assert [damage.episode for damage in reader.verify()] == [0]
    with pytest.raises(StoreError, match=r"episode 0 of memory://.*frames/front: rows 0 to"):
        reader[0]
    assert_equal(reader[1], make_episode(1))


def test_streaming_as_the_source_grows(url, tmp_path, make_episode, assert_equal):
    source = EpisodeStore(tmp_path)
    source.append(make_episode(0))
    target = EpisodeStore(url)
    assert stream(source, target) == 1
    looks = []

    def stop() -> bool:
        looks.append(len(target))
        if len(looks) < 3:
            source.append(make_episode(len(looks)))
        return len(looks) == 3

    assert stream(EpisodeStore(tmp_path, mode="r"), target, follow=0.01, stop=stop) == 2
    assert looks == [1, 2, 3]
    for seed, episode in enumerate(EpisodeStore(url, mode="r")):
        assert_equal(episode, make_episode(seed))
    other = EpisodeStore(tmp_path / "other")
    other.append(make_episode(9))
    with pytest.raises(StoreError, match="is not that of"):
        stream(other, target)


def test_an_unknown_protocol_is_named():
    with pytest.raises(StoreError, match="nowhere"):
        EpisodeStore("nowhere://a/b", mode="r")
