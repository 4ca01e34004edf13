"""Any reward on stored episodes: episodes to one rollout, and the reward's answer to traces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.media.events import HopTrack, episode_events
from robo.media.traces import RewardTrace
from robo.media.video import VideoError
from robo.rollout import CameraSchedule, Episode, Frames, Rollout

if TYPE_CHECKING:
    import torch

    from robo.rewards.base import Reward
    from robo.rollout import RewardTerms

_identities = itertools.count(1)


def stored_rollout(
    episodes: Sequence[Episode],
    camera: CameraSchedule | None = None,
    signals: Sequence[str] = (),
) -> Rollout:
    """Whole stored episodes as one rollout: environment n is episode n, from its first step on.

    Args:
        episodes: N episodes; the longest has T steps, and those that end earlier are followed by
            slots that are not valid.
        camera: frames to pass on: its views at every ``stride``-th state and the last. None
            passes none.
        signals: names to pass on.

    Returns:
        A rollout of ``[T, N]`` with an episode id of its own each, as if just collected.

    Raises:
        VideoError: an episode without a step, without a signal, or without a view at the states
            of the schedule.
    """
    import torch

    if not episodes or min(len(episode) for episode in episodes) < 1:
        raise VideoError("a reward needs episodes of at least 1 step each, choose others")
    count, steps = len(episodes), max(len(episode) for episode in episodes)
    length = torch.tensor([len(episode) for episode in episodes])
    time = torch.arange(steps)[:, None]
    ended = time == length - 1
    terminated = torch.tensor([bool(episode.terminated) for episode in episodes])
    success = torch.tensor([bool(episode.success) for episode in episodes])
    identity = torch.tensor([next(_identities) for _ in episodes])
    order = torch.argsort(length, stable=True)
    final_step, final_env = (length - 1)[order], order
    keys = set.intersection(*(set(episode.observation) for episode in episodes))
    observation = {
        key: _padded([np.asarray(episode.observation[key]) for episode in episodes], steps + 1)
        for key in keys
    }
    action = [np.asarray(episode.action) for episode in episodes]
    valid = time < length
    from robo.rollout import FinalObservation

    return Rollout(
        observation={key: value[:-1] for key, value in observation.items()},
        last_observation={key: value[-1] for key, value in observation.items()},
        final_observation=FinalObservation(
            {key: value[final_step + 1, final_env] for key, value in observation.items()},
            final_step,
            final_env,
        ),
        action=_padded(action, steps),
        log_prob=torch.zeros(steps, count),
        env_reward=_padded([np.asarray(e.reward, np.float32) for e in episodes], steps),
        terminated=ended & terminated,
        truncated=ended & ~terminated,
        success=ended & success,
        episode=identity.expand(steps, count).clone(),
        episodes={int(i): e.info for i, e in zip(identity, episodes, strict=True)},
        signals={name: _padded(_signal(episodes, name), steps) for name in signals},
        frames=None if camera is None else _frames(episodes, camera, identity),
        valid=None if bool(valid.all()) else valid,
    )


def _padded(parts: list[np.ndarray], rows: int) -> torch.Tensor:
    """``[rows, N, ...]`` of N arrays of at most ``rows`` rows, zeros below."""
    import torch

    stacked = np.zeros((rows, len(parts), *parts[0].shape[1:]), parts[0].dtype)
    for n, part in enumerate(parts):
        stacked[: len(part), n] = part
    return torch.from_numpy(stacked)


def _signal(episodes: Sequence[Episode], name: str) -> list[np.ndarray]:
    for episode in episodes:
        if name not in episode.signals:
            raise VideoError(
                f"the reward reads the signal {name!r}, which the episode of {episode.info.task} "
                f"lacks (it has {sorted(episode.signals) or 'none'}): choose another reward or "
                "another store"
            )
    return [np.asarray(episode.signals[name], np.float32) for episode in episodes]


def scheduled_rows(episode: Episode, camera: CameraSchedule) -> np.ndarray:
    """Indices of the frame rows that a camera schedule asks for.

    Raises:
        VideoError: a view or a scheduled state has no frame.
    """
    missing = [view for view in camera.views if view not in episode.frames]
    if missing or episode.frame_step is None:
        raise VideoError(
            f"the reward reads the views {list(camera.views)}, but the episode of "
            f"{episode.info.task} has {list(episode.frames) or 'none'}: record it with these"
        )
    step = np.asarray(episode.frame_step, np.int64)
    wanted = sorted({*range(0, len(episode), camera.stride), len(episode)})
    row = np.searchsorted(step, wanted)
    if (row >= len(step)).any() or (step[row] != wanted).any():
        raise VideoError(
            f"the reward reads a frame every {camera.stride} steps and the last, but the episode "
            f"of {episode.info.task} has frames of steps {step[:4].tolist()} ... {step[-1]}: "
            "give the reward another stride, or record with stride 1"
        )
    return row


def _frames(
    episodes: Sequence[Episode], camera: CameraSchedule, identity: torch.Tensor
) -> Frames | None:
    """Frame rows of all episodes, as a collector would have rendered them."""
    import torch

    from robo.rollout import concatenate_frames

    parts = []
    for n, episode in enumerate(episodes):
        row = scheduled_rows(episode, camera)
        step = torch.from_numpy(np.asarray(episode.frame_step, np.int64)[row])
        views = {
            view: torch.from_numpy(np.ascontiguousarray(np.asarray(episode.frames[view])[row]))
            for view in camera.views
        }
        full = torch.full_like(step, n)
        parts.append(Frames(views, step, full, identity[n].expand_as(step), step == len(episode)))
    return concatenate_frames(parts)


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
        VideoError: see :func:`stored_rollout`.
        RoboError: what the reward itself refuses.
    """
    rollout = stored_rollout(episodes, reward.camera, reward.signals)
    before = reward.state_dict()
    try:
        answer = reward(rollout)
    finally:
        # Nothing of these episodes stays open, and the next may be of another number.
        reward.load_state_dict(before)
    name = title or type(reward).__name__
    return [_trace(episode, n, answer, rollout, name) for n, episode in enumerate(episodes)]


