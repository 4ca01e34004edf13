"""The episodes of ``data_throughput.py``: long, more than caches hold, in files mapped into memory.

An episode is a *session*: demonstrations of one task, one after another, until it has the length
asked for, as a teleoperator's recording is before it is cut. Every picture in it was rendered.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from robo.rollout import CameraSchedule, Episode

VIEWS = ("front", "side", "wrist")
NOISE = 2.0
"""Of a sensor, standard deviation in grey levels."""
REST = "rest.pickle"
"""File of a session for all but its frames."""
_FIRST_SEED = 300_000


def record(task: str, count: int, steps: int, size: int, folder: Path) -> None:
    """Write ``count`` sessions of at least ``steps`` steps, three views of ``size`` x ``size``."""
    from robo.policies.recorder import stream_episodes
    from robo.sim.experts import make_expert
    from robo.sim.mujoco.expert import ExpertStyle
    from robo.sim.registry import make_vec

    envs = 8 if task.startswith("mujoco/") else 1
    env = make_vec(task, envs)
    actor = make_expert(task, ExpertStyle(), 0)
    camera = CameraSchedule(VIEWS, size, size, 1)

    def demonstrations() -> Generator[Episode]:
        for first in itertools.count(_FIRST_SEED, envs):
            yield from stream_episodes(env, actor, range(first, first + envs), camera)

    endless = demonstrations()
    try:
        for number in range(count):
            save(_session(endless, steps), folder / f"{number:03d}")
    finally:
        endless.close()
        env.close()


def _session(demonstrations: Iterator[Episode], steps: int) -> Episode:
    parts: list[Episode] = []
    while sum(map(len, parts)) < steps:
        parts.append(next(demonstrations))
    return joined(parts)


def joined(parts: list[Episode]) -> Episode:
    """Demonstrations as one episode; of all but the last, the last state is left out."""

    def states(arrays: Iterable[np.ndarray]) -> np.ndarray:
        *before, last = arrays
        return np.concatenate([*(array[:-1] for array in before), last])

    first, length = parts[0], sum(map(len, parts))
    return Episode(
        info=first.info,
        observation={
            key: states(part.observation[key] for part in parts) for key in first.observation
        },
        action=np.concatenate([part.action for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        success=parts[-1].success,
        terminated=parts[-1].terminated,
        frames={role: states(part.frames[role] for part in parts) for role in first.frames},
        frame_step=np.arange(length + 1),
    )


def save(episode: Episode, folder: Path) -> None:
    """Write one session to the new ``folder``, its frames as plain arrays."""
    folder.mkdir(parents=True)
    for role, images in episode.frames.items():
        np.save(folder / f"{role}.npy", images)
    with (folder / REST).open("wb") as file:
        pickle.dump(replace(episode, frames={}), file)


def sessions(folder: Path) -> list[Episode]:
    """The sessions under ``folder``, their frames mapped into memory."""
    return [
        replace(
            pickle.loads((one / REST).read_bytes()),
            frames={role: np.load(one / f"{role}.npy", mmap_mode="r") for role in VIEWS},
        )
        for one in sorted(folder.iterdir())
    ]


def add_noise(source: Path, count: int, folder: Path) -> None:
    """The first sessions of ``source`` as a camera with sensor noise would see them."""
    rng = np.random.default_rng(0)

    def noisy(images: np.ndarray) -> np.ndarray:
        out = np.empty(images.shape, np.uint8)
        for row, image in enumerate(images):
            noise = NOISE * rng.standard_normal(image.shape, np.float32)
            out[row] = np.clip(image + noise, 0, 255)
        return out

    for number, episode in enumerate(sessions(source)[:count]):
        frames = {role: noisy(images) for role, images in episode.frames.items()}
        save(replace(episode, frames=frames), folder / f"{number:03d}")
