"""Transitions between any two states, and what a reward pays for them.

Distances between rewards ask for transitions that nobody stored: from a state to what another
action leads to, or between the neighbourhoods of two states. Every reward answers through its one
call: a rollout of two steps, from the first state of the episode to the state before and on to
the state after, of which the second step's reward counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from robo.errors import StoreError
from robo.rewards.replay import frame_rows
from robo.rollout import CameraSchedule, Episode, EpisodeInfo, FinalObservation, Frames, Rollout

if TYPE_CHECKING:
    from robo.rewards.base import Reward


@dataclass
class States:
    """S states of several episodes, with all that a reward may read of them."""

    info: list[EpisodeInfo]
    """Of the episodes."""
    episode: list[int] = field(default_factory=list)
    """Which one each state belongs to."""
    start: list[int] = field(default_factory=list)
    """Index of the first state of its episode."""
    success: list[bool] = field(default_factory=list)
    """Whether arriving in it solves the task."""
    signals: list[dict[str, float]] = field(default_factory=list)
    """Of arriving in it."""
    frames: list[dict[str, np.ndarray]] = field(default_factory=list)
    """Camera role to uint8 ``[H, W, 3]``; empty where no reward reads any."""

    def __len__(self) -> int:
        """Number of states S."""
        return len(self.episode)

    def add(
        self,
        episode: int,
        success: bool,
        signals: dict[str, float],
        frames: dict[str, np.ndarray],
        start: int | None = None,
    ) -> int:
        """Add a state and return its index; ``start`` None makes it the first of its episode."""
        index = len(self)
        self.episode.append(episode)
        self.start.append(index if start is None else start)
        self.success.append(success)
        self.signals.append(signals)
        self.frames.append(frames)
        return index


def states_of(
    episodes: Sequence[Episode], camera: CameraSchedule | None
) -> tuple[States, list[list[int]]]:
    """The states of stored episodes that can be seen: all of them, or those with a frame.

    Signals of an episode's first state are not stored; those of the second stand in, with
    differences ``delta_X`` at 0.

    Args:
        episodes: whole episodes.
        camera: frames that rewards read; its stride is not looked at. None keeps all states.

    Returns:
        The states, and per episode the table index of each state ``s_0 ... s_L``, -1 where it has
        no frame.

    Raises:
        StoreError: an episode lacks the frames.
    """
    states = States([e.info for e in episodes])
    places = []
    for number, episode in enumerate(episodes):
        place = [-1] * (len(episode) + 1)
        shown = {i: {} for i in range(len(episode) + 1)}
        if camera is not None:
            every = CameraSchedule(camera.views, camera.height, camera.width, 1)
            step, views = frame_rows(episode, every)
            if step[0] != 0:
                raise StoreError(f"an episode of {episode.info.task} has no frame of its start")
            shown = {int(s): {v: x[i] for v, x in views.items()} for i, s in enumerate(step)}
        start = None
        for at, frames in shown.items():
            source = max(at - 1, 0)
            signals = {name: float(value[source]) for name, value in episode.signals.items()}
            if at == 0:
                signals = {k: 0.0 if k.startswith("delta_") else v for k, v in signals.items()}
            won = bool(episode.success) and at == len(episode)
            place[at] = states.add(number, won, signals, frames, start)
            start = place[0]
        places.append(place)
    return states, places


def transition_rewards(
    reward: Reward,
    states: States,
    before: np.ndarray,
    action: np.ndarray,
    after: np.ndarray,
    batch: int = 512,
) -> np.ndarray:
    """What a reward pays for transitions, each seen for itself.

    No transition ends an episode: after a success the task counts as going on, so that the rule
    for terminal states does not enter, and shaping stays invisible to the distances. Signals
    ``delta_X`` of a pair of states are taken as the difference of ``X``.

    Args:
        reward: whose reading of a state depends on that state, its episode's start and the
            instruction alone. One that pays by episode (SRPO) has no transitions.
        states: table.
        before: int64 ``[M]``, indices into it.
        action: ``[M, A]``.
        after: int64 ``[M]``.
        batch: transitions per rollout.

    Returns:
        float64 ``[M]``.

    Raises:
        StoreError: the states lack what the reward reads.
    """
    if getattr(reward, "compares_episodes", False):
        raise StoreError("it pays by whole episodes and has no reward of a transition")
    if type(reward).__name__ == "EnvironmentReward":
        raise StoreError(
            "the environment's own reward of transitions that were not made is unknown"
        )
    known = states.signals[0] if len(states) else {}
    if missing := [name for name in reward.signals if name not in known]:
        raise StoreError(f"it reads the signals {missing}, which the episodes lack")
    paid = []
    saved = reward.state_dict()
    try:
        for first in range(0, len(before), batch):
            rows = slice(first, first + batch)
            rollout = _rollout(reward, states, before[rows], action[rows], after[rows])
            reward.load_state_dict(saved)
            paid.append(reward(rollout).total[1].detach().double().cpu().numpy())
    finally:
        reward.load_state_dict(saved)
    return np.concatenate(paid) if paid else np.zeros(0)


def _rollout(
    reward: Reward, states: States, before: np.ndarray, action: np.ndarray, after: np.ndarray
) -> Rollout:
    """``start -> before -> after`` of M transitions side by side."""
    count = len(before)
    start = np.array([states.start[i] for i in before])
    path = np.stack([start, before, after])  # states at steps 0, 1, 2
    no = torch.zeros(2, count, dtype=torch.bool)
    success = no.clone()
    success[1] = torch.tensor([states.success[i] for i in after])
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation(
            {}, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        ),
        action=torch.as_tensor(np.stack([action, action])),
        log_prob=torch.zeros(2, count),
        env_reward=torch.full((2, count), torch.nan),
        terminated=no,
        truncated=no,
        success=success,
        episode=torch.arange(count).expand(2, count).clone(),
        episodes={i: states.info[states.episode[s]] for i, s in enumerate(before)},
        signals={
            name: torch.tensor(
                [_arriving(states, name, path[k], path[k + 1]) for k in (0, 1)],
                dtype=torch.float32,
            )
            for name in (states.signals[0] if len(states) else {})
        },
        frames=None if reward.camera is None else _frames(states, reward.camera, path),
    )


def _arriving(states: States, name: str, before: np.ndarray, after: np.ndarray) -> list[float]:
    """A signal of arriving in ``after``."""
    base = name.removeprefix("delta_")
    if base != name and base in states.signals[0]:
        pairs = zip(before, after, strict=True)
        return [states.signals[j][base] - states.signals[i][base] for i, j in pairs]
    return [states.signals[j][name] for j in after]


def _frames(states: States, camera: CameraSchedule, path: np.ndarray) -> Frames:
    """A row per step and transition, steps first."""
    steps, count = path.shape
    flat = path.ravel()
    env = torch.arange(count).repeat(steps)
    return Frames(
        {
            view: torch.as_tensor(np.stack([states.frames[i][view] for i in flat]))
            for view in camera.views
        },
        torch.arange(steps).repeat_interleave(count),
        env,
        env.clone(),
        torch.zeros(len(flat), dtype=torch.bool),
    )
