"""``robo video``: stored episodes as any rewards see them, as mp4, GIF or Rerun recording."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robo.errors import RoboError, StoreError

if TYPE_CHECKING:
    from robo.data import EpisodeStore
    from robo.media import RewardTrace
    from robo.rollout import Episode

SUITABLE = {1: (1280, 720), 2: (1920, 1080)}
"""Size by number of columns; more take the last."""


@dataclass(frozen=True)
class Video:
    """Video of an episode: its camera views, and what rewards say of it, growing in time."""

    store: Path
    """Episode store, or the run folder of robo collect."""
    rewards: tuple[str, ...] = ()
    """Rewards, a column each: success, grm:FOLDER, naive:progress, route_completion ... (see
    docs/media.md); none takes --grm, or success."""
    grm: Path | None = None
    """Folder of a fitted GRM: one more reward, success shaped by it."""
    index: int = 0
    """Which episode, counted from 0; -1 is the last."""
    against: Path | None = None
    """A second store, of another policy: its episode is shown beside, in step."""
    against_index: int | None = None
    """Which episode of --against; None takes --index."""
    context: bool = False
    """Score all episodes of the store together, its successes shown to the reward before: for
    rewards that compare episodes (srpo)."""
    mode: Literal["backward", "forward", "incremental", "mean", "consistent"] = "backward"
    """Of --grm: anchor of its hops: the goal, the start, the previous frame, or a fusion."""
    stride: int | None = None
    """Score only frames of steps that this divides, and the last; None scores all frames."""
    gamma: float = 0.99
    """Discount of the policy that is paid, in [0, 1]."""
    weight: float = 1.0
    """Of --grm: multiplies the potential, never the success."""
    fps: float = 10.0
    """Steps shown per second."""
    slow: int = 1
    """How many times slower the slow parts run; 1 for none."""
    slow_steps: str = "events"
    """The slow parts: "events" (around success, infractions and subtasks), "all", or A-B."""
    format: Literal["mp4", "gif"] = "mp4"
    """Of the video."""
    poster: bool = True
    """Write the last picture beside the video, as PNG."""
    rerun: bool = False
    """Write a Rerun recording too (.rrd; needs the extra rerun)."""
    width: int | None = None
    """Of the video, in pixels; None: 1280, or 1920 for several columns."""
    height: int | None = None
    """Of the video, in pixels; None: 720, or 1080 for several columns."""
    device: str = "cpu"
    """Torch device of --grm; a reward's own is its option device."""
    threads: int = 1
    """Threads of torch and BLAS."""
    out: Path = Path("runs/video")
    """Run folder; the video goes to its folder videos."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.threads < 1 or (self.stride is not None and self.stride < 1):
            raise RoboError("threads and stride must each be at least 1")
        if not 0 <= self.gamma <= 1:
            raise RoboError(f"gamma is {self.gamma}, expected a discount between 0 and 1")
        if not self.weight >= 0:
            raise RoboError(f"weight is {self.weight}, expected at least 0")
        if self.slow_steps not in ("events", "all") and not _range(self.slow_steps):
            raise RoboError(
                f"slow_steps is {self.slow_steps!r}, expected events, all, or steps A-B such as "
                "40-60"
            )

    def run(self) -> dict[str, Any]:
        """Score the episodes and write the video.

        Returns:
            ``video``, ``poster`` and ``rerun`` (paths; None where not written), ``episode``
            (index), ``task``, ``instruction``, ``success``, ``steps``, ``final_potential`` and
            ``undiscounted_return`` of the first column, ``gamma``, and ``columns``: store,
            episode, reward, success, return and final progress of each.

        Raises:
            RoboError: no such store, episode or reward, an episode without what a reward reads,
                or a video that cannot be written.
        """
        from robo.media import SideBySide, write_scene
        from robo.media.writing import around, moments
        from robo.policies.threads import set_threads

        set_threads(self.threads)
        episodes = self._episodes()
        columns = [
            (store, index, episode, spec, self._trace(store, index, episode, spec))
            for store, index, episode in episodes
            for spec in self._specs()
        ]
        size = SUITABLE[min(len(columns), max(SUITABLE))]
        width, height = self.width or size[0], self.height or size[1]
        pairs = [(episode, trace) for _, _, episode, _, trace in columns]
        scene = SideBySide(pairs, width, height)
        ranges = {"events": around(scene.events, scene.steps), "all": None}
        slow = ranges.get(self.slow_steps, [_range(self.slow_steps) or (0, 0)])
        name = f"episode_{episodes[0][1]:05d}"
        path = self.out / "videos" / f"{name}.{self.format}"
        poster = path.with_suffix(".png") if self.poster else None
        # The size and place of everything is checked before a frame is drawn.
        write_scene(path, scene, self.fps, moments(scene.steps, self.slow, slow), poster)
        recording = self._rerun(path, pairs)
        self._print(path, episodes[0][2])
        return {
            "video": str(path),
            "poster": None if poster is None else str(poster),
            "rerun": None if recording is None else str(recording),
            **_described(episodes[0][1], episodes[0][2], columns[0][4]),
            "gamma": self.gamma,
            "columns": [
                {
                    "store": str(store.path),
                    "episode": index,
                    "reward": spec,
                    "success": bool(episode.success),
                    "undiscounted_return": float(trace.total.sum()),
                    "final_progress": None if trace.progress is None else float(trace.progress[-1]),
                    "terms": list(trace.terms),
                }
                for store, index, episode, spec, trace in columns
            ],
        }

    def _specs(self) -> list[str]:
        specs = list(self.rewards)
        if self.grm is not None:
            options = f"mode={self.mode},weight={self.weight!r},device={self.device}"
            specs.append(f"grm:{self.grm},{options}")
        return specs or ["success"]

    def _episodes(self) -> list[tuple[EpisodeStore, int, Episode]]:
        """Store, index and episode to show, one or two of them."""
        shown = [pick(self.store, self.index)]
        if self.against is not None:
            index = self.index if self.against_index is None else self.against_index
            shown.append(pick(self.against, index))
        return shown

    def _trace(self, store: EpisodeStore, index: int, episode: Episode, spec: str) -> RewardTrace:
        from robo.media.stored import (
            reward_hops,
            score_episodes,
            seed_from_store,
            stored_stride,
        )
        from robo.rewards.spec import reward_from_spec

        stride = self.stride or stored_stride(episode)
        reward = reward_from_spec(spec, self.gamma, stride=stride)
        if self.context:
            seed_from_store(reward, store)
        scored = list(store) if self.context else [episode]
        title = f"{episode.info.task}, episode {index}: {short(spec)}"
        trace = score_episodes(scored, reward, title)[index if self.context else 0]
        trace.hops = reward_hops(episode, reward)
        return trace

    def _rerun(self, path: Path, pairs: list[tuple[Episode, RewardTrace]]) -> Path | None:
        if not self.rerun:
            return None
        from robo.media.rerun_export import write_rerun

        return write_rerun(path.with_suffix(".rrd"), pairs)

    def _print(self, path: Path, episode: Episode) -> None:
        from rich.console import Console

        outcome = "success" if episode.success else "no success"
        Console(stderr=True).print(
            f"{path}: {len(episode)} steps of {episode.info.task}, {outcome}",
            highlight=False,
            soft_wrap=True,
        )


def pick(path: Path, index: int) -> tuple[EpisodeStore, int, Episode]:
    """The store at ``path``, and its episode with the index counted from 0.

    Raises:
        RoboError: no store, an empty one, or no such episode.
    """
    from robo.data import open_store

    store = open_store(path)
    count = len(store)
    if not count:
        raise StoreError(
            f"the episode store {path} is empty, expected at least one episode: record some with "
            "`robo collect`"
        )
    if not -count <= index < count:
        raise RoboError(
            f"episode {index} of {path} does not exist; it holds {count} episodes, counted from "
            "0: give another --index"
        )
    return store, index % count, store[index]


def short(spec: str) -> str:
    """A reward's text without options and folders, for a title."""
    return re.sub(r"([(:])[^:();,]*/", r"\1", spec).partition(",")[0]


def _described(index: int, episode: Episode, trace: RewardTrace) -> dict[str, Any]:
    return {
        "episode": index,
        "task": episode.info.task,
        "instruction": episode.info.instruction,
        "success": bool(episode.success),
        "steps": len(episode),
        "final_potential": None if trace.progress is None else float(trace.progress[-1]),
        "undiscounted_return": float(trace.total.sum()),
    }


def _range(text: str) -> tuple[int, int] | None:
    """``A-B`` as two steps; None for anything else."""
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    return (int(found[1]), int(found[2])) if found and int(found[1]) < int(found[2]) else None
