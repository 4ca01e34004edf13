"""Writing episodes and reading random windows: the store beside HDF5, LeRobot and raw npy.

The same episodes on every side: scripted demonstrations of one task with three views of 128 x 128
pixels, and the same with sensor noise of two grey levels, which no lossless coding likes. Each
side writes all of them, then reads the same random windows of 8 states (all three views, the
state, the actions), and the bytes on disk are counted. The sides take turns; figures are of CPU
and wall time of one process on one thread. The page cache is warm on every side.

LeRobot runs in an environment of its own: ``--lerobot PYTHON`` (``make test-lerobot`` makes one).

    python benchmarks/data_throughput.py --out benchmarks/results/data_throughput.json
"""

from __future__ import annotations

from _study import machine, one_thread, publish

one_thread()

import json  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import tyro  # noqa: E402
from _data_sides import SIDES, Side, bytes_under  # noqa: E402

from robo.rollout import Episode  # noqa: E402

WINDOW = 8
NOISE = 2.0
PEERS = ("hdf5 lzf", "hdf5 lzf, chunks of 4", "hdf5", "npy", "lerobot video", "lerobot image")


@dataclass(frozen=True)
class Config:
    """Options."""

    task: str = "mujoco/Lift"
    """Whose demonstrations."""
    episodes: int = 24
    """How many."""
    size: int = 128
    """Height and width of the three views."""
    windows: int = 300
    """Random windows per repetition and side."""
    repeats: int = 5
    """Repetitions, the sides in turn."""
    lerobot: Path | None = None
    """Python of an environment with lerobot 0.4.4; None leaves that side out."""
    lerobot_windows: int = 20
    """Random windows of LeRobot per repetition: it takes longer."""
    work: Path | None = None
    """Folder for the files, kept; a temporary one by default."""
    out: Path | None = None
    """JSON file for the result."""


def record(config: Config) -> list[Episode]:
    """The demonstrations, in memory."""
    from robo.policies.recorder import stream_episodes
    from robo.rollout import CameraSchedule
    from robo.sim.experts import make_expert
    from robo.sim.mujoco.expert import ExpertStyle
    from robo.sim.registry import make_vec

    count = 8 if config.task.startswith("mujoco/") else 1
    env = make_vec(config.task, count)
    actor = make_expert(config.task, ExpertStyle(), 0)
    camera = CameraSchedule(("front", "side", "wrist"), config.size, config.size, 1)
    seeds = range(300_000, 300_000 + config.episodes)
    try:
        return list(stream_episodes(env, actor, list(seeds), camera))
    finally:
        env.close()


def with_noise(episodes: list[Episode]) -> list[Episode]:
    """The episodes as a camera with sensor noise would see them."""
    rng = np.random.default_rng(0)

    def noisy(images: np.ndarray) -> np.ndarray:
        return np.clip(images + rng.normal(0, NOISE, images.shape), 0, 255).astype(np.uint8)

    return [
        replace(e, frames={role: noisy(images) for role, images in e.frames.items()})
        for e in episodes
    ]


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


def measure(episodes: list[Episode], config: Config, work: Path) -> dict[str, dict[str, Any]]:
    """Figures of every side that is written and read by this process."""
    found: dict[str, dict[str, Any]] = {}
    open_sides: dict[str, Side] = {}
    rows = sum(len(episode.frame_step) for episode in episodes)
    for name, make in SIDES.items():
        side = make(work / name.replace(" ", "_"))
        wall, cpu = timed(lambda side=side: side.write(episodes))
        bytes_ = bytes_under(side.path)
        found[name] = {"write": rows / wall, "write_cpu": rows / cpu, "bytes": bytes_, "reads": []}
        side.open()
        check(side, episodes)
        open_sides[name] = side
    for repeat in range(config.repeats):
        asked = windows(episodes, config.windows, repeat)
        for name, side in open_sides.items():
            wall, cpu = timed(partial(read_all, side, asked))
            found[name]["reads"].append((len(asked) * WINDOW / wall, len(asked) * WINDOW / cpu))
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
    from robo.data.training import TrainingLoader, Windows

    torch.set_num_threads(1)
    store = EpisodeStore(work / "store", mode="r")
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
    from robo.data.formats.lerobot import export_lerobot

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
        reads = json.loads(done.stdout.splitlines()[-1])["reads"]
        rows = sum(map(len, episodes))
        found[f"lerobot {images}"] = {
            "write": rows / wall,
            "bytes": bytes_under(path),
            "reads": reads,
        }
    return found


def row(name: str, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One kind of pictures: random windows of ours beside the others'."""

    def rate(side: str, which: int) -> float:
        return statistics.median(read[which] for read in sides[side]["reads"])

    peers = [peer for peer in PEERS if peer in sides]
    figures = {side: round(rate(side, 0)) for side in sides}
    cpu = {side: round(rate(side, 1)) for side in sides}
    lzf = [peer for peer in peers if peer.startswith("hdf5 lzf")]
    lerobots = [figures[peer] for peer in peers if peer.startswith("lerobot")]
    return {
        "name": name,
        "unit": "frame rows of three views per second, random windows of 8",
        "ours": figures["store"],
        "peers": {peer: figures[peer] for peer in peers},
        "ratio_to_hdf5_lzf": round(figures["store"] / max(figures[x] for x in lzf), 3),
        "ratio_to_hdf5_lzf_cpu": round(cpu["store"] / max(cpu[x] for x in lzf), 3),
        "ratio_to_lerobot": round(figures["store"] / max(lerobots), 2) if lerobots else None,
        "bytes_to_hdf5_lzf": round(sides["store"]["bytes"] / sides["hdf5 lzf"]["bytes"], 3),
        "rates": figures,
        "cpu": cpu,
        "spread": {
            side: [round(min(r[0] for r in s["reads"])), round(max(r[0] for r in s["reads"]))]
            for side, s in sides.items()
        },
        "write": {side: round(s["write"]) for side, s in sides.items()},
        "megabytes": {side: round(s["bytes"] / 1e6, 2) for side, s in sides.items()},
    }


def main(config: Config) -> None:
    """Measure and publish."""
    work = config.work or Path(tempfile.mkdtemp(prefix="data-throughput-"))
    rows = []
    try:
        rendered = record(config)
        for name, episodes in (("rendered", rendered), ("rendered, noise", with_noise(rendered))):
            folder = work / name.replace(", ", "_")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            sides = measure(episodes, config, folder)
            if config.lerobot is not None:
                sides.update(lerobot(episodes, config, folder))
            rows.append(row(name, sides))
            rows[-1]["training_loader"] = round(loader(episodes, config, folder))
            rows[-1]["compact_grm_trains_on"] = round(eater(episodes, config))
            print(json.dumps(rows[-1]), flush=True)
        steps = [len(episode) for episode in rendered]
        publish(
            {
                "benchmark": "data_throughput",
                "task": config.task,
                "episodes": len(rendered),
                "steps": sum(steps),
                "size": config.size,
                "rows": rows,
                "machine": machine(),
            },
            config.out,
        )
    finally:
        if config.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
