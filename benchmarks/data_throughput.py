"""Writing episodes and reading random windows: the store beside HDF5, LeRobot and raw npy.

The same episodes on every side: sessions of scripted demonstrations, some 500 steps each, with
three views of 128 x 128 pixels, and the first of them with sensor noise of two grey levels, which
no lossless coding likes. One view of one session is three times what HDF5 keeps of a data set by
default, all of them together two gigabytes and more. A third set is of single demonstrations, all
of which fit into the caches. Each side writes all of them, then reads the
same random windows of 8 states (all views, the state, the actions) from all episodes, as a
training sampler does, and the bytes on disk are counted.

HDF5 is measured as h5py comes, with 8 MB of decoded chunks kept per open data set; without them;
and with the data sets looked up for every window. The store is measured as it comes, which keeps
nothing, and with a cache of as many bytes as all of HDF5's. What a side keeps in memory is
published: how much the process grew while it read.

The sides take turns; figures are of CPU and wall time of one process on one thread. Every file is
read once before the turns begin: the page cache is warm on every side.

LeRobot runs in an environment of its own: ``--lerobot PYTHON`` (``make test-lerobot`` makes one).
Which of its video decoders worked there is published.

``wanted`` in the result holds each figure to its limit (:func:`verdicts`); ``ok`` is false where
one misses it, and null where a side was not measured. The exit status is 0 where ``ok`` is true
alone.

    python benchmarks/data_throughput.py --out benchmarks/results/data_throughput.json
"""

from __future__ import annotations

from _study import machine, one_thread, publish

one_thread()

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import json  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import tyro  # noqa: E402
from _data_sessions import VIEWS, add_noise, record, sessions  # noqa: E402
from _data_sides import HDF5_CACHE, SIDES, Side, bytes_under, warm  # noqa: E402

from robo.rollout import Episode  # noqa: E402

WINDOW = 8
SAME_SIZE = 0.05
"""Files that differ by less, as a share, are of one size."""
HDF5_RATIO = 0.9
"""Wanted: this many times HDF5 with lzf, from no more bytes on disk."""
LEROBOT_RATIO = 1.5
"""Wanted: this many times the quicker of LeRobot's two data sets."""
FRAME_ROWS = 2000
"""Wanted: states per second with three views of 128 x 128 each, from random windows."""


@dataclass(frozen=True)
class Config:
    """Options."""

    task: str = "mujoco/Lift"
    """Whose demonstrations."""
    sessions: int = 28
    """Episodes."""
    noisy: int = 11
    """How many of them with noise, too: those take long to write."""
    short: int = 16
    """Single demonstrations, which fit into the caches as a whole."""
    steps: int = 500
    """Least steps of each."""
    size: int = 128
    """Height and width of the three views."""
    windows: int = 400
    """Random windows per repetition and side."""
    repeats: int = 7
    """Repetitions, the sides in turn."""
    lerobot: Path | None = None
    """Python of an environment with lerobot 0.4.4; None leaves that side out."""
    lerobot_windows: int = 20
    """Random windows of LeRobot per repetition: it takes longer."""
    work: Path | None = None
    """Folder for the files, kept; a temporary one by default."""
    out: Path | None = None
    """JSON file for the result."""


