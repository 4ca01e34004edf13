"""The throughput of data: sessions, sides that read the same, ratios between the right ones."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.rollout import Episode, EpisodeInfo

pytest.importorskip("h5py")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are scripts: their helpers lie beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def demonstration(seed: int, length: int) -> Episode:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, length + 1, 64, 64, 3), dtype=np.uint8)
    return Episode(
        info=EpisodeInfo("mujoco/Lift", "lift the cube", seed=seed),
        observation={"state": rng.normal(size=(length + 1, 4)).astype(np.float32)},
        action=rng.normal(size=(length, 3)).astype(np.float32),
        reward=np.zeros(length, np.float32),
        success=True,
        terminated=True,
        frames=dict(zip(("front", "side", "wrist"), images, strict=True)),
        frame_step=np.arange(length + 1),
    )


@pytest.fixture(name="episodes")
def episodes_fixture(tmp_path: Path) -> list[Episode]:
    """Two sessions of two demonstrations each, saved and mapped."""
    made = script("_data_sessions")
    for number in range(2):
        parts = [demonstration(2 * number, 17), demonstration(2 * number + 1, 22)]
        made.save(made.joined(parts), tmp_path / "source" / str(number))
    return made.sessions(tmp_path / "source")


def test_sessions_are_demonstrations_one_after_another(episodes: list[Episode]) -> None:
    for number, session in enumerate(episodes):
        first, second = demonstration(2 * number, 17), demonstration(2 * number + 1, 22)
        assert len(session) == 39 and session.info == first.info
        for role, images in session.frames.items():
            assert isinstance(images, np.memmap)
            assert np.array_equal(images[:17], first.frames[role][:-1])
            assert np.array_equal(images[17:], second.frames[role])
        assert np.array_equal(session.observation["state"][17:], second.observation["state"])
        assert np.array_equal(session.action, np.concatenate([first.action, second.action]))


def test_noise_is_small_and_on_the_first_sessions_alone(
    episodes: list[Episode], tmp_path: Path
) -> None:
    made = script("_data_sessions")
    made.add_noise(tmp_path / "source", 1, tmp_path / "noise")
    (noisy,) = made.sessions(tmp_path / "noise")
    apart = noisy.frames["front"].astype(int) - episodes[0].frames["front"]
    assert 1.5 < apart.std() < 2.5
    assert np.array_equal(noisy.action, episodes[0].action)


def test_every_side_reads_the_same_windows(episodes: list[Episode], tmp_path: Path) -> None:
    throughput, sides = script("data_throughput"), script("_data_sides")
    config = throughput.Config(windows=6, repeats=2)
    found = throughput.measure(episodes, config, tmp_path)
    assert list(found) == list(sides.SIDES)
    assert all(len(figures["reads"]) == 2 for figures in found.values())
    assert found["hdf5 lzf"]["bytes"] == found["hdf5 lzf, no cache"]["bytes"]
    asked = throughput.windows(episodes, 20, 3)
    opened: dict[str, Any] = {}
    for number, (name, option) in enumerate(sides.SIDES.items()):
        side = opened[name] = option.make(tmp_path / f"{number:02d}-{option.files}")
        side.open()
        for episode, start in asked:
            window = side.read(episode, start, 8)
            assert set(window) == {"front", "side", "wrist", "state", "action"}
            for role in ("front", "side", "wrist"):
                expected = episodes[episode].frames[role][start : start + 8]
                assert np.array_equal(window[role], expected), name
            actions = episodes[episode].action[start : start + 8]
            assert np.array_equal(window["action"], actions), name

    def kept(name: str) -> int:
        data = opened[name].sets[0]["front"]
        return data.id.get_access_plist().get_chunk_cache()[1]

    assert kept("hdf5 lzf, no cache") == 0
    assert kept("hdf5 lzf") == sides.HDF5_CACHE
    assert opened["store"].store.cache.limit == 0
    assert opened["store, cache"].store.cache.limit == 6 * sides.HDF5_CACHE
    assert opened["store, cache"].store.cache.hits > 0


def test_ratios_compare_what_keeps_alike() -> None:
    throughput, sides = script("data_throughput"), script("_data_sides")
    rates = dict.fromkeys(sides.SIDES, 1000)
    bytes_ = dict.fromkeys(sides.SIDES, 999)
    rates |= {"store": 9000, "store, cache": 16000, "store lz4": 6000, "npy": 90000}
    rates |= {"hdf5 lzf, chunks of 4": 8000, "hdf5 lzf, no cache": 3000, "hdf5 gzip 4": 7000}
    rates["hdf5 gzip 4, no cache"] = 2000
    bytes_ |= {"store": 50, "store, cache": 50, "store lz4": 90}
    bytes_ |= {name: 100 for name in rates if name.startswith("hdf5 lzf")}
    bytes_ |= {name: 60 for name in rates if name.startswith("hdf5 gzip")}
    found = throughput.ratios({**rates, "lerobot video": 5}, {**bytes_, "lerobot video": 1})
    assert found["ratio_to_hdf5_lzf"] == 3.0
    assert found["ratio_to_hdf5_lzf_as_it_comes"] == 1.125
    assert found["ratio_to_hdf5_lzf_cached"] == 2.0
    assert found["bytes_to_hdf5_lzf"] == 0.5
    gzip = {"peer": "hdf5 gzip 4, no cache", "bytes": 0.833, "rate": 4.5}
    assert found["equal_size"]["store"] == gzip
    assert found["equal_size"]["store lz4"] == {
        "peer": "hdf5 lzf, no cache",
        "bytes": 0.9,
        "rate": 2.0,
    }


def a_row(**changed: Any) -> dict[str, Any]:
    """What a row that reaches everything says of ratios and rates."""
    return {
        "ours": 2000,
        "training_loader": 2100,
        "compact_grm_trains_on": 300,
        "ratio_to_hdf5_lzf": 0.9,
        "ratio_to_hdf5_lzf_cached": 0.95,
        "bytes_to_hdf5_lzf": 1.0,
        "ratio_to_lerobot": 1.5,
        "equal_size": {"store": {"rate": 0.9}},
    } | changed


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, None),
        ({"ratio_to_hdf5_lzf": 0.89}, "hdf5_lzf"),
        ({"ratio_to_hdf5_lzf_cached": 0.89}, "hdf5_lzf"),
        ({"equal_size": {"store": {"rate": 0.89}}}, "hdf5_lzf"),
        ({"bytes_to_hdf5_lzf": 1.2}, "hdf5_lzf"),
        ({"ratio_to_lerobot": 1.4}, "lerobot"),
        ({"ours": 1999}, "frame_rows"),
        ({"training_loader": 1999}, "frame_rows"),
        ({"compact_grm_trains_on": 2100}, "trains"),
    ],
)
def test_throughput_is_held_to_what_is_wanted(changed: dict[str, Any], missed: str | None) -> None:
    throughput = script("data_throughput")
    wanted = throughput.verdicts(a_row(**changed), 128)
    assert [name for name, reached in wanted.items() if not reached] == ([missed] if missed else [])
    assert throughput.verdict([a_row(wanted=wanted)]) is (missed is None)


def test_throughput_that_was_not_measured_is_not_called_reached() -> None:
    throughput = script("data_throughput")
    alone = throughput.verdicts(a_row(ratio_to_lerobot=None), 128)
    small = throughput.verdicts(a_row(), 64)
    assert alone["lerobot"] is None and small["frame_rows"] is None
    assert throughput.verdict([{"wanted": alone}]) is None
    assert throughput.verdict([{"wanted": small}, {"wanted": {**alone, "trains": False}}]) is False
    assert throughput.verdict([]) is False


def test_kills_look_at_every_committed_episode(tmp_path: Path) -> None:
    kills = script("store_kills")
    path, compared = tmp_path / "store", set()
    assert kills.look(path, {7}, compared)["lost"] == 1  # no store was made
    store = EpisodeStore(path)
    store.extend(kills.episode(seed) for seed in (1, 2))
    whole = kills.look(path, {1, 2}, compared)
    assert whole == {"visible": {1, 2}, "lost": 0, "broken": 0, "wrong": 0}
    assert compared == {1, 2}
    store.append(replace(kills.episode(3), action=kills.episode(4).action[:13]))
    found = kills.look(path, {1, 2, 3, 9}, compared)
    assert (found["lost"], found["broken"], found["wrong"]) == (1, 0, 1)
    file = path / store.manifest.headers[0].file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    assert kills.look(path, {1, 2, 3}, compared)["broken"] == 1


def test_a_moment_kills_both_writers(tmp_path: Path) -> None:
    kills = script("store_kills")
    totals = kills.kills(kills.Options(kills=2, longest=0.4, seed=3, work=tmp_path))
    assert totals["visible"] >= 2  # each moment appends one itself
    assert not any(totals[name] for name in ("lost", "broken", "wrong", "failures"))


def test_kills_are_well_only_where_all_was_seen() -> None:
    kills = script("store_kills")
    clean = dict.fromkeys(("lost", "broken", "wrong", "failures"), 0)
    totals = clean | {"acknowledged": 9, "visible": 9}
    media = {
        "tried": True,
        "full_disk": "no space is left",
        "read_only": "Read-only file system",
        "acknowledged": 3,
        "kept": 3,
        "whole": True,
    }
    assert kills.verdict(totals, media) is True
    assert kills.verdict(totals, {"tried": False, "why": "no root"}) is None
    assert kills.verdict(totals | {"lost": 1}, {"tried": False}) is False
    for name in ("acknowledged", "visible"):
        assert kills.verdict(totals | {name: 0}, media) is False
    for name in ("lost", "broken", "wrong", "failures"):
        assert kills.verdict(totals | {name: 1}, media) is False
    for broken in (
        {"full_disk": ""},
        {"read_only": ""},
        {"kept": 2},
        {"kept": 0, "acknowledged": 0},
        {"whole": False},
    ):
        assert kills.verdict(totals, media | broken) is False
