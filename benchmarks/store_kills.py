"""Writers of one episode store killed at random moments: nothing committed is lost or broken.

Two processes append to one store as fast as they can. At a random moment both are ended by
SIGKILL. After each of ``--kills`` such moments: every episode whose append had returned is there,
every episode that is visible verifies against its checksums, those that are new equal what was to
be written, the next append works, and its file is the only new one. A store goes on for ten
moments, and then all its episodes are compared once more. Then once each, on a file system of its
own where the process may mount one: a full disk and a read-only medium, which are to end in one
clear sentence with nothing lost.

``ok`` is null where no file system could be mounted. The exit status is 0 where ``ok`` is true
alone.

    python benchmarks/store_kills.py --out benchmarks/results/store_kills.json
"""

from __future__ import annotations

from _study import machine, one_thread, publish

one_thread()

import os  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import google_crc32c  # noqa: E402, F401 (before the forks: importing takes longer than writing)
import numcodecs.blosc  # noqa: E402, F401
import numpy as np  # noqa: E402
import tyro  # noqa: E402

from robo.data import EpisodeStore  # noqa: E402
from robo.errors import StoreError  # noqa: E402
from robo.rollout import Episode, EpisodeInfo  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Kill writers."""

    kills: int = 200
    """Random moments."""
    writers: int = 2
    """Processes that append."""
    longest: float = 0.8
    """Seconds that writers live at most."""
    seed: int = 0
    """Of the moments."""
    work: Path = Path("runs/benchmarks/store_kills")
    """Folder for the stores, emptied first."""
    out: Path | None = None
    """JSON file to write."""


def episode(seed: int) -> Episode:
    """What the writer of ``seed`` is to have written; every number follows from it."""
    rng = np.random.default_rng(seed)
    length = 10 + seed % 13
    images = rng.integers(0, 256, (length + 1, 64, 64, 3), dtype=np.uint8)
    return Episode(
        info=EpisodeInfo("mujoco/Lift", "lift the cube", seed=seed),
        observation={"state": rng.normal(size=(length + 1, 30)).astype(np.float32)},
        action=rng.normal(size=(length, 4)).astype(np.float32),
        reward=np.zeros(length, np.float32),
        success=bool(seed % 2),
        terminated=bool(seed % 2),
        frames={"front": images, "wrist": images[:, ::-1].copy()},
        frame_step=np.arange(length + 1),
    )


def equal(stored: Episode, wanted: Episode) -> bool:
    """Whether every number is the same."""
    pairs = [
        (stored.action, wanted.action),
        (stored.observation["state"], wanted.observation["state"]),
        *((stored.frames[role], wanted.frames[role]) for role in wanted.frames),
    ]
    return stored.info == wanted.info and all(np.array_equal(a, b) for a, b in pairs)


def write_until_killed(path: Path, first: int, told: int) -> None:
    """Append episodes of seeds ``first`` ..., and tell each seed once its append has returned."""
    store = EpisodeStore(path)
    for seed in range(first, first + 100_000):
        store.append(episode(seed))
        os.write(told, seed.to_bytes(8, "little"))


def look(path: Path, told: set[int], compared: set[int]) -> dict[str, Any]:
    """What a reader finds right after the kill, before anybody repairs anything.

    Args:
        path: of the store; there is none where both writers died before they made it.
        told: seeds of the episodes whose append had returned.
        compared: seeds of the episodes compared at an earlier moment; the new ones are added.

    Returns:
        ``visible`` seeds, and how many episodes are ``lost``, ``broken`` (their checksums do not
        agree) and ``wrong`` (a number of a new one is not what was to be written).
    """
    try:
        reader = EpisodeStore(path, mode="r")
    except StoreError as error:
        if "there is no episode store" not in str(error):
            raise
        return {"visible": set(), "lost": len(told), "broken": 0, "wrong": 0}
    seeds = [int(header.info.seed or 0) for header in reader.manifest.headers]
    broken = {damage.episode for damage in reader.verify()}
    new = [i for i, seed in enumerate(seeds) if seed not in compared and i not in broken]
    wrong = sum(not equal(reader[index], episode(seeds[index])) for index in new)
    compared.update(seeds[index] for index in new)
    reader.close()
    return {
        "visible": set(seeds),
        "lost": len(told - set(seeds)),
        "broken": len(broken),
        "wrong": wrong,
    }


def round_of(
    options: Options, path: Path, number: int, rng: random.Random, compared: set[int]
) -> dict[str, Any]:
    """One moment: start, kill, and look."""
    reading, writing = os.pipe()
    children = []
    for writer in range(options.writers):
        child = os.fork()
        if child == 0:
            try:
                write_until_killed(path, (number * 10 + writer) * 1_000_000, writing)
            finally:
                os._exit(1)
        children.append(child)
    os.close(writing)
    time.sleep(rng.uniform(0.0, options.longest))
    died = True
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        died &= os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    told = {int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)}
    found = look(path, told, compared)
    visible = found.pop("visible")
    leftovers = len(list(path.glob(".writing-*")))
    store = EpisodeStore(path)
    check_seed = number * 10_000_000 + 9_000_000
    appended = store.append(episode(check_seed)) == len(visible)
    files = {file.name for file in path.glob("*.zip")}
    return {
        **found,
        "acknowledged": told,
        "by_kill_only": died,
        "left_behind": leftovers,
        "next_append": appended and check_seed not in visible,
        "files": files == {header.file for header in store.manifest.headers},
        "cleaned": not list(path.glob(".writing-*")),
    }


def kills(options: Options) -> dict[str, Any]:
    """All moments, each beginning with a store that grows on; new ones keep the looks short."""
    rng = random.Random(options.seed)
    totals: dict[str, Any] = dict.fromkeys(
        ("acknowledged", "visible", "lost", "broken", "wrong", "left_behind", "failures"), 0
    )
    compared: set[int] = set()
    for number in range(options.kills):
        path = options.work / f"store_{number // 10:03d}"
        found = round_of(options, path, number, rng, compared)
        totals["acknowledged"] += len(found["acknowledged"])
        for name in ("lost", "broken", "wrong", "left_behind"):
            totals[name] += found[name]
        good = ("by_kill_only", "next_append", "files", "cleaned")
        totals["failures"] += not all(found[name] for name in good)
        if number % 10 == 9 or number == options.kills - 1:
            store = EpisodeStore(path, mode="r")
            totals["broken"] += len(store.verify())
            totals["visible"] += len(store)
            totals["wrong"] += sum(not equal(e, episode(int(e.info.seed or 0))) for e in store)
            shutil.rmtree(path)
            print(f"{number + 1} moments: {totals}", flush=True)
    return totals


def media(options: Options) -> dict[str, Any]:
    """A full disk and a read-only medium, where this process may mount a file system."""
    folder = options.work / "medium"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        return {"tried": False, "why": "mounting a file system takes root"}
    try:
        store = EpisodeStore(folder / "store")
        full = read_only = ""
        acknowledged = 0
        try:
            for seed in range(1000):
                store.append(episode(seed))
                acknowledged += 1
        except StoreError as error:
            full = str(error)
        whole = whole_of(store)
        store.close()  # its open files would keep the file system from being unmounted
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        try:
            EpisodeStore(folder / "store").append(episode(5))
        except StoreError as error:
            read_only = str(error)
        left = EpisodeStore(folder / "store", mode="r")
        found = {
            "tried": True,
            "full_disk": full.replace(str(options.work), "..."),
            "read_only": read_only.replace(str(options.work), "..."),
            "acknowledged": acknowledged,
            "kept": len(left),
            "whole": whole and whole_of(left),
        }
        left.close()
        return found
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def whole_of(store: EpisodeStore) -> bool:
    """Whether every episode verifies and is what was to be written."""
    return store.verify() == [] and all(equal(e, episode(int(e.info.seed or 0))) for e in store)


def media_verdict(found: dict[str, Any]) -> bool | None:
    """Whether :func:`media` found one clear sentence each and nothing lost; None if not tried."""
    if not found["tried"]:
        return None
    sentences = ("no space is left" in found["full_disk"], "Read-only" in found["read_only"])
    return all(sentences) and found["whole"] and found["kept"] == found["acknowledged"] > 0


def verdict(totals: dict[str, Any], mediums: dict[str, Any]) -> bool | None:
    """Whether nothing was lost or broken; None where that much is true but no medium was tried."""
    bad = any(totals[name] for name in ("lost", "broken", "wrong", "failures"))
    if bad or not totals["acknowledged"] or not totals["visible"]:
        return False
    return media_verdict(mediums)


def main(options: Options) -> bool | None:
    """Do the study, publish it, and return its ``ok``."""
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    began = time.perf_counter()
    totals = kills(options)
    mediums = media(options)
    ok = verdict(totals, mediums)
    publish(
        {
            "benchmark": "store_kills",
            "ok": ok,
            "kills": options.kills,
            "writers": options.writers,
            **totals,
            "media": mediums,
            "seconds": round(time.perf_counter() - began, 1),
            "machine": machine(),
        },
        options.out,
    )
    return ok


if __name__ == "__main__":
    sys.exit(not main(tyro.cli(Options)))
