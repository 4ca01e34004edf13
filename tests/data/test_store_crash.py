"""The episode store under kill -9, a full disk, damage and two writers: nothing whole is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from robo.data import EpisodeStore
from robo.errors import StoreError

CONFTEST = Path(__file__).with_name("conftest.py")
PRELUDE = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("episodes", {str(CONFTEST)!r})
episodes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(episodes)
make_episode = episodes.make_episode
import zarr
from robo.data import EpisodeStore
from robo.errors import StoreError
path = sys.argv[1]
"""


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A real process that runs ``script`` after the prelude."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


KILLED_WRITERS = """
import random, signal, time
import google_crc32c, numcodecs.blosc  # before the forks: importing takes longer than writing
random.seed(7)
acknowledged = round = 0
while round < 12 or acknowledged < 10 and round < 100:
    round += 1
    reading, writing = os.pipe()
    children = []
    for writer in range(2):
        child = os.fork()
        if child == 0:
            store = EpisodeStore(path)
            while True:
                seed = 1000 * round + 500 * writer + len(store)
                index = store.append(make_episode(seed, size=32, rows=12))
                assert index < len(store)
                os.write(writing, b"+")
        children.append(child)
    os.close(writing)
    time.sleep(random.uniform(0.0, 0.3))
    for child in children:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"round {round}: a writer ended by itself, {status}")
    with os.fdopen(reading) as pipe:
        acknowledged += len(pipe.read())
    store = EpisodeStore(path, mode="r")
    if store.verify() or len(store) < acknowledged:
        sys.exit(f"round {round}: {len(store)} of {acknowledged}, {store.verify()}")
print(acknowledged)
"""


def test_kill_9_at_random_moments(tmp_path, make_episode, assert_equal):
    done = run(KILLED_WRITERS, tmp_path)
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    assert acknowledged > 5
    with EpisodeStore(tmp_path) as store:
        # A few more may have been committed just before their writers could say so.
        assert acknowledged <= len(store) <= acknowledged + 200
        assert store.verify() == []
        seeds = [store.info(index).info.seed for index in range(len(store))]
        assert len(set(seeds)) == len(seeds)
        for seed, episode in zip(seeds, store, strict=True):
            assert_equal(episode, make_episode(seed, size=32, rows=12))
        assert store.append(make_episode(1, size=32)) == len(store) - 1
        assert store.verify() == []
        files = {path.name for path in tmp_path.glob("*.zip")}
        assert files == {store.info(index).file for index in range(len(store))}
        assert not list(tmp_path.glob(".writing-*"))


@pytest.mark.parametrize("leftover", ["temporary", "renamed", "half a line"])
def test_each_leftover_of_a_crash_is_ignored_and_cleaned(
    tmp_path, make_episode, assert_equal, leftover
):
    manifest = tmp_path / "manifest.jsonl"
    with EpisodeStore(tmp_path) as store:
        store.extend([make_episode(0), make_episode(1)])
    lines = manifest.read_bytes().splitlines(keepends=True)
    second = tmp_path / "episode-00000001.zip"
    keep = lines[0] + (lines[1][:-1] if leftover == "half a line" else b"")
    manifest.write_bytes(keep)
    if leftover == "temporary":
        second.rename(tmp_path / ".writing-123.zip")
    reader = EpisodeStore(tmp_path, mode="r")
    assert len(reader) == 1
    assert reader.verify() == []
    with EpisodeStore(tmp_path) as store:
        assert len(store) == 1
        assert not second.exists()
        assert not list(tmp_path.glob(".writing-*"))
        assert store.append(make_episode(2)) == 1
    assert reader.refresh() == 2
    assert_equal(reader[1], make_episode(2))


