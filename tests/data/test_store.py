"""The episode store as a list: round trips, selection, refusals, speed."""

from __future__ import annotations

import json
import pickle
import tempfile
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robo.data import SCHEMA_VERSION, EpisodeStore
from robo.errors import StoreError
from robo.rollout import Episode, EpisodeInfo

NUMBERS = st.sampled_from(
    ["bool", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64"]
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    """Episodes of any lengths, shapes, dtypes, names and values, NaN and -0.0 among them."""
    length = draw(st.integers(1, 9))
    tail = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)

    def array(rows: int) -> np.ndarray:
        return draw(hnp.arrays(np.dtype(draw(NUMBERS)), (rows, *draw(tail))))

    step = np.array(sorted(draw(st.sets(st.integers(0, length), min_size=1))), dtype=np.int64)
    roles = draw(st.sets(st.sampled_from(["front", "side", "wrist"])))
    floats = hnp.arrays(np.float32, length)
    marks = sorted(draw(st.sets(st.integers(1, length - 1)))) if length > 1 else []
    number = st.none() | st.integers(0, 2**31)
    return Episode(
        info=EpisodeInfo(draw(NAMES), draw(NAMES), draw(number), draw(number), draw(number)),
        observation={name: array(length + 1) for name in draw(st.sets(NAMES, max_size=3))},
        action=array(length),
        reward=draw(floats),
        success=draw(st.booleans()),
        terminated=draw(st.booleans()),
        signals={name: draw(floats) for name in draw(st.sets(NAMES, max_size=3))},
        frames={
            role: draw(
                hnp.arrays(np.uint8, (len(step), *draw(st.sampled_from([(2, 3), (4, 4)])), 3))
            )
            for role in roles
        },
        frame_step=step if roles else None,
        keyframes={f"part {state}": state for state in marks},
        metadata=draw(
            st.dictionaries(
                NAMES, st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
            )
        ),
    )


@given(episode=episodes())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_is_exact(episode, assert_equal):
    with tempfile.TemporaryDirectory() as folder:
        with EpisodeStore(folder) as store:
            assert store.append(episode) == 0
            assert_equal(store[0], episode)
        reader = EpisodeStore(folder, mode="r")
        assert_equal(reader[0], episode)
        assert reader.info(0).info == episode.info
        assert len(reader.info(0)) == len(episode)
        assert reader.verify() == []


def test_it_is_a_list(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed, length=5 + seed) for seed in range(5)]
    with EpisodeStore(tmp_path / "new" / "store") as store:
        assert len(store) == 0
        assert list(store) == []
        assert store.extend(originals) == [0, 1, 2, 3, 4]
        for stored, original in zip(store, originals, strict=True):
            assert_equal(stored, original)
        assert_equal(store[-1], originals[-1])
        assert [len(episode) for episode in store[1:4]] == [6, 7, 8]
        assert [len(episode) for episode in store[::-2]] == [9, 7, 5]
        for index in (5, -6):
            with pytest.raises(IndexError, match=r"does not exist; it holds 5"):
                store[index]


def test_many_frames_span_chunks(tmp_path, make_episode, assert_equal):
    episode = make_episode(length=99, rows=100, size=96)
    store = EpisodeStore(tmp_path)
    store.append(episode)
    assert_equal(store[0], episode)


def test_torch_tensors_and_other_byte_orders_are_taken(tmp_path, make_episode):
    import torch

    action = np.arange(12, dtype=">f4").reshape(12, 1)
    store = EpisodeStore(tmp_path)
    store.append(make_episode(action=action, reward=torch.ones(12)))
    assert np.array_equal(store[0].action, action)
    assert store[0].reward.dtype == np.float32


def test_read_some_views(tmp_path, make_episode):
    store = EpisodeStore(tmp_path)
    store.append(make_episode())
    assert list(store.read(0, views=["wrist"]).frames) == ["wrist"]
    bare = store.read(0, views=())
    assert bare.frames == {}
    assert bare.frame_step is None
    assert bare.observation["state"].shape == (13, 5)
    with pytest.raises(StoreError, match=r"no camera views \['rear'\].*front"):
        store.read(0, views=["rear"])


