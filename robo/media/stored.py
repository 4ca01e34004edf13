"""Any reward on stored episodes: its answers as traces, and the hops behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.media.events import HopTrack, episode_events
from robo.media.traces import RewardTrace
from robo.rewards.learned import parts_of
from robo.rewards.replay import Scored, score
from robo.rollout import Episode

if TYPE_CHECKING:
    from robo.rewards.base import Reward


def score_episodes(
    episodes: Sequence[Episode], reward: Reward, title: str = ""
) -> list[RewardTrace]:
    """What a reward says of stored episodes, scored together in one rollout.

    Rewards that compare episodes with each other see all of ``episodes``, and only these.

    Args:
        episodes: N whole episodes.
        reward: any :class:`~robo.rewards.base.Reward`; called once, with episodes that begin and
            end inside the rollout; what it remembers of others is restored afterwards.
        title: of the reward, for the pictures; empty takes its class.

    Returns:
        A trace per episode, with all terms; ``potential`` is drawn as a curve of the states.

    Raises:
        StoreError: the episodes lack what the reward reads.
        RoboError: what the reward itself refuses.
    """
    name = title or type(reward).__name__
    scored = score(reward, episodes)
    return [_trace(episode, one, name) for episode, one in zip(episodes, scored, strict=True)]


def seed_from_store(reward: Reward, store: Iterable[Episode]) -> None:
    """Show a reward that compares episodes with earlier successes (SRPO) those of a store.

    Such rewards have a method ``seed``; others are left as they are.

    Raises:
        RoboError: what ``seed`` refuses, such as a store without a success.
    """
    seed = getattr(reward, "seed", None)
    if callable(seed):
        seed(store)


def _trace(episode: Episode, scored: Scored, title: str) -> RewardTrace:
    terms = dict(scored.terms)
    curves: dict[str, np.ndarray] = {}
    if terms.pop("potential", None) is not None:
        # The potential describes states, not payments: it is drawn as the curve that it is.
        curves["potential"] = scored.progress
    completion = episode.signals.get("route_completion")
    if completion is not None:
        percent = np.asarray(completion, np.float64) / 100
        curves["route completion"] = np.concatenate([[0.0], percent])
    elif "progress" in episode.signals:
        reached = np.asarray(episode.signals["progress"], np.float64)
        # The signal describes s_1 ... s_L; what s_0 had is not recorded.
        curves["true progress"] = np.concatenate([reached[:1], reached])
    progress_name = next(iter(curves), "progress")
    return RewardTrace(
        total=scored.total,
        terms=terms,
        progress=curves.pop(progress_name, None),
        progress_name=progress_name,
        curves=curves,
        success=bool(episode.success),
        title=title,
        events=episode_events(episode),
    )


def grm_hops(
    episode: Episode, grm: Any, mode: str = "backward", stride: int | None = None
) -> HopTrack:
    """The hops that a GRM predicts between the frames it looks at, for marking them in time.

    Args:
        episode: with the GRM's views.
        grm: a model of any kind that ``robo fit grm`` makes.
        mode: its anchor mode; modes without incremental hops take the hop between the progress
            of one frame and the next.
        stride: steps between two frames; None takes every stored one.
    """
    from robo.rewards.grm.score import score_episode
    from robo.rewards.progress import hop

    score = score_episode(grm, episode, mode, stride)
    if "incremental" in score.hops:
        return HopTrack(score.frame_step, score.hops["incremental"], "incremental hop")
    before = np.concatenate([score.progress[:1], score.progress[:-1]])
    return HopTrack(score.frame_step, np.asarray(hop(before, score.progress)), "hop")


def reward_hops(episode: Episode, reward: Any) -> HopTrack | None:
    """The hops behind a reward that rests on a GRM, wrapped or not; None for others."""
    from robo.rewards.grm.potential import GRMPotential

    found = next((part for part in parts_of(reward) if isinstance(part, GRMPotential)), None)
    return None if found is None else grm_hops(episode, found.grm, found.mode, found.stride)


def stored_stride(episode: Episode) -> int:
    """Steps between the stored frames of an episode; 1 where it has none or only its ends."""
    step = np.asarray([] if episode.frame_step is None else episode.frame_step, np.int64)
    return max(1, int(np.gcd.reduce(step[step < len(episode)]))) if len(step) > 2 else 1
