"""Demonstrations rendered anew: other cameras, sizes, strides or profiles, the same motion.

Two ways, chosen by what an episode holds:

* **states**: the simulator states that HDF5 files of robosuite, robomimic and LIBERO record are
  shown one by one. Nothing is simulated.
* **actions**: an episode that robo recorded is simulated again from its seed with its actions.
  Simulators give the same bits for the same seed, which is checked: a state that differs from the
  recorded observation refuses the episode.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo.data import EpisodeStore
from robo.data.coding import Coding
from robo.errors import RoboError
from robo.policies.recorder import stream_episodes
from robo.policies.replay_config import ReplayConfig
from robo.rollout import Episode
from robo.sim.registry import make, make_vec
from robo.sim.robosuite.shown_states import SIMULATOR_STATE, StateViewer, can_show

REPLAYED = "replayed"
"""Key of the metadata that holds the index of the original in its store."""


@dataclass(frozen=True)
class Replayed:
    """What a replay came to."""

    episodes: int
    """Rendered now."""
    earlier: int
    """Found rendered by an earlier call."""
    failed: dict[int, str] = field(default_factory=dict)
    """Index of an original to why it was not rendered."""


class Replayer:
    """Renders episodes of one task after the other; keeps the scene between them."""

    def __init__(self, config: ReplayConfig) -> None:
        """Nothing is opened before the first episode."""
        self.config = config
        self._key: tuple[Any, ...] = ()
        self._scene: Any = None

    def render(self, episode: Episode) -> Episode:
        """The episode with frames of the config in place of its own.

        Raises:
            RoboError: where it holds neither states nor a seed, simulation does not repeat it, or
                a view is not there.
        """
        task = self.config.task or episode.info.task
        profile = self.config.profile or episode.metadata.get("rendering_profile") or "fast"
        states = SIMULATOR_STATE in episode.observation and can_show(task)
        if not states and episode.info.seed is None:
            raise RoboError(
                f"an episode of {episode.info.task} holds neither simulator states that can be "
                "shown nor a seed: it cannot be rendered anew"
            )
        shown = (
            self._by_states(episode, task, profile)
            if states
            else self._by_actions(episode, task, profile)
        )
        metadata = {
            **episode.metadata,
            "rendering_profile": profile,
            "replay": "states" if states else "actions",
        }
        return dataclasses.replace(episode, **shown, metadata=metadata)

    def _by_states(self, episode: Episode, task: str, profile: str) -> dict[str, Any]:
        if self._key != ("states", task, profile):
            self.close()
            self._scene = StateViewer(make(task, profile=profile))
            self._key = ("states", task, profile)
        steps = len(episode)
        shown = np.array(
            [step for step in range(steps + 1) if step % self.config.stride == 0 or step == steps]
        )
        camera = self.config.camera
        images = self._scene.frames(episode, shown, camera.views, camera.height, camera.width)
        return {"frames": images, "frame_step": shown}

    def _by_actions(self, episode: Episode, task: str, profile: str) -> dict[str, Any]:
        if self._key != ("actions", task, profile):
            self.close()
            self._scene = make_vec(
                task, 1, "auto" if task.startswith("mujoco/") else "in_process", profile=profile
            )
            self._key = ("actions", task, profile)
        seed = int(episode.info.seed or 0)
        again = next(stream_episodes(self._scene, _Script(episode), [seed], self.config.camera))
        for key, recorded in episode.observation.items():
            seen = again.observation.get(key)
            if seen is None:
                continue
            count = min(len(seen), len(recorded))
            differs = [
                step for step in range(count) if seen[step].tobytes() != recorded[step].tobytes()
            ]
            if differs or len(seen) != len(recorded):
                step = differs[0] if differs else count
                raise RoboError(
                    f"simulating {task} again from seed {seed} gave another {key} at step {step}: "
                    "another version of the simulator, or another machine, recorded it"
                )
        return {"frames": again.frames, "frame_step": again.frame_step}

    def close(self) -> None:
        """Free the scene."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None


class _Script:
    """Plays recorded actions; past their end the last one."""

    def __init__(self, episode: Episode) -> None:
        self._actions = np.asarray(episode.action)
        self._step = 0

    def reset(self, num_envs: int) -> None:
        """Start over."""
        self._step = 0

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """The next action, ``[1, A]``."""
        action = self._actions[min(self._step, len(self._actions) - 1)]
        self._step += 1
        return action[None]


def replay(
    source: str,
    target: str,
    config: ReplayConfig,
    workers: int = 1,
    images: Coding = "lz4hc",
    indices: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Replayed:
    """Render the episodes of one store into another, in parallel.

    A repeated call renders what is missing: each episode tells in its metadata whose picture it
    is. Which order they come in depends on the workers.

    Args:
        source: path of the store to read.
        target: path of the store to append to.
        config: what to render.
        workers: processes; each opens a scene of its own.
        images: how frames are stored.
        indices: of the source; all by default.
        progress: called with (done, in all) after each.

    Raises:
        StoreError: where a store cannot be opened.
    """
    store = EpisodeStore(source, mode="r")
    done = {
        int(header.metadata[REPLAYED])
        for header in EpisodeStore(target, images=images).manifest.headers
        if REPLAYED in header.metadata
    }
    asked = list(range(len(store)) if indices is None else indices)
    missing = [index for index in asked if index not in done]
    earlier = len(asked) - len(missing)
    failed: dict[int, str] = {}
    jobs = [(source, target, config, images, index) for index in missing]
    for count, (index, error) in enumerate(_results(jobs, min(workers, len(jobs)))):
        if error is not None:
            failed[index] = error
        progress(earlier + count + 1, len(asked))
    return Replayed(len(missing) - len(failed), earlier, failed)


def _results(jobs: list[tuple[Any, ...]], workers: int) -> Iterator[tuple[int, str | None]]:
    if workers <= 1:
        try:
            yield from map(_render_one, jobs)
        finally:
            _close()
        return
    # Spawned, not forked: an open GL context does not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_render_one, jobs)


_open: dict[str, Any] = {}
"""This process's stores and scene, kept from job to job."""


def _render_one(job: tuple[Any, ...]) -> tuple[int, str | None]:
    """Render one episode and append it; (its index, None or what went wrong)."""
    source, target, config, images, index = job
    key = (source, target, config, images)
    if _open.get("key") != key:
        _close()
        _open["stores"] = EpisodeStore(source, mode="r"), EpisodeStore(target, images=images)
        _open["replayer"] = Replayer(config)
        _open["key"] = key
    reading, writing = _open["stores"]
    try:
        rendered = _open["replayer"].render(reading.read(index, views=()))
        metadata = {**rendered.metadata, REPLAYED: index}
        writing.append(dataclasses.replace(rendered, metadata=metadata))
    except RoboError as error:
        return index, str(error)
    return index, None


def _close() -> None:
    if "replayer" in _open:
        _open["replayer"].close()
    _open.clear()
