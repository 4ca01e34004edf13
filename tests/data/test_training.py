"""Training input: every sample once, the same for the same seed, resumable anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.data import EpisodeStore
from robo.data.permutation import Permutation
from robo.data.training import Pairs, Windows
from robo.data.training_loader import TrainingLoader
from robo.errors import StoreError


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_permutation_holds_every_number_once(size, seed, epoch):
    order = Permutation(size, seed, epoch)(np.arange(size))
    assert np.array_equal(np.sort(order), np.arange(size))
    part = Permutation(size, seed, epoch)(np.arange(size // 2, size))
    assert np.array_equal(part, order[size // 2 :])


def test_a_permutation_is_shuffled_and_as_large_as_it_gets():
    orders = np.stack([Permutation(1000, seed)(np.arange(1000)) for seed in range(200)])
    # Each place sees all numbers alike, and neighbours are not related.
    assert np.abs(orders.mean(axis=0) - 499.5).max() < 499.5 * 0.25
    relation = [np.corrcoef(order[:-1], order[1:])[0, 1] for order in orders]
    assert abs(np.mean(relation)) < 0.02
    huge = Permutation(2**61, 3)(np.arange(1000))
    assert len(np.unique(huge)) == 1000
    assert 0.4 < (huge > 2**60).mean() < 0.6


@pytest.fixture(name="stores")
def stores_fixture(tmp_path, make_episode):
    """Two stores of episodes with a frame of every state."""
    stores = []
    for name, seeds in (("a", range(3)), ("b", range(3, 5))):
        store = EpisodeStore(tmp_path / name)
        for seed in seeds:
            length = 6 + seed
            step = np.arange(length + 1)
            store.append(make_episode(seed, length=length, rows=length + 1, frame_step=step))
        stores.append(store)
    return stores


def test_windows_hold_what_the_episodes_hold(stores):
    data = Windows(stores, length=4, stride=2, views=("wrist",))
    assert len(data) == sum(6 + seed + 1 - 6 for seed in range(5))
    batch = data.read(np.arange(len(data)))
    for row in range(len(data)):
        store, index = data.episodes[batch["episode"][row]]
        episode = stores[store][index]
        states = batch["start"][row] + 2 * np.arange(4)
        assert np.array_equal(batch["frames/wrist"][row], episode.frames["wrist"][states])
        assert np.array_equal(batch["observation/state"][row], episode.observation["state"][states])
        steps = states[states < len(episode)]
        assert np.array_equal(batch["valid"][row], states < len(episode))
        assert np.array_equal(batch["action"][row, : len(steps)], episode.action[steps])
        assert not batch["reward"][row, len(steps) :].any()
        assert np.array_equal(
            batch["signals"][row, : len(steps), 0], episode.signals["speed"][steps]
        )
    assert data.header(4).info.seed == 4


def test_pairs_are_all_ordered_pairs(stores):
    def label(header, step):
        return step / header.length

    data = Pairs(stores, ("front",), label, where=lambda header: header.info.seed in (0, 4))
    assert len(data) == 7 * 6 + 11 * 10
    batch = data.read(np.arange(len(data)))
    keys = zip(batch["episode"], batch["before_step"], batch["after_step"], strict=True)
    assert len(set(keys)) == len(data)
    assert (batch["before_step"] != batch["after_step"]).all()
    for row in (0, 50, 100):
        store, index = data.episodes[batch["episode"][row]]
        episode = stores[store][index]
        after = batch["after_step"][row]
        assert np.array_equal(batch["after/front"][row], episode.frames["front"][after])
        assert batch["after_label"][row] == np.float32(after / len(episode))


def test_a_loader_gives_everything_once_and_resumes_anywhere(stores):
    data = Windows(stores, length=3, views=("front",))

    def loader(threads: int = 2) -> TrainingLoader:
        return TrainingLoader(data, batch_size=4, seed=5, threads=threads)

    whole = loader()
    epochs = [list(whole), list(whole)]
    assert len(epochs[0]) == len(whole) == len(data) // 4
    ids = [
        tuple(pair)
        for batch in epochs[0]
        for pair in zip(batch["episode"].tolist(), batch["start"].tolist(), strict=True)
    ]
    assert len(set(ids)) == len(ids)
    assert [b["start"].tolist() for b in epochs[0]] != [b["start"].tolist() for b in epochs[1]]
    stopped = loader()
    iterator = iter(stopped)
    for _ in range(3):
        next(iterator)
    state = stopped.state_dict()
    iterator.close()
    assert (state["epoch"], state["batch"]) == (0, 3)
    resumed = loader(threads=1)
    resumed.load_state_dict(state)
    rest = [*resumed, *resumed]
    expected = [*epochs[0][3:], *epochs[1]]
    assert len(rest) == len(expected)
    for got, wanted in zip(rest, expected, strict=True):
        assert set(got) == set(wanted)
        assert all(bool((got[name] == wanted[name]).all()) for name in got)
    with pytest.raises(StoreError, match="seed 5, and has 6 now"):
        TrainingLoader(data, batch_size=4, seed=6).load_state_dict(state)


def test_ranks_share_an_epoch(stores):
    data = Windows(stores, length=2)
    parts = [TrainingLoader(data, 3, rank=rank, ranks=2) for rank in range(2)]
    numbers = [part.numbers(0, batch) for part in parts for batch in range(len(part))]
    joined = np.concatenate(numbers)
    assert len(np.unique(joined)) == len(joined) == 2 * 3 * len(parts[0])


def test_what_does_not_fit_is_named_and_left_out(tmp_path, stores, make_episode):
    other = EpisodeStore(tmp_path / "other")
    other.append(make_episode(7, size=20, rows=13))
    bare = EpisodeStore(tmp_path / "bare")
    bare.append(make_episode(8, frames={}, frame_step=None))
    sparse = EpisodeStore(tmp_path / "sparse")
    sparse.append(make_episode(9))
    data = Windows([*stores, other, bare, sparse], length=3, views=("front",))
    assert len(data.episodes) == 5
    reasons = {one.store.rpartition("/")[2]: one.reason for one in data.skipped}
    assert "(20, 20)" in reasons["other"]
    assert "no camera views ['front']" in reasons["bare"]
    assert "not a frame of each" in reasons["sparse"]
    with pytest.raises(StoreError, match="no camera views"):
        Windows([bare], length=3, views=("front",))
    with pytest.raises(StoreError, match=r"\['observation/nothing'\]"):
        Windows(stores, length=3, keys=("observation/nothing",))
    with pytest.raises(StoreError, match="fewer than one batch"):
        TrainingLoader(data, batch_size=10_000)


def test_a_damaged_chunk_is_named_and_only_its_windows_are_lost(tmp_path, make_episode):
    length = 60
    store = EpisodeStore(tmp_path)
    step = np.arange(length + 1)
    store.append(make_episode(1, length=length, rows=length + 1, size=64, frame_step=step))
    spec = next(s for s in store.info(0).arrays if s.name == "frames/front")
    assert spec.chunk < 20
    file = tmp_path / store.info(0).file
    data = bytearray(file.read_bytes())
    data[spec.offset + 50] ^= 1  # in the first chunk
    file.write_bytes(data)
    windows = Windows([EpisodeStore(tmp_path, mode="r")], length=4, views=("front",))
    with pytest.raises(StoreError, match=rf"episode 0 .*frames/front: rows 0 to {spec.chunk - 1}"):
        windows.read(np.array([0]))
    rest = windows.read(np.arange(spec.chunk, len(windows)))
    assert rest["frames/front"].shape[0] == len(windows) - spec.chunk
    assert len(EpisodeStore(tmp_path, mode="r").read(0, views=("wrist",)).frames) == 1


def test_torch_reads_samples_as_its_own(stores):
    from torch.utils.data import DataLoader

    windows = Windows(stores, length=4, views=("wrist",))
    pairs = Pairs(stores, ("front",))
    for data in (windows, pairs):
        loader = DataLoader(data, batch_size=5)  # type: ignore[arg-type]
        (first, *_) = loader
        expected = data.read(np.arange(5))
        assert set(first) == set(expected)
        for name, rows in expected.items():
            assert np.array_equal(first[name].numpy(), rows), name
        assert sum(len(batch["episode"]) for batch in loader) == len(data)
        assert np.array_equal(
            data[-1]["episode"], data.read(np.array([len(data) - 1]))["episode"][0]
        )
        with pytest.raises(IndexError, match=f"sample {len(data)} does not exist"):
            data[len(data)]


def test_episodes_of_other_arrays_are_left_out_when_listed(tmp_path, make_episode):
    store = EpisodeStore(tmp_path)
    store.append(make_episode(0))
    wider = make_episode(1)
    wider.observation["state"] = np.zeros((13, 6), np.float32)
    bare = make_episode(2)
    del bare.observation["state"]
    double = make_episode(3)
    double.action = double.action.astype(np.float64)
    store.extend([wider, bare, double, make_episode(4)])
    data = Windows([store], length=3)
    assert data.episodes == [(0, 0), (0, 4)]
    assert [(one.episode, one.reason) for one in data.skipped] == [
        (1, "its observation/state is float32 of [6] a row, that of the first float32 of [5]"),
        (2, "it has no arrays ['observation/state']"),
        (3, "its action is float64 of [7] a row, that of the first float32 of [7]"),
    ]
    assert len(data.read(np.arange(len(data)))["action"]) == len(data)
    assert len(Windows([store], length=3, keys=("reward",)).episodes) == 5
    with pytest.raises(StoreError, match=r"no arrays .'nothing'."):
        Windows([store], length=3, keys=("nothing",))


@pytest.mark.parametrize("kind", ["windows", "pairs"])
def test_damaged_episodes_can_be_skipped(stores, kind):
    store = stores[0]
    spec = store.array(1, "frames/wrist")
    with (store.path / store.info(1).file).open("r+b") as file:
        file.seek(spec.offset)
        file.write(b"\xff" * spec.nbytes)

    def made(skip: bool) -> Windows | Pairs:
        again = [EpisodeStore(one.path, mode="r") for one in stores]
        if kind == "windows":
            return Windows(again, 4, views=("wrist",), skip_damaged=skip)
        return Pairs(again, ("wrist",), skip_damaged=skip)

    with pytest.raises(StoreError, match="frames/wrist"):
        list(TrainingLoader(made(False), 2))
    data = made(True)
    loader = TrainingLoader(data, 2, threads=2)
    batches = list(loader)
    seen = np.concatenate([batch["episode"].numpy() for batch in batches])
    assert set(seen.tolist()) == {0, 2, 3, 4}
    assert all(set(batch) == set(batches[0]) and len(batch["episode"]) for batch in batches)
    assert [one.episode for one in data.skipped] == [1] and "damaged" in data.skipped[0].reason
    assert (loader.epoch, loader.batch) == (1, 0)
    damaged = next(n for n in range(len(data)) if data._episodes.locate(np.array([n]))[0][0] == 1)
    with pytest.raises(StoreError, match="damaged episode"):
        data[damaged]
