"""Score stored episodes with a GRM: progress of every frame row, held to every state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robo.errors import StoreError
from robo.rewards.grm.anchors import Hops, progress_of_sequence
from robo.rewards.grm.potential import AnyGRM, FrameScorer, for_task, make_scorer
from robo.rollout import Episode


@dataclass(frozen=True)
class EpisodeScore:
    """What a GRM sees in one episode of L steps with F frame rows. Plain numpy arrays."""

    task: str
    """Registry id of the episode's task."""
    success: bool
    """The episode's outcome."""
    progress: np.ndarray
    """float32 ``[F]`` in [0, 1], of the frame rows."""
    frame_step: np.ndarray
    """int64 ``[F]``, the state that each row shows."""
    potential: np.ndarray
    """float32 ``[L+1]``: progress of the newest frame row at each state, held."""
    hops: dict[str, np.ndarray]
    """Name (incremental, forward, backward) to float32 ``[F]``, those that the mode needs."""
    invalid: int
    """Rows whose hop was not finite (progress kept)."""

    @property
    def final(self) -> float:
        """Progress in the last state."""
        return float(self.progress[-1])


def hold_to_states(progress: np.ndarray, frame_step: np.ndarray, states: int) -> np.ndarray:
    """``[F]`` at increasing states ``frame_step`` to ``[states]``; 0 before the first row."""
    newest = np.searchsorted(frame_step, np.arange(states), side="right") - 1
    return np.where(newest >= 0, progress[np.maximum(newest, 0)], 0.0).astype(np.float32)


def _score(
    scorer: FrameScorer, episode: Episode, stride: int | None, backwards: bool
) -> EpisodeScore:
    """Score one episode, at every ``stride``-th state or at all frame rows."""
    if not episode.frames or episode.frame_step is None or len(episode.frame_step) == 0:
        raise StoreError(
            f"an episode of {episode.info.task} has no camera frames to score; collect it again "
            f"with the views {list(scorer.views)}"
        )
    step = np.asarray(episode.frame_step, dtype=np.int64)
    rows = np.arange(len(step))
    if stride is not None:
        rows = np.flatnonzero((step % stride == 0) | (step == len(episode)))
        step = step[rows]
    wanted = scorer.views
    views = {name: image[rows] for name, image in episode.frames.items() if name in wanted}
    embedding = scorer.encode(views)
    if backwards:
        embedding = embedding.flip(0)
    previous = torch.cat([embedding[:1], embedding[:-1]])
    hops = scorer.hops(embedding, previous, embedding[:1].expand_as(embedding))
    for part in (hops.incremental, hops.forward):
        if part is not None and bool(part[0].isfinite()):
            part[0] = 0.0
    progress, invalid = progress_of_sequence(scorer.mode, hops)
    return EpisodeScore(
        task=episode.info.task,
        success=bool(episode.success),
        progress=progress.numpy(),
        frame_step=step,
        potential=hold_to_states(progress.numpy(), step, len(episode) + 1),
        hops=_arrays(hops),
        invalid=int(invalid.sum()),
    )


def _arrays(hops: Hops) -> dict[str, np.ndarray]:
    """The hops that there are, as numpy."""
    return {
        name: part.numpy()
        for name in ("incremental", "forward", "backward")
        if (part := getattr(hops, name)) is not None
    }


def score_episode(
    grm: AnyGRM,
    episode: Episode,
    mode: str = "backward",
    stride: int | None = None,
    device: str = "cpu",
    max_batch: int = 1024,
) -> EpisodeScore:
    """Score one stored episode.

    Args:
        grm: a fitted model.
        episode: with camera frames.
        mode: a :data:`robo.rewards.grm.anchors.AnchorMode`.
        stride: keep only frames of states that it divides, and the last; None keeps all.
        device: where to run the network.
        max_batch: frames encoded at once at most.

    Raises:
        StoreError: if the episode has no frames.
        RoboError: if a view is missing or of another size, or the mode is unknown.
    """
    scorer = make_scorer(for_task(grm, episode.info.task), mode, device, max_batch)
    return _score(scorer, episode, stride, backwards=False)


def score_store(
    grm: AnyGRM,
    episodes: Iterable[Episode],
    mode: str = "backward",
    stride: int | None = None,
    device: str = "cpu",
    max_batch: int = 1024,
) -> Iterator[EpisodeScore]:
    """Score episodes one by one; arguments as for :func:`score_episode`."""
    scorers: dict[str, FrameScorer] = {}
    for episode in episodes:
        task = episode.info.task
        if task not in scorers:
            scorers[task] = make_scorer(for_task(grm, task), mode, device, max_batch)
        yield _score(scorers[task], episode, stride, backwards=False)


def reversed_progress(
    grm: AnyGRM,
    episode: Episode,
    stride: int | None = None,
    device: str = "cpu",
    max_batch: int = 1024,
) -> np.ndarray:
    """Progress for VOC-: the episode played backwards, hops undone one by one from 1.

    The released evaluation of Robo-Dopamine swaps BEFORE and AFTER, so that hops are expected to
    be negative. The order of the result is that of time: it should rise, as for VOC+.

    Returns:
        float32 ``[F]``.
    """
    scorer = make_scorer(for_task(grm, episode.info.task), "incremental", device, max_batch)
    hops = torch.from_numpy(_score(scorer, episode, stride, backwards=True).hops["incremental"])
    progress, value = [1.0], 1.0
    for hop in hops[1:].tolist():
        if np.isfinite(hop):
            value = value + hop * (1.0 - value) if hop >= 0 else value * (1.0 + hop)
        progress.append(value)
    return np.asarray(progress[::-1], dtype=np.float32)


def summarise(scores: Iterable[EpisodeScore]) -> dict[str, Any]:
    """Plain arrays by outcome: final progress, and progress with its states, per episode."""
    given = list(scores)
    return {
        outcome: {
            "final": np.array([score.final for score in given if score.success == wanted]),
            "progress": [score.progress for score in given if score.success == wanted],
            "frame_step": [score.frame_step for score in given if score.success == wanted],
            "invalid": sum(score.invalid for score in given if score.success == wanted),
        }
        for outcome, wanted in (("success", True), ("failure", False))
    }
