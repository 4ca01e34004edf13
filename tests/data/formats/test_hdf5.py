"""HDF5 of robomimic and LIBERO: every number, name and type comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.formats.common import REPEATED
from robo.data.formats.hdf5 import SIMULATOR_STATE, Hdf5Import, export_hdf5
from robo.errors import StoreError

h5py = pytest.importorskip("h5py")


def write_libero(path: Path, demos: int = 2, next_obs: bool = False) -> None:
    """A file as LIBERO's script makes it (and robomimic's, with ``next_obs``), random inside."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Libero_Kitchen", "type": 1})
        data.attrs["bddl_file_name"] = "bddl_files/libero_goal/open_the_drawer.bddl"
        data.attrs["problem_info"] = json.dumps({"language_instruction": ["open the", "drawer"]})
        data.attrs["num_demos"] = demos
        data.attrs["macros_image_convention"] = "opengl"
        for number in range(demos):
            steps = 6 + number
            demo = data.create_group(f"demo_{number}")
            obs = {
                "agentview_rgb": rng.integers(0, 256, (steps + 1, 16, 12, 3), dtype=np.uint8),
                "eye_in_hand_rgb": rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
                "ee_pos": rng.normal(size=(steps + 1, 3)),
                "gripper_states": rng.normal(size=(steps + 1, 2)).astype(np.float32),
            }
            for key, rows in obs.items():
                demo[f"obs/{key}"] = rows[:-1]
                if next_obs:
                    demo[f"next_obs/{key}"] = rows[1:]
            demo["actions"] = rng.normal(size=(steps, 7))
            demo["states"] = rng.normal(size=(steps, 40))
            demo["robot_states"] = rng.normal(size=(steps, 9))
            demo["rewards"] = np.eye(steps, dtype=np.uint8)[-1]
            demo["dones"] = np.eye(steps, dtype=np.uint8)[-1]
            demo.attrs["num_samples"] = steps
            demo.attrs["model_file"] = "<mujoco>" + "<geom/>" * 3000 + "</mujoco>"
            demo.attrs["init_state"] = rng.normal(size=40)
        data.attrs["total"] = 13


def contents(path: Path) -> dict[str, Any]:
    """Every data set and attribute of a file, with its type."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = value
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_same(first: Path, second: Path) -> None:
    one, other = contents(first), contents(second)
    assert set(one) == set(other)
    for name, value in one.items():
        got = np.asarray(other[name])
        assert got.dtype == np.asarray(value).dtype, name
        assert np.array_equal(got, value), name


@pytest.mark.parametrize("next_obs", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_there_and_back_is_the_same_file(tmp_path, next_obs, flip):
    write_libero(tmp_path / "a.hdf5", next_obs=next_obs)
    imported = Hdf5Import(tmp_path / "a.hdf5", flip)
    store = EpisodeStore(tmp_path / "store")
    store.extend(imported)
    assert imported.notes.list() == []
    episode = store[0]
    assert episode.info.task == "libero/open_the_drawer"
    assert episode.info.instruction == "open the drawer"
    assert episode.success and len(episode) == 6
    assert {role: rows.shape for role, rows in episode.frames.items()} == {
        "front": (7, 16, 12, 3),
        "wrist": (7, 8, 8, 3),
    }
    assert ("final_state" in episode.metadata) != next_obs
    with h5py.File(tmp_path / "a.hdf5") as file:
        demo: Any = file["data/demo_0"]
        image = demo["obs/agentview_rgb"][3]
        assert np.array_equal(episode.frames["front"][3], image[::-1] if flip else image)
        assert np.array_equal(episode.observation[SIMULATOR_STATE][:-1], demo["states"])
        last = demo["next_obs/ee_pos" if next_obs else "obs/ee_pos"][-1]
        assert np.array_equal(episode.observation["ee_pos"][-1], last)
    assert len(json.dumps(episode.metadata)) < 5000  # the scene's XML is compressed
    assert export_hdf5(store, tmp_path / "b.hdf5") == []
    assert_same(tmp_path / "a.hdf5", tmp_path / "b.hdf5")


def test_episodes_of_robo_come_back_whole(tmp_path, make_episode, assert_equal):
    sparse = make_episode(0)
    bare = make_episode(1, frames={}, frame_step=None, signals={}, keyframes={})
    repeated = make_episode(2, length=5, metadata={"final_state": REPEATED})
    for rows in repeated.observation.values():
        rows[-1] = rows[-2]
    simulated = make_episode(3)
    simulated.observation[SIMULATOR_STATE] = np.random.default_rng(0).normal(size=(13, 9))
    originals = [sparse, bare, repeated, simulated]
    notes = export_hdf5(originals, tmp_path / "a.hdf5")
    assert {note.what for note in notes} == {"frames", "last states", "signals, keyframes"}
    for stored, original in zip(Hdf5Import(tmp_path / "a.hdf5"), originals, strict=True):
        assert_equal(stored, original)
    with h5py.File(tmp_path / "a.hdf5") as file:
        data: Any = file["data"]
        assert data.attrs["total"] == 12 + 12 + 5 + 12
        assert data["demo_0/obs/front_image"].shape == (12, 16, 16, 3)
        assert data["demo_0"].attrs["num_samples"] == 12


def test_what_cannot_be_held_is_named(tmp_path):
    write_libero(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["data/demo_0/notes"] = "by hand"
        file["data/demo_0/obs/late"] = np.zeros((3, 2))
        file["data/demo_1"].create_group("extra")
        del file["data/demo_1/rewards"]
        file["data/demo_1/rewards"] = np.linspace(0, 1, 7)  # not exact in float32
    imported = Hdf5Import(tmp_path / "a.hdf5")
    second = list(imported)[1]
    assert np.array_equal(second.observation["per_step/rewards"][:-1], np.linspace(0, 1, 7))
    assert {note.what for note in imported.notes.list()} == {
        "demo_0/notes",
        "obs/late",
        "demo_1/extra",
        "rewards",
    }


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.hdf5").write_text("no")
    with pytest.raises(StoreError, match="no HDF5 file of demonstrations"):
        Hdf5Import(tmp_path / "a.hdf5")
    h5py.File(tmp_path / "b.hdf5", "w").close()
    with pytest.raises(StoreError, match="no HDF5 file of demonstrations"):
        Hdf5Import(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(StoreError, match="holds no demonstrations"):
        Hdf5Import(tmp_path / "c.hdf5")
    with pytest.raises(StoreError, match="exists"):
        export_hdf5([], tmp_path / "b.hdf5")
