"""Merge, split, repair and migration: what is whole stays, what is not is named."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.maintenance import merge, migrate, repair, split
from robo.errors import StoreError


def schema_1():
    """The module beside this one."""
    path = Path(__file__).with_name("schema_1.py")
    spec = importlib.util.spec_from_file_location("schema_1", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(path: Path, episodes) -> EpisodeStore:
    store = EpisodeStore(path)
    store.extend(episodes)
    return store


def test_merge_takes_files_over_as_they_are(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed, length=6 + seed) for seed in range(5)]
    first, second = fill(tmp_path / "a", originals[:2]), fill(tmp_path / "b", originals[2:])
    target = EpisodeStore(tmp_path / "c")
    seen = []
    assert merge([first, second], target, progress=lambda d, t: seen.append((d, t))) == []
    assert seen[-1] == (5, 5)
    for stored, original in zip(target, originals, strict=True):
        assert_equal(stored, original)
    assert target.verify() == []
    same = (tmp_path / "a/episode-00000001.zip").read_bytes()
    assert (tmp_path / "c/episode-00000001.zip").read_bytes() == same
    # What is done to one store does not reach the other.
    (tmp_path / "a/episode-00000001.zip").unlink()
    assert target.verify() == []
    merge([second], target, indices=[[2, 0]])
    assert [episode.info.seed for episode in target] == [0, 1, 2, 3, 4, 4, 2]


def test_merge_of_other_cameras_is_refused_or_named(tmp_path, make_episode):
    small = fill(tmp_path / "a", [make_episode(0)])
    large = fill(tmp_path / "b", [make_episode(1, size=20)])
    bare = fill(tmp_path / "c", [make_episode(2, frames={}, frame_step=None)])
    target = EpisodeStore(tmp_path / "d")
    with pytest.raises(StoreError, match=r"episode 0 of .*b: .*\(20, 20\).*\(16, 16\)"):
        merge([small, large], target)
    assert len(target) == 0
    left_out = merge([small, large, bare], target, skip=True)
    assert [(Path(one.store).name, one.episode) for one in left_out] == [("b", 0), ("c", 0)]
    assert len(target) == 1


def test_merge_stops_at_damage_or_names_it(tmp_path, make_episode):
    source = fill(tmp_path / "a", [make_episode(seed) for seed in range(3)])
    (tmp_path / "a/episode-00000001.zip").unlink()
    with pytest.raises(StoreError):
        merge([source], EpisodeStore(tmp_path / "b"))
    target = EpisodeStore(tmp_path / "c")
    assert [one.episode for one in merge([source], target, skip=True)] == [1]
    assert [episode.info.seed for episode in target] == [0, 2]


def test_split_deals_every_kind_alike(tmp_path, make_episode):
    store = fill(tmp_path / "a", [make_episode(seed) for seed in range(20)])
    shares = {"train": 0.8, "test": 0.2}

    def deal(folder: str, seed: int) -> dict[str, list[int]]:
        targets = {name: EpisodeStore(tmp_path / folder / name) for name in shares}
        return split(store, targets, shares, seed)

    parts = deal("x", 0)
    assert sorted(parts["train"] + parts["test"]) == list(range(20))
    assert len(parts["test"]) == 4
    test = EpisodeStore(tmp_path / "x/test", mode="r")
    assert sum(episode.success for episode in test) == 2
    assert [episode.info.seed for episode in test] == parts["test"]
    assert deal("y", 0) == parts
    assert deal("z", 1) != parts
    with pytest.raises(StoreError, match="already holds"):
        deal("x", 0)
    with pytest.raises(StoreError, match="at most 1"):
        split(store, {}, {"train": 0.9, "test": 0.2})


def test_repair_of_a_damaged_episode(tmp_path, make_episode, assert_equal):
    fill(tmp_path, [make_episode(seed) for seed in range(4)])
    file = tmp_path / "episode-00000001.zip"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    (tmp_path / "episode-00000003.zip").unlink()
    done = repair(tmp_path)
    assert done.episodes == 2
    assert [lost.episode for lost in done.taken_out] == [1, 3]
    assert (tmp_path / "damaged/episode-00000001.zip").read_bytes() == data
    with EpisodeStore(tmp_path) as store:
        assert store.verify() == []
        assert [episode.info.seed for episode in store] == [0, 2]
        # The next file takes no number that is in use.
        assert store.append(make_episode(5)) == 2
        assert_equal(store[1], make_episode(2))
        assert store.verify() == []
    assert repair(tmp_path).taken_out == []


@pytest.mark.parametrize("harm", ["line", "manifest", "root", "all"])
def test_repair_of_the_stores_own_files(tmp_path, make_episode, assert_equal, harm):
    fill(tmp_path, [make_episode(seed) for seed in range(3)])
    manifest = tmp_path / "manifest.jsonl"
    if harm == "line":
        manifest.write_bytes(manifest.read_bytes().replace(b'"seed": 1', b'"seed": 7'))
    if harm in ("manifest", "all"):
        manifest.unlink()
    if harm in ("root", "all"):
        (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="robo data repair"):
        EpisodeStore(tmp_path)
    done = repair(tmp_path)
    assert done.episodes == 3
    assert done.taken_out == []
    with EpisodeStore(tmp_path) as store:
        assert store.verify() == []
        for seed, episode in enumerate(store):
            assert_equal(episode, make_episode(seed))


def test_repair_needs_a_store_that_this_robo_reads(tmp_path, make_episode):
    with pytest.raises(StoreError, match="not even a damaged one"):
        repair(tmp_path)
    fill(tmp_path / "a", [make_episode(0)])
    root = tmp_path / "a/zarr.json"
    root.write_text(root.read_text().replace('"schema": 2', '"schema": 9'))
    before = root.read_bytes()
    with pytest.raises(StoreError, match="newer"):
        repair(tmp_path / "a")
    assert root.read_bytes() == before


def test_schema_1_is_read_appended_to_and_migrated(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed, length=7 + seed) for seed in range(3)]
    schema_1().write_store(tmp_path / "a", originals[:2])
    reader = EpisodeStore(tmp_path / "a", mode="r")
    assert reader.schema == 1
    assert reader.verify() == []
    for stored, original in zip(reader, originals, strict=False):
        assert_equal(stored, original)
    state = originals[1].observation["state"]
    assert np.array_equal(reader.rows(1, "observation/state", 2, 5), state[2:5])
    assert np.array_equal(reader.take(1, "observation/state", [4, 1]), state[[4, 1]])
    store = EpisodeStore(tmp_path / "a")
    assert store.append(originals[2]) == 2
    root = json.loads((tmp_path / "a/zarr.json").read_text())
    assert root["attributes"]["robo_episode_store"] == {"schema": 2}
    for _ in range(2):
        assert store.verify() == []
        for stored, original in zip(store, originals, strict=True):
            assert_equal(stored, original)
        assert migrate(tmp_path / "a") in (2, 0)
        store.refresh()  # a store that was open sees the new files
    assert {header.schema for header in store.manifest.headers} == {2}
    files = {path.name for path in (tmp_path / "a").glob("*.zip")}
    assert files == {header.file for header in store.manifest.headers}
    assert store.append(originals[0]) == 3
    assert EpisodeStore(tmp_path / "a", mode="r").verify() == []


def test_a_migration_that_fails_changes_nothing(tmp_path, make_episode):
    schema_1().write_store(tmp_path / "a", [make_episode(seed) for seed in range(2)])
    (tmp_path / "a/episode-00000001.zip").write_bytes(b"lost")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("[!.]*")}
    with pytest.raises(StoreError, match="episode 1 of"):
        migrate(tmp_path / "a")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").glob("[!.]*")} == before