def windows(episodes: list[Episode], count: int, seed: int) -> list[tuple[int, int]]:
    """Random (episode, first state), every window of every episode alike."""
    rng = np.random.default_rng(seed)
    room = np.array([len(episode) + 2 - WINDOW for episode in episodes])
    chosen = rng.choice(len(episodes), count, p=np.maximum(room, 0) / np.maximum(room, 0).sum())
    return [(int(e), int(rng.integers(room[e]))) for e in chosen]


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def resident() -> int:
    """Bytes of memory that this process uses, mapped files apart.

    What was freed is given back first: another side would grow into it unseen.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc: the figure is a little rougher
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = Path("/proc/self/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def measure(episodes: list[Episode], config: Config, work: Path) -> dict[str, dict[str, Any]]:
    """Figures of every side that is written and read by this process."""
    found: dict[str, dict[str, Any]] = {}
    open_sides: dict[str, Side] = {}
    written: dict[str, dict[str, Any]] = {}
    rows = sum(len(episode.frame_step) for episode in episodes)
    for number, (name, option) in enumerate(SIDES.items()):
        path = work / f"{number:02d}-{option.files}"
        side = option.make(path)
        if option.files not in written:
            wall, cpu = timed(partial(side.write, episodes))
            written[option.files] = {
                "write": rows / wall,
                "write_cpu": rows / cpu,
                "bytes": bytes_under(path),
                "path": path,
            }
        else:
            # A file of its own: HDF5 shares what it keeps among all that open the same one.
            shutil.copytree(written[option.files]["path"], path)
        found[name] = {**written[option.files], "reads": [], "memory": 0}
        side.open()
        open_sides[name] = side
    for side in open_sides.values():
        warm(side.path)
        check(side, episodes)
    for repeat in range(config.repeats):
        asked = windows(episodes, config.windows, repeat)
        for name, side in open_sides.items():
            before = resident()
            wall, cpu = timed(partial(read_all, side, asked))
            found[name]["reads"].append((len(asked) * WINDOW / wall, len(asked) * WINDOW / cpu))
            found[name]["memory"] += resident() - before
    return found


def read_all(side: Side, asked: list[tuple[int, int]]) -> None:
    """Read the windows asked for."""
    for episode, start in asked:
        side.read(episode, start, WINDOW)


def check(side: Side, episodes: list[Episode]) -> None:
    """A side that read something else would not be compared."""
    for e, start in windows(episodes, 5, 99):
        window = side.read(e, start, WINDOW)
        for role, images in episodes[e].frames.items():
            assert np.array_equal(window[role], images[start : start + WINDOW]), (side, role)


def loader(episodes: list[Episode], config: Config, work: Path) -> float:
    """Frame rows per second of the shuffled training input, batches of 32 windows."""
    import torch  # before the clock starts

    from robo.data import EpisodeStore
    from robo.data.training import Windows
    from robo.data.training_loader import TrainingLoader

    torch.set_num_threads(1)
    store = EpisodeStore(work / "00-lz4hc", mode="r")
    data = Windows([store], WINDOW, views=tuple(episodes[0].frames))
    batches = TrainingLoader(data, 32, threads=1)
    rates = []
    for _ in range(max(1, config.repeats)):
        count, began = 0, time.perf_counter()
        for batch in batches:
            count += batch["valid"].numel()
            if count >= config.windows * WINDOW:
                break
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def eater(episodes: list[Episode], config: Config) -> float:
    """Frame rows per second that the smallest image model here, the compact GRM, trains on.

    Its encoder forwards and backwards: what every row costs, the pairs' head left out.
    """
    import torch

    from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig

    torch.set_num_threads(1)
    views = tuple(episodes[0].frames)
    model = CompactGRM(CompactGRMConfig(views, config.size, config.size))
    batch = {
        view: torch.from_numpy(np.concatenate([e.frames[view][:8] for e in episodes[:4]]))
        for view in views
    }
    rates = []
    for _ in range(4):
        began = time.perf_counter()
        model.encode(batch).square().mean().backward()
        rates.append(len(batch[views[0]]) / (time.perf_counter() - began))
    return max(rates)


def lerobot(episodes: list[Episode], config: Config, work: Path) -> dict[str, dict[str, Any]]:
    """Figures of lerobot's own reader on the data sets that we export for it."""
    from robo.data.formats.lerobot_export import export_lerobot

    found: dict[str, dict[str, Any]] = {}
    for images in ("video", "image"):
        path = work / f"lerobot_{images}"
        wall, _ = timed(
            lambda path=path, images=images: export_lerobot(episodes, path, images)  # type: ignore
        )
        asked = {
            "root": str(path),
            "window": WINDOW,
            "repeats": config.repeats,
            "windows": config.lerobot_windows,
        }
        script = Path(__file__).with_name("_lerobot_side.py")
        done = subprocess.run(
            [str(config.lerobot), str(script), json.dumps(asked)],
            capture_output=True,
            text=True,
            check=True,
        )
        theirs = json.loads(done.stdout.splitlines()[-1])
        rows = sum(map(len, episodes))
        found[f"lerobot {images}"] = {
            "write": rows / wall,
            "bytes": bytes_under(path),
            "reads": theirs["reads"],
            "decoder": theirs["decoder"],
        }
    return found


