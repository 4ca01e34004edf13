"""Reward videos of stored episodes: the first success and the first failure, or those you name.

    python launch/export_reward_video.py --store runs/demo/collect/episodes --grm runs/demo/grm

`robo video` writes one episode and records it in a run folder; this is the same in plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.media import shaped_trace, write_reward_video
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.score import score_episode


@dataclass(frozen=True)
class Config:
    """Which episodes, by which reward model, to where."""

    store: Path
    """Folder of an episode store; `robo collect` makes one."""
    grm: Path
    """Folder of a fitted GRM; `robo fit grm` makes one."""
    out: Path = Path("videos")
    """Folder for the videos."""
    episodes: tuple[int, ...] = ()
    """Which episodes, counted from 0; none takes the first success and the first failure."""
    gamma: float = 0.99
    """Discount of the policy that is paid."""
    fps: float = 10.0
    """Steps shown per second."""


def main(config: Config) -> None:
    """Score the chosen episodes and write a video of each."""
    store = EpisodeStore(config.store, mode="r")
    grm = CompactGRM.load(config.grm)

    # 1. Choose episodes: outcomes are known without reading a frame.
    chosen = list(config.episodes)
    if not chosen:
        success = [store.info(i).success for i in range(len(store))]
        chosen = [success.index(outcome) for outcome in (True, False) if outcome in success]
    if not chosen or max(chosen) >= len(store):
        raise RoboError(
            f"{config.store} holds {len(store)} episodes, but {chosen} are asked for; "
            "give --episodes counted from 0"
        )

    for index in chosen:
        # 2. Frames in, progress out: one batch through the GRM.
        episode = store[index]
        score = score_episode(grm, episode)

        # 3. What a policy is paid: the sparse success, plus gamma * potential' - potential.
        title = f"{episode.info.task}, episode {index}"
        trace = shaped_trace(episode, score.potential, config.gamma, title=title)

        # 4. Views above, potential and reward terms below.
        outcome = "success" if episode.success else "failure"
        path = config.out / f"episode_{index:05d}_{outcome}.mp4"
        write_reward_video(path, episode, trace, config.fps)
        print(path)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except RoboError as error:
        raise SystemExit(f"export_reward_video: {error}") from None