def test_header_needs_no_episode_file(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.append(make_episode(seed=3))
    (tmp_path / "episode-00000000.zip").unlink()
    header = EpisodeStore(tmp_path, mode="r").info(0)
    assert header.info.seed == 3
    assert header.success
    assert header.image_sizes == {"front": (16, 16), "wrist": (16, 16)}
    assert header.frame_count == 4
    assert header.metadata["profile"] == {"msaa": 0}
    assert {"robo", "mujoco", "gymnasium", "zarr"} <= set(header.versions)


def test_select(tmp_path, make_episode):
    store = EpisodeStore(tmp_path)
    assert store.select(kind="demo") == []
    store.extend(make_episode(seed, length=9 + seed) for seed in range(6))
    assert store.select() == [0, 1, 2, 3, 4, 5]
    assert store.select(success=True) == [1, 3, 5]
    assert store.select(success=True, kind="demo") == [1, 5]
    assert store.select(task="mujoco/Lift", seed=4) == [4]
    assert store.select(lambda header: len(header) > 12, terminated=False) == [4]
    with pytest.raises(StoreError, match=r"'knd'.*kind"):
        store.select(knd="demo")


def test_the_stores_header_cannot_be_changed_through_an_episode(tmp_path, make_episode):
    store = EpisodeStore(tmp_path)
    store.append(make_episode())
    store[0].metadata["profile"]["msaa"] = 4
    assert store[0].metadata["profile"] == {"msaa": 0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"action": np.zeros((0, 7))}, "no steps"),
        ({"action": np.array(["left"])}, "dtype"),
        ({"action": 3.0}, "single number"),
        ({"observation": {"state": np.zeros((12, 5))}}, "12 states, expected 13"),
        ({"reward": np.zeros(13, np.float32)}, r"reward .*\(13,\), expected float32 .*\(12,\)"),
        ({"reward": np.zeros(12)}, "reward is float64"),
        ({"signals": {"speed": np.zeros((12, 1), np.float32)}}, "speed"),
        ({"frame_step": None}, "frame_step is missing"),
        ({"frames": {}}, "frames is empty"),
        ({"frame_step": np.array([0, 5, 12])}, "4 rows, expected 3"),
        ({"frame_step": np.array([0, 5, 5, 12])}, "must rise"),
        ({"frame_step": np.array([0, 5, 9, 13])}, r"0 \.\.\. 12"),
        ({"frame_step": np.array([0.0, 5.0, 9.0, 12.0])}, "expected int64"),
        ({"frames": {"front": np.zeros((4, 16, 16, 3))}}, "front.* float64.*expected uint8"),
        ({"frames": {"front": np.zeros((4, 3, 16, 16), np.uint8)}}, r"\(F, H, W, 3\)"),
        ({"keyframes": {"reached": 0}}, "keyframes"),
        ({"keyframes": {"grasped": 6, "reached": 4}}, "rise"),
        ({"metadata": {"camera": object()}}, "JSON"),
        ({"metadata": {"score": float("nan")}}, "JSON"),
    ],
)
def test_malformed_episodes_are_refused_before_writing(tmp_path, make_episode, changes, sentence):
    store = EpisodeStore(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StoreError, match=sentence):
        store.append(make_episode(**changes))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert store.append(make_episode()) == 0


def test_other_cameras_than_the_first_episode_are_refused(tmp_path, make_episode):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(size=16))
    with pytest.raises(StoreError, match=r"\(20, 20\).*\(16, 16\)"):
        store.append(make_episode(size=20))
    front = {"front": make_episode().frames["front"]}
    with pytest.raises(StoreError, match="wrist"):
        store.append(make_episode(frames=front))
    assert store.append(make_episode(rows=7)) == 1


def test_missing_and_foreign_folders(tmp_path):
    with pytest.raises(StoreError, match="there is no episode store"):
        EpisodeStore(tmp_path / "missing", mode="r")
    assert not (tmp_path / "missing").exists()
    with pytest.raises(StoreError, match="there is no episode store"):
        EpisodeStore(tmp_path, mode="r")
    with pytest.raises(StoreError, match="'w'"):
        EpisodeStore(tmp_path, mode="w")  # pyright: ignore[reportArgumentType]
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files \(thesis.txt\)"):
        EpisodeStore(tmp_path)
    with pytest.raises(StoreError, match=r"cannot write|no episode store"):
        EpisodeStore(tmp_path / "thesis.txt")


def test_newer_schema_is_refused(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.append(make_episode())
    root = tmp_path / "zarr.json"
    group = json.loads(root.read_text())
    group["attributes"]["robo_episode_store"]["schema"] = SCHEMA_VERSION + 1
    root.write_text(json.dumps(group))
    for mode in ("a", "r"):
        with pytest.raises(StoreError, match=r"schema 3, newer than the 2 .*update robo"):
            EpisodeStore(tmp_path, mode=mode)


def test_reading_mode_refuses_to_append(tmp_path, make_episode):
    EpisodeStore(tmp_path).close()
    with (
        EpisodeStore(tmp_path, mode="r") as store,
        pytest.raises(StoreError, match="mode='r'"),
    ):
        store.append(make_episode())


def test_a_worker_process_gets_a_reader(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.append(make_episode())
        copy = pickle.loads(pickle.dumps(store))
    assert copy.mode == "r"
    assert len(copy) == 1


def test_the_root_is_a_zarr_group_and_so_is_each_episode(tmp_path, make_episode):
    import zarr
    from zarr.storage import ZipStore

    episode = make_episode()
    with EpisodeStore(tmp_path) as store:
        store.append(episode)
    root = zarr.open_group(tmp_path, mode="r")
    assert dict(root.attrs)["robo_episode_store"] == {"schema": SCHEMA_VERSION}
    with ZipStore(tmp_path / "episode-00000000.zip", mode="r") as file:
        group = zarr.open_group(file, mode="r")
        assert np.array_equal(np.asarray(group["frames.front"]), episode.frames["front"])
        assert np.array_equal(np.asarray(group["observation.state"]), episode.observation["state"])


@pytest.mark.alone
def test_thirty_episodes_are_quick(tmp_path, make_episode):
    originals = [make_episode(seed, length=96, size=64, rows=25) for seed in range(30)]
    with EpisodeStore(tmp_path) as store:
        # The fastest of some rounds, since other programs may use this machine.
        begun = time.perf_counter()
        store.extend(originals)
        written = time.perf_counter() - begun
        reads = []
        for _ in range(3):
            begun = time.perf_counter()
            assert sum(len(episode) for episode in store) == 30 * 96
            reads.append(time.perf_counter() - begun)
    print(f"append {written:.2f} s, read {min(reads):.2f} s")
    assert written < 4.0
    assert min(reads) < 2.0