def row(name: str, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One kind of pictures: random windows of ours beside the others'."""
    rates, cpu = (
        {
            side: round(statistics.median(read[which] for read in figures["reads"]))
            for side, figures in sides.items()
        }
        for which in (0, 1)
    )
    sizes = {side: figures["bytes"] for side, figures in sides.items()}
    lerobots = [rate for side, rate in rates.items() if side.startswith("lerobot")]
    return {
        "name": name,
        "unit": f"frame rows of {len(VIEWS)} views per second, random windows of {WINDOW}",
        "ours": rates["store"],
        "peers": {side: rate for side, rate in rates.items() if not side.startswith("store")},
        **ratios(rates, sizes),
        "ratio_to_hdf5_lzf_cpu": ratios(cpu, sizes)["ratio_to_hdf5_lzf"],
        "ratio_to_hdf5_lzf_as_it_comes_cpu": ratios(cpu, sizes)["ratio_to_hdf5_lzf_as_it_comes"],
        "ratio_to_lerobot": round(rates["store"] / max(lerobots), 2) if lerobots else None,
        "rates": rates,
        "cpu": cpu,
        "spread": {
            side: [round(min(r[0] for r in s["reads"])), round(max(r[0] for r in s["reads"]))]
            for side, s in sides.items()
        },
        "first": {side: round(s["reads"][0][0]) for side, s in sides.items()},
        "write": {side: round(s["write"]) for side, s in sides.items()},
        "megabytes": {side: round(s["bytes"] / 1e6, 2) for side, s in sides.items()},
        "memory_megabytes": {
            side: round(s["memory"] / 1e6) for side, s in sides.items() if "memory" in s
        },
        # PNG files inside the tables need no video decoder.
        "lerobot_decoder": sides.get("lerobot video", {}).get("decoder"),
    }


def ratios(rates: dict[str, int], bytes_: dict[str, int]) -> dict[str, Any]:
    """Ours beside the quickest HDF5 of each kind.

    ``ratio_to_hdf5_lzf``: neither keeps decoded chunks. ``_as_it_comes``: each with its own
    defaults, so that HDF5 keeps them and the store does not. ``_cached``: both keep them.
    ``_equal_size``: without caches, each of our codings beside the quickest HDF5 file
    of about the nearest size.
    """

    def quickest(start: str, keeps: bool) -> int:
        return max(
            rate
            for side, rate in rates.items()
            if side.startswith(start) and SIDES[side].keeps is keeps
        )

    ours = [side for side in rates if side.startswith("store") and not SIDES[side].keeps]
    theirs = [side for side in rates if side.startswith("hdf5") and not SIDES[side].keeps]
    equal = {}
    for side in ours:
        apart = {peer: abs(bytes_[peer] / bytes_[side] - 1) for peer in theirs}
        same = [peer for peer in theirs if apart[peer] <= min(apart.values()) + SAME_SIZE]
        best = max(same, key=lambda peer: rates[peer])
        equal[side] = {
            "peer": best,
            "bytes": round(bytes_[side] / bytes_[best], 3),
            "rate": round(rates[side] / rates[best], 3),
        }
    lzf = "hdf5 lzf"
    return {
        "ratio_to_hdf5_lzf": round(rates["store"] / quickest(lzf, keeps=False), 3),
        "ratio_to_hdf5_lzf_as_it_comes": round(rates["store"] / quickest(lzf, keeps=True), 3),
        "ratio_to_hdf5_lzf_cached": round(rates["store, cache"] / quickest(lzf, keeps=True), 3),
        "bytes_to_hdf5_lzf": round(bytes_["store"] / bytes_[lzf], 3),
        "equal_size": equal,
    }


def verdicts(row: dict[str, Any], size: int) -> dict[str, bool | None]:
    """Each wanted figure of one row, and whether it was reached; None where it was not measured.

    ``hdf5_lzf``: :data:`HDF5_RATIO`, where neither side keeps decoded chunks and where both do,
    and beside the HDF5 file nearest in size, from at most as many bytes as lzf takes.
    ``lerobot``: :data:`LEROBOT_RATIO`. ``frame_rows``: :data:`FRAME_ROWS`, read alone and through
    the shuffled training input; for views of 128 x 128 alone. ``trains``: the training input is
    faster than the smallest image model that eats it.
    """
    lzf = (
        row["ratio_to_hdf5_lzf"],
        row["ratio_to_hdf5_lzf_cached"],
        row["equal_size"]["store"]["rate"],
    )
    lerobots = row["ratio_to_lerobot"]
    rows = min(row["ours"], row["training_loader"])
    return {
        "hdf5_lzf": min(lzf) >= HDF5_RATIO and row["bytes_to_hdf5_lzf"] <= 1 + SAME_SIZE,
        "lerobot": None if lerobots is None else lerobots >= LEROBOT_RATIO,
        "frame_rows": rows >= FRAME_ROWS if size == 128 else None,
        "trains": row["training_loader"] > row["compact_grm_trains_on"],
    }


def verdict(rows: list[dict[str, Any]]) -> bool | None:
    """Whether all rows have all that is wanted; None where they do as far as measured."""
    found = [reached for row in rows for reached in row["wanted"].values()]
    if not found or False in found:
        return False
    return None if None in found else True


def kind_of_pictures(name: str, source: Path, config: Config, folder: Path) -> dict[str, Any]:
    """Write, read, and remove again."""
    episodes = sessions(source)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sides = measure(episodes, config, folder)
    if config.lerobot is not None:
        sides.update(lerobot(episodes, config, folder))
    found = {
        **row(name, sides),
        "episodes": len(episodes),
        "steps": sum(map(len, episodes)),
        "training_loader": round(loader(episodes, config, folder)),
        "compact_grm_trains_on": round(eater(episodes, config)),
    }
    found["wanted"] = verdicts(found, config.size)
    shutil.rmtree(folder)
    print(json.dumps(found), flush=True)
    return found


def main(config: Config) -> bool | None:
    """Measure, publish, and return the result's ``ok``."""
    work = config.work or Path(tempfile.mkdtemp(prefix="data-throughput-"))
    try:
        sources = {
            "rendered": work / "source",
            "rendered, noise": work / "source-noise",
            "rendered, short": work / "source-short",
        }
        for source in sources.values():
            shutil.rmtree(source, ignore_errors=True)
        rendered, noisy, short = sources.values()
        record(config.task, config.sessions, config.steps, config.size, rendered)
        add_noise(rendered, config.noisy, noisy)
        record(config.task, config.short, 1, config.size, short)
        rows = []
        for name, source in sources.items():
            # In a process of its own: what the other's sides kept does not count.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                done = pool.submit(kind_of_pictures, name, source, config, work / name)
                rows.append(done.result())
        ok = verdict(rows)
        publish(
            {
                "benchmark": "data_throughput",
                "ok": ok,
                "task": config.task,
                "size": config.size,
                "views": list(VIEWS),
                "windows": config.windows,
                "repeats": config.repeats,
                "hdf5_cache_per_data_set": HDF5_CACHE,
                "rows": rows,
                "machine": machine(),
            },
            config.out,
        )
        return ok
    finally:
        if config.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(not main(tyro.cli(Config)))