def seed_from_store(reward: Reward, store: Iterable[Episode]) -> None:
    """Show a reward that compares episodes with earlier successes (SRPO) those of a store.

    Such rewards have a method ``seed``; others are left as they are.

    Raises:
        RoboError: what ``seed`` refuses, such as a store without a success.
    """
    seed = getattr(reward, "seed", None)
    if callable(seed):
        seed(store)


def _trace(
    episode: Episode, n: int, answer: RewardTerms, rollout: Rollout, title: str
) -> RewardTrace:
    length = len(episode)
    terms = {key: _column(term, n, length) for key, term in answer.terms.items()}
    curves: dict[str, np.ndarray] = {}
    if "potential" in terms:
        # The potential describes states, not payments: it is drawn as the curve that it is.
        curves["potential"] = _states(terms.pop("potential"), n, answer, rollout)
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
        total=_column(answer.total, n, length),
        terms=terms,
        progress=curves.pop(progress_name, None),
        progress_name=progress_name,
        curves=curves,
        success=bool(episode.success),
        title=title,
        events=episode_events(episode),
    )


def _column(value: Any, n: int, length: int) -> np.ndarray:
    return value[:length, n].detach().cpu().double().numpy()


def _states(held: np.ndarray, n: int, answer: RewardTerms, rollout: Rollout) -> np.ndarray:
    """``[L+1]``: the potential of s_0 ... s_{L-1}, and of the state in which the episode ended."""
    features = answer.final_critic_features
    if features is None:
        return np.concatenate([held, held[-1:]])
    # The first critic feature of a shaped reward is the potential of the final state itself.
    row = int((rollout.final_observation.env == n).nonzero()[0])
    return np.concatenate([held, [float(features[row, 0])]])


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

    seen: list[Any] = [reward]
    for part in seen:
        if isinstance(part, GRMPotential):
            return grm_hops(episode, part.grm, part.mode, part.stride)
        for name in ("potential", "gold", "inner", "reward"):
            inner = getattr(part, name, None)
            found = list(inner.values()) if isinstance(inner, dict) else [inner]
            seen += [one for one in found if one is not None and not any(one is s for s in seen)]
    return None


def stored_stride(episode: Episode) -> int:
    """Steps between the stored frames of an episode; 1 where it has none or only its ends."""
    step = np.asarray([] if episode.frame_step is None else episode.frame_step, np.int64)
    return max(1, int(np.gcd.reduce(step[step < len(episode)]))) if len(step) > 2 else 1
