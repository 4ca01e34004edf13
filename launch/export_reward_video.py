"""Reward videos of stored episodes: the first success and the first failure, or those you name.

    python launch/export_reward_video.py --store runs/collect/episodes --rewards grm:runs/grm

`robo video` writes one episode and records it in a run folder; this is the same in plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.media import SideBySide, score_episodes, write_scene
from robo.media.stored import reward_hops, stored_stride
from robo.media.writing import around, moments
from robo.rewards.spec import reward_from_spec


@dataclass(frozen=True)
class Config:
    """Which episodes, by which rewards, to where."""

    store: Path
    """Folder of an episode store; `robo collect` makes one."""
    rewards: tuple[str, ...] = ("success",)
    """Rewards, a column each: success, grm:FOLDER, naive:progress ... (see docs/media.md)."""
    grm: Path | None = None
    """Folder of a fitted GRM (`robo fit grm`): success shaped by it, in place of --rewards."""
    out: Path = Path("videos")
    """Folder for the videos."""
    episodes: tuple[int, ...] = ()
    """Which episodes, counted from 0; none takes the first success and the first failure."""
    gamma: float = 0.99
    """Discount of the policy that is paid."""
    fps: float = 10.0
    """Steps shown per second."""
    slow: int = 1
    """How many times slower the steps around events run."""
    format: Literal["mp4", "gif"] = "mp4"
    """Of the videos."""


def main(config: Config) -> None:
    """Score the chosen episodes and write a video of each."""
    store = EpisodeStore(config.store, mode="r")
    specs = config.rewards if config.grm is None else (f"grm:{config.grm}",)

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
        # 2. What each reward says: the call that training makes, on a rollout of this episode.
        episode = store[index]
        columns = []
        for spec in specs:
            reward = reward_from_spec(spec, config.gamma, stride=stored_stride(episode))
            title = f"{episode.info.task}, episode {index}: {spec.partition(':')[0]}"
            trace = score_episodes([episode], reward, title)[0]
            trace.hops = reward_hops(episode, reward)
            columns.append((episode, trace))

        # 3. Views above, progress and every term below; slower where something happens.
        scene = SideBySide(columns, *((1280, 720) if len(columns) == 1 else (1920, 1080)))
        shown = moments(scene.steps, config.slow, around(scene.events, scene.steps))
        outcome = "success" if episode.success else "failure"
        path = config.out / f"episode_{index:05d}_{outcome}.{config.format}"
        print(write_scene(path, scene, config.fps, shown))


if __name__ == "__main__":
    from script import run

    run(main, Config)