def test_a_file_that_may_not_grow(tmp_path):
    """EFBIG in the middle of the manifest's line, and of the episode's own file."""
    script = """
    import resource
    forever = resource.RLIM_INFINITY
    with EpisodeStore(path) as store:
        # A long note makes the manifest larger than the next episode's file.
        store.append(make_episode(0, metadata={"note": "x" * 100_000}))
        size = os.path.getsize(os.path.join(path, "manifest.jsonl"))
        for length in (12, 4000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, forever))
            try:
                store.append(make_episode(1, length=length))
            except StoreError as error:
                print(error)
            assert len(store) == 1 and store.verify() == []
            assert os.path.getsize(os.path.join(path, "manifest.jsonl")) == size
            assert len([name for name in os.listdir(path) if name.endswith(".zip")]) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (forever, forever))
        assert store.append(make_episode(2)) == 1
        assert store.verify() == []
    """
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.splitlines()
    assert len(sentences) == 2
    for sentence in sentences:
        assert "no space is left; this episode was dropped, the 1 before it are intact" in sentence


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    """A real file system of one megabyte."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk(small_disk, make_episode, assert_equal):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 200_000)
    with EpisodeStore(small_disk / "store") as store:
        with pytest.raises(StoreError, match=r"no space is left; this episode was dropped"):
            for seed in range(1000):
                store.append(make_episode(seed, size=32, rows=12))
        stored = len(store)
        assert stored >= 2
        assert store.verify() == []
        with pytest.raises(StoreError, match="free some space"):
            store.append(make_episode(0, size=32, rows=12))
        ballast.unlink()
        assert store.append(make_episode(stored, size=32, rows=12)) == stored
        for index, episode in enumerate(store):
            assert_equal(episode, make_episode(index, size=32, rows=12))
    assert EpisodeStore(small_disk / "store", mode="r").verify() == []


def corrupt(path: Path, position: int) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0x40
    path.write_bytes(data)


def test_any_changed_byte_that_matters_is_found(tmp_path, make_episode, assert_equal):
    originals = [make_episode(seed) for seed in range(3)]
    with EpisodeStore(tmp_path) as store:
        store.extend(originals)
    file = tmp_path / "episode-00000001.zip"
    whole = file.read_bytes()
    image = whole.index(b"frames.wrist/c/0") + 200
    for position in (0, image, len(whole) // 2, len(whole) - 10):
        corrupt(file, position)
        reader = EpisodeStore(tmp_path, mode="r")
        damaged = reader.verify()
        try:
            assert_equal(reader[1], originals[1])
        except StoreError as error:
            assert "episode 1 of" in str(error)
            assert "the other episodes stay readable" in str(error)
            assert [damage.episode for damage in damaged] == [1]
        else:
            # A byte that zip keeps twice: nothing was lost, and verify may say either.
            assert position != image
        assert_equal(reader[0], originals[0])
        assert_equal(reader[-1], originals[2])
        file.write_bytes(whole)
    assert EpisodeStore(tmp_path, mode="r").verify() == []


def test_missing_and_exchanged_episodes_are_found(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.extend(make_episode(seed) for seed in range(3))
        first, second = tmp_path / "episode-00000000.zip", tmp_path / "episode-00000001.zip"
        first.write_bytes(second.read_bytes())
        (tmp_path / "episode-00000002.zip").unlink()
        damaged = store.verify()
        assert [damage.episode for damage in damaged] == [0, 2]
        assert "header differs" in damaged[0].reason
        with pytest.raises(StoreError, match=r"episode 2 of .* is damaged \(episode-00000002.zip"):
            store[-1]


def test_damaged_manifest_is_named(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.extend(make_episode(seed) for seed in range(3))
    manifest = tmp_path / "manifest.jsonl"
    corrupt(manifest, len(manifest.read_bytes().splitlines()[0]) + 60)
    for mode in ("a", "r"):
        with pytest.raises(StoreError, match=r"line 2 of its manifest.jsonl \(episode 1\)"):
            EpisodeStore(tmp_path, mode=mode)
    manifest.unlink()
    for mode in ("a", "r"):
        with pytest.raises(StoreError, match=r"manifest.jsonl cannot be read .* restore"):
            EpisodeStore(tmp_path, mode=mode)
    assert len(list(tmp_path.glob("episode-*.zip"))) == 3


def test_damaged_root_is_named(tmp_path):
    EpisodeStore(tmp_path).close()
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"zarr.json is damaged"):
        EpisodeStore(tmp_path)


def test_several_writers_take_turns(tmp_path, make_episode, assert_equal):
    first, second = EpisodeStore(tmp_path), EpisodeStore(tmp_path)
    assert first.append(make_episode(0)) == 0
    # The second sees what the first appended before it appends itself.
    assert second.append(make_episode(1)) == 1
    assert first.append(make_episode(2)) == 2
    assert [episode.info.seed for episode in first] == [0, 1, 2]
    assert first.verify() == []
    assert second.refresh() == 3
    # Of two writers with other cameras, the first to commit decides.
    small, large = EpisodeStore(tmp_path / "b"), EpisodeStore(tmp_path / "b")
    small.append(make_episode(0, size=16))
    with pytest.raises(StoreError, match="same camera schedule"):
        large.append(make_episode(0, size=20))
    assert len(list((tmp_path / "b").glob("*.zip"))) == 1


def test_a_store_opened_meanwhile_leaves_the_writers_files_alone(tmp_path, make_episode):
    with EpisodeStore(tmp_path) as store:
        store.append(make_episode(0))
        with store.folder.temporary() as at_work:
            at_work.write_bytes(b"half an episode")
            EpisodeStore(tmp_path).close()
            assert at_work.exists()
        assert not at_work.exists()


def test_a_forked_child_appends_too(tmp_path):
    script = """
    store = EpisodeStore(path)
    store.append(make_episode(0))
    child = os.fork()
    if child == 0:
        os._exit(0 if store.append(make_episode(1)) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.append(make_episode(2)) == 2
    assert store.verify() == []
    """
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr


def test_read_only_medium(small_disk, make_episode, assert_equal):
    folder = small_disk / "store"
    with EpisodeStore(folder) as store:
        store.append(make_episode(0))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with EpisodeStore(folder) as store:
        with pytest.raises(StoreError, match="Read-only file system; this episode was dropped"):
            store.append(make_episode(1))
        assert_equal(store[0], make_episode(0))
    with pytest.raises(StoreError, match="Read-only file system; the store was not made"):
        EpisodeStore(small_disk / "other")
