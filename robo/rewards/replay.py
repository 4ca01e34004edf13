"""Stored episodes as a rollout, so that any reward can score them as it would in training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from robo.errors import StoreError
from robo.rollout import CameraSchedule, Episode, FinalObservation, Frames, RewardTerms, Rollout

if TYPE_CHECKING:
    from robo.rewards.base import Reward


STATE_TERMS = ("contrast", "similarity")
"""Terms that judge the state a step leads to, and so tell progress: of language goals."""


_IDENTITIES = itertools.count()


@dataclass(frozen=True)
class Scored:
    """What a reward said of one episode of L steps."""

    total: np.ndarray
    """float64 ``[L]``, the reward of each step."""
    terms: dict[str, np.ndarray]
    """Every named term, float64 ``[L]``."""
    progress: np.ndarray
    """float64 ``[L+1]``: what the reward takes for progress in each state, see ``source``."""
    source: str
    """``potential`` (held, of each state), a term of ``STATE_TERMS``, or ``return`` (the reward
    paid so far, for rewards that tell no progress)."""

    @property
    def paid(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(self.total.sum())

    @property
    def score(self) -> float:
        """What the reward thinks of the whole episode: its progress in the last state."""
        return float(self.progress[-1])

    def discounted(self, gamma: float) -> float:
        """Discounted sum of the rewards, from the first state."""
        return float((self.total * gamma ** np.arange(len(self.total))).sum())


def rollout_of(episodes: Sequence[Episode], camera: CameraSchedule | None = None) -> Rollout:
    """Episodes one after another in a single environment, as a collector would have met them.

    Nothing is padded: an episode's last step ends it, its last frame is a ``final`` row, and the
    next episode's first frame shares the step. Rewards that compare episodes (SRPO) see all of
    them in one rollout.

    Args:
        episodes: at least one; each ends with its last step, by a time-out where not terminated.
        camera: what the reward wants. Frames are thinned to its stride and views; None leaves
            frames out.

    Returns:
        T = the sum of the lengths, N = 1. Every call gives new episode ids, since a reward may
        remember episodes by them.

    Raises:
        StoreError: no episode, episodes without the frames or views that are wanted, of another
            size, or without each other's signals.
    """
    if not episodes:
        raise StoreError("there is no episode to score; collect some first")
    identity = torch.tensor([next(_IDENTITIES) for _ in episodes])
    lengths = [len(episode) for episode in episodes]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    last = torch.as_tensor(starts[1:] - 1)
    ended, terminated, success = (torch.zeros(int(starts[-1]), 1, dtype=torch.bool) for _ in "abc")
    ended[last, 0] = True
    terminated[last, 0] = torch.tensor([bool(e.terminated) for e in episodes])
    success[last, 0] = torch.tensor([bool(e.success) for e in episodes])
    names = signal_names(episodes)
    observed = sorted(set.intersection(*(set(e.observation) for e in episodes)))
    seen = {key: [np.asarray(e.observation[key]) for e in episodes] for key in observed}
    ends = {key: torch.as_tensor(np.stack([p[-1] for p in seen[key]])) for key in observed}
    return Rollout(
        observation={key: _joined([part[:-1] for part in seen[key]]) for key in observed},
        last_observation={key: ends[key][-1:] for key in observed},
        final_observation=FinalObservation(ends, last, torch.zeros_like(last)),
        action=_joined([np.asarray(e.action) for e in episodes]),
        log_prob=torch.zeros(int(starts[-1]), 1),
        env_reward=_joined([np.asarray(e.reward, np.float32) for e in episodes]),
        terminated=terminated,
        truncated=ended & ~terminated,
        success=success,
        episode=torch.repeat_interleave(identity, torch.tensor(lengths))[:, None],
        episodes={int(i): e.info for i, e in zip(identity, episodes, strict=True)},
        signals={
            name: _joined([np.asarray(e.signals[name], np.float32) for e in episodes])
            for name in names
        },
        frames=None if camera is None else _frames(episodes, starts, camera, identity),
    )


def score(reward: Reward, episodes: Sequence[Episode]) -> list[Scored]:
    """Score episodes with a reward, as if they had just been collected.

    Args:
        reward: any; what it remembers of open episodes is restored afterwards.
        episodes: whole episodes.

    Returns:
        One per episode, in order.

    Raises:
        StoreError: the episodes lack what the reward reads, see :func:`rollout_of`.
    """
    missing = [name for name in reward.signals if name not in signal_names(episodes)]
    if missing:
        raise StoreError(
            f"the reward reads the signals {missing}, which the episodes lack (they have "
            f"{signal_names(episodes)}): assess it on episodes of a task that gives them"
        )
    rollout = rollout_of(episodes, reward.camera)
    before = reward.state_dict()
    try:
        terms = reward(rollout)
    finally:
        reward.load_state_dict(before)
    return _split(terms, rollout)


def signal_names(episodes: Sequence[Episode]) -> list[str]:
    """Names of the signals that all episodes have."""
    return sorted(set.intersection(*(set(e.signals) for e in episodes))) if episodes else []


def _split(terms: RewardTerms, rollout: Rollout) -> list[Scored]:
    last = rollout.final_observation.step.numpy()
    bounds = [0, *(last + 1).tolist()]
    arrays = {name: _array(part) for name, part in terms.terms.items()}
    total = _array(terms.total)
    scored = []
    for i, (begin, end) in enumerate(pairwise(bounds)):
        own = {name: part[begin:end] for name, part in arrays.items()}
        progress, source = _progress(own, total[begin:end], terms, i)
        scored.append(Scored(total[begin:end], own, progress, source))
    return scored


def _progress(
    own: dict[str, np.ndarray], total: np.ndarray, terms: RewardTerms, episode: int
) -> tuple[np.ndarray, str]:
    """Progress ``[L+1]`` of one episode, and where it comes from."""
    if "potential" in own:
        # The first critic feature of a final state is its potential, see PotentialReward.
        final = terms.final_critic_features
        end = own["potential"][-1] if final is None else float(final[episode, 0])
        return np.append(own["potential"], end), "potential"
    for name in STATE_TERMS:
        if name in own:  # that of s_0 is not among them: the first one stands in
            return np.concatenate([own[name][:1], own[name]]), name
    return np.concatenate([[0.0], np.cumsum(total)]), "return"


def _array(part: torch.Tensor) -> np.ndarray:
    return part.detach().double().cpu().numpy()[:, 0]


def _joined(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.as_tensor(np.concatenate(parts))[:, None]


def frame_rows(
    episode: Episode, camera: CameraSchedule
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """State index ``[F]`` and views ``[F, H, W, 3]`` of the frames that a schedule asks for.

    Raises:
        StoreError: the episode lacks frames, a view, the size, or a state of the schedule.
    """
    missing = [view for view in camera.views if view not in episode.frames]
    if missing or episode.frame_step is None or len(episode.frame_step) == 0:
        raise StoreError(
            f"an episode of {episode.info.task} has camera views {sorted(episode.frames)}, but the "
            f"reward reads {list(camera.views)}: collect episodes with these"
        )
    size = next(iter(episode.frames.values())).shape[1:3]
    if tuple(size) != (camera.height, camera.width):
        raise StoreError(
            f"stored frames are {size[0]}x{size[1]} pixels, but the reward reads "
            f"{camera.height}x{camera.width}: collect episodes of that size"
        )
    step = np.asarray(episode.frame_step, np.int64)
    wanted = np.array(sorted({*range(0, len(episode), camera.stride), len(episode)}))
    rows = np.searchsorted(step, wanted)
    if (rows >= len(step)).any() or (step[rows] != wanted).any():
        raise StoreError(
            f"the reward reads a frame every {camera.stride} steps and the last, but an episode of "
            f"{episode.info.task} has frames of steps {step[:4].tolist()} ... {step[-1]}: give the "
            "reward another stride, or record with stride 1"
        )
    return wanted, {view: np.asarray(episode.frames[view])[rows] for view in camera.views}


def _frames(
    episodes: Sequence[Episode], starts: np.ndarray, camera: CameraSchedule, identity: torch.Tensor
) -> Frames:
    """Rows of all episodes, sorted as :class:`~robo.rollout.Frames` wants them."""
    found = [frame_rows(episode, camera) for episode in episodes]
    step = np.concatenate([rows + starts[i] for i, (rows, _) in enumerate(found)])
    owner = np.repeat(np.arange(len(episodes)), [len(rows) for rows, _ in found])
    final = np.concatenate([rows == len(e) for (rows, _), e in zip(found, episodes, strict=True)])
    return Frames(
        {
            view: torch.as_tensor(np.concatenate([views[view] for _, views in found]))
            for view in camera.views
        },
        torch.as_tensor(step),
        torch.zeros(len(step), dtype=torch.int64),
        identity[torch.as_tensor(owner)],
        torch.as_tensor(final),
    )
