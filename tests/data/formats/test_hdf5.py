"""HDF5 of robomimic and LIBERO: every number, name and type comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.data.formats.common import REPEATED, Notes, with_roles
from robo.data.formats.hdf5 import Hdf5Import
from robo.data.formats.hdf5_export import export_hdf5
from robo.data.formats.hdf5_layout import SIMULATOR_STATE
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
        data.attrs["total"] = sum(6 + number for number in range(demos))


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
        "success",
    }


def test_what_lies_beside_the_demonstrations_is_named(tmp_path):
    write_libero(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["mask/train"] = np.array([b"demo_0"])
        file["mask/valid"] = np.array([b"demo_1"])
        file["about"] = 1
        file.attrs["author"] = "somebody"
        file["data"].create_group("broken")  # type: ignore[union-attr]
    notes = {note.what for note in Hdf5Import(tmp_path / "a.hdf5").notes.list()}
    assert notes == {"mask/train", "mask/valid", "about", "@author", "data/broken"}


@pytest.mark.parametrize(
    ("rewards", "dones", "success", "noted"),
    [
        ([0, 0, 0], [0, 0, 1], False, False),
        ([0, 0, 1], [0, 0, 1], True, False),
        ([0, 0.4, 0.7], [0, 0, 1], True, True),
        (None, [0, 0, 1], True, True),
        (None, None, False, True),
    ],
)
def test_success_is_that_of_the_rewards(tmp_path, rewards, dones, success, noted):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 2))
        for name, rows in (("rewards", rewards), ("dones", dones)):
            if rows is not None:
                file[f"data/demo_0/{name}"] = np.array(rows, np.float32)
    imported = Hdf5Import(tmp_path / "a.hdf5")
    (episode,) = imported
    assert episode.success is success
    assert ("success" in {note.what for note in imported.notes.list()}) is noted


def test_a_demonstration_without_steps_is_named(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((0, 2))
    with pytest.raises(StoreError, match=r"demo_0 of .* cannot be read: it has no steps"):
        list(Hdf5Import(tmp_path / "a.hdf5"))


def test_a_subset_counts_itself(tmp_path):
    write_libero(tmp_path / "a.hdf5", demos=3)
    first, _, last = Hdf5Import(tmp_path / "a.hdf5")
    assert export_hdf5([first, last], tmp_path / "b.hdf5") == []
    with h5py.File(tmp_path / "b.hdf5") as file:
        data: Any = file["data"]
        assert list(data) == ["demo_0", "demo_2"]
        assert data.attrs["total"] == 6 + 8 and data.attrs["num_demos"] == 2


def test_merged_files_keep_every_demonstration_and_name_what_differs(tmp_path, make_episode):
    write_libero(tmp_path / "a.hdf5")
    write_libero(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        data: Any = file["data"]
        data.attrs["problem_info"] = json.dumps({"language_instruction": "shut it"})
        data.move("demo_1", "demo_3")
    # demo_3 of the second file is what a name by number would be taken for.
    episodes = [
        *Hdf5Import(tmp_path / "b.hdf5"),
        *Hdf5Import(tmp_path / "a.hdf5"),
        make_episode(1),
    ]
    notes = export_hdf5(episodes, tmp_path / "c.hdf5")
    assert {"data@problem_info", "names of demonstrations"} <= {note.what for note in notes}
    with h5py.File(tmp_path / "c.hdf5") as file:
        data = file["data"]
        assert len(data) == 5 and data.attrs["total"] == 6 + 7 + 6 + 7 + 12
        assert "shut it" in data.attrs["problem_info"]
    actions = {episode.action.tobytes() for episode in Hdf5Import(tmp_path / "c.hdf5")}
    assert len(actions) == 3  # the two files hold the same numbers


def test_views_get_roles_and_go_back_under_their_names(tmp_path):
    write_libero(tmp_path / "a.hdf5")
    imported = Hdf5Import(tmp_path / "a.hdf5")
    notes = Notes()
    views = {"side": "agentview_rgb", "front": "wrist"}
    given = [with_roles(episode, views, notes) for episode in imported]
    assert [list(episode.frames) for episode in given] == [["side", "front"]] * 2
    assert notes.list() == []
    export_hdf5(given, tmp_path / "b.hdf5")
    assert_same(tmp_path / "a.hdf5", tmp_path / "b.hdf5")


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
