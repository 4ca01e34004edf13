"""``robo video``: the reward video of a stored episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robo.errors import RoboError, StoreError

if TYPE_CHECKING:
    from robo.rollout import Episode


@dataclass(frozen=True)
class Video:
    """Video of an episode: its camera views, and what a GRM says of it, growing in time."""

    store: Path
    """Episode store, or the run folder of robo collect."""
    grm: Path
    """Folder of a fitted GRM; `robo fit grm` makes one."""
    index: int = 0
    """Which episode, counted from 0; -1 is the last."""
    mode: Literal["backward", "forward", "incremental", "mean", "consistent"] = "backward"
    """Anchor of the GRM's hops: the goal, the start, the previous frame, or a fusion of all."""
    stride: int | None = None
    """Score only frames of steps that this divides, and the last; None scores all frames."""
    gamma: float = 0.99
    """Discount of the policy that is paid, in [0, 1]."""
    weight: float = 1.0
    """Multiplies the potential, never the success."""
    fps: float = 10.0
    """Steps shown per second."""
    width: int = 1280
    """Of the video, in pixels."""
    height: int = 720
    """Of the video, in pixels."""
    device: str = "cpu"
    """Torch device on which the GRM scores frames."""
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

    def run(self) -> dict[str, Any]:
        """Score the episode and write the video.

        Returns:
            ``video`` (its path), ``episode`` (index), ``task``, ``instruction``, ``success``,
            ``steps``, ``final_potential``, ``undiscounted_return``, and what was scored with:
            ``grm``, ``mode``, ``gamma``, ``weight``.

        Raises:
            RoboError: no such store, episode or GRM, an episode without the GRM's views, or a
                video that cannot be written.
        """
        from robo.media import shaped_trace, write_reward_video
        from robo.policies.threads import set_threads
        from robo.rewards.grm.compact import CompactGRM
        from robo.rewards.grm.score import score_episode

        set_threads(self.threads)
        episode, index = self._episode()
        grm = CompactGRM.load(self.grm, self.device)
        score = score_episode(grm, episode, self.mode, self.stride, self.device)
        title = f"{episode.info.task}, episode {index}: success shaped by the GRM ({self.mode})"
        trace = shaped_trace(episode, score.potential, self.gamma, self.weight, title)
        path = write_reward_video(
            self.out / "videos" / f"episode_{index:05d}.mp4",
            episode,
            trace,
            self.fps,
            self.width,
            self.height,
        )
        self._print(path, episode)
        return {
            "video": str(path),
            "episode": index,
            "task": episode.info.task,
            "instruction": episode.info.instruction,
            "success": bool(episode.success),
            "steps": len(episode),
            "final_potential": score.final,
            "undiscounted_return": float(trace.total.sum()),
            "grm": str(self.grm),
            "mode": self.mode,
            "gamma": self.gamma,
            "weight": self.weight,
        }

    def _episode(self) -> tuple[Episode, int]:
        """The episode, and its index counted from 0."""
        from robo.commands.fit import open_store

        store = open_store(self.store)
        count = len(store)
        if not count:
            raise StoreError(
                f"the episode store {self.store} is empty, expected at least one episode: record "
                "some with `robo collect`"
            )
        if not -count <= self.index < count:
            raise RoboError(
                f"episode {self.index} of {self.store} does not exist; it holds {count} episodes, "
                "counted from 0: give another --index"
            )
        return store[self.index], self.index % count

    def _print(self, path: Path, episode: Episode) -> None:
        from rich.console import Console

        outcome = "success" if episode.success else "no success"
        Console(stderr=True).print(
            f"{path}: {len(episode)} steps of {episode.info.task}, {outcome}",
            highlight=False,
            soft_wrap=True,
        )
