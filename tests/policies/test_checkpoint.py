"""Run folders and checkpoints: whole or not there, read without running code, fall back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.errors import CheckpointError, RoboError
from robo.policies.checkpoint import Checkpoints, pack, read, start_from, unpack
from robo.policies.learner_config import NetworkConfig
from robo.policies.policy_files import make_policy
from robo.policies.run_folder import RunFolder, find_policy
from robo.storage import plain, read_json, write_bytes

STATE = {
    "tensor": torch.arange(6.0).reshape(2, 3),
    "array": np.arange(4, dtype=np.int64),
    "generator": np.random.default_rng(3).bit_generator.state,
    "nested": {"list": [1, 2.5, "text", None, True], "tuple": (1, 2)},
}


def equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and all(
            equal(a, b)
            for a, b in zip(left, right, strict=True)  # type: ignore[arg-type]
        )
    return left == right


def test_round_trip_restores_tensors_arrays_and_generators(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"a": 1}).save(STATE, 1)
    assert equal(STATE, Checkpoints(tmp_path, {"a": 1}).latest())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values)
@settings(max_examples=50, deadline=None)
def test_pack_is_inverted_by_unpack(value: object) -> None:
    assert equal(value, unpack(pack(value)))


def test_state_that_needs_pickle_is_refused_when_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold a PosixPath"):
        Checkpoints(tmp_path).save({"a": tmp_path}, 1)
    assert not Checkpoints(tmp_path).paths()


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for iteration in (1, 5, 30):
        checkpoints.save({"iteration": iteration}, iteration)
    assert [path.name for path in checkpoints.paths()] == [
        "checkpoint-00000005.pt",
        "checkpoint-00000030.pt",
    ]
    assert checkpoints.latest() == {"iteration": 30}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damaged_newest_falls_back_with_a_warning(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"tensor": torch.zeros(1000), "at": 1}, 1)
    newest = checkpoints.save({"tensor": torch.zeros(1000), "at": 2}, 2)
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0xFF
    wrong = {"cut": content[:-500], "flip": content, "empty": b"", "text": b"not a checkpoint"}
    newest.write_bytes(bytes(wrong[damage]))
    with pytest.warns(UserWarning, match=newest.name):
        assert checkpoints.latest()["at"] == 1


def test_all_damaged_is_one_sentence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"at": 1}, 1).write_bytes(b"broken")
    with (
        pytest.raises(CheckpointError, match="none of the 1 checkpoints"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        checkpoints.latest()


def test_no_checkpoint_and_another_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        Checkpoints(tmp_path).latest()
    Checkpoints(tmp_path, {"ppo": {"gamma": 0.99}, "seed": 0}).save({}, 1)
    with pytest.raises(CheckpointError, match=r"ppo\.gamma 0\.99 .* 0\.9 "):
        Checkpoints(tmp_path, {"ppo": {"gamma": 0.9}, "seed": 0}).latest()


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple:
            return print, ("harm",)

    path = tmp_path / "checkpoint-00000001.pt"
    torch.save({"format": 1, "configuration": None, "state": Harm()}, path)
    with pytest.raises(CheckpointError, match="damaged or unreadable"):
        read(path)


def test_full_disk_is_one_sentence_and_keeps_the_earlier_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"at": 1}, 1)
    # The kernel then refuses the write half-way, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RoboError, match="the disk is full"):
            checkpoints.save({"tensor": torch.zeros(100_000), "at": 2}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001.pt"]
    assert checkpoints.latest() == {"at": 1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_is_a_sentence(tmp_path: Path) -> None:
    from robo.storage import storage_errors

    with (
        pytest.raises(RoboError, match="disk is full"),
        storage_errors(tmp_path),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_write_replaces_whole_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "deep" / "a.json", b"1")
    write_bytes(path, b"22")
    assert path.read_bytes() == b"22"
    assert [item.name for item in path.parent.iterdir()] == ["a.json"]


def test_unwritable_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoboError, match="cannot write"):
        write_bytes(tmp_path / "file" / "a.json", b"")


def test_plain_gives_json(tmp_path: Path) -> None:
    value = plain({"a": np.float32(1.5), "b": float("nan"), "c": tmp_path, "d": (1, {2})})
    assert json.loads(json.dumps(value, allow_nan=False)) == {
        "a": 1.5,
        "b": None,
        "c": str(tmp_path),
        "d": [1, [2]],
    }


def test_read_json_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RoboError, match="cannot read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(RoboError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_find_policy_prefers_the_best(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(RoboError, match="holds no policy"):
        find_policy(tmp_path)
    for place in (run.policy, run.best):
        place.mkdir(parents=True)
        (place / "policy.json").write_text("{}")
    assert find_policy(tmp_path) == run.best
    assert find_policy(run.policy) == run.policy


@pytest.mark.parametrize("kind", ["mlp", "transformer", "carl_small"])
def test_a_policy_starts_from_one_without_the_critic_features_of_its_reward(
    tmp_path: Path, kind: str
) -> None:
    state = spaces.Box(-np.inf, np.inf, (5,), np.float32)
    seen = {"views/front": spaces.Box(0, 255, (64, 64, 3), np.uint8)} if kind != "mlp" else {}
    space = spaces.Dict({"state": state, **seen})
    action = spaces.Box(-np.ones(2, np.float32), np.ones(2, np.float32))
    network = NetworkConfig(kind=kind, size=32, depth=1)  # type: ignore[arg-type]
    cloned = make_policy(space, action, network, seed=0)
    cloned.save(tmp_path)
    policy = make_policy(space, action, network, critic_feature_dim=2, seed=1)
    start_from(policy, tmp_path)
    saved, now = cloned.state_dict(), policy.state_dict()
    of_actor = [name for name in now if "critic" not in name]
    assert of_actor and all(torch.equal(saved[name], now[name]) for name in of_actor)
    assert any(name in saved and saved[name].shape != now[name].shape for name in now)
    narrow = make_policy(space, spaces.Box(-1, 1, (1,), np.float32), network, seed=1)
    with pytest.raises(CheckpointError, match="start from a policy of the same task"):
        start_from(narrow, tmp_path)
