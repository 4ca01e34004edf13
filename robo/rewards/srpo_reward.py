"""SRPO's reward of rollouts: one number per episode, paid on the step that ends it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robo.errors import StoreError
from robo.perception.clips import Clip, clip_length
from robo.perception.embedding_cache import EmbeddingCache
from robo.perception.video import VideoEncoder
from robo.rewards.srpo import (
    PAPER_SCALE,
    RELEASED_SCALE,
    Progress,
    SRPOError,
    TaskReport,
    score_progress,
)
from robo.rewards.srpo_config import SRPOConfig
from robo.rollout import CameraSchedule, Episode, Frames, RewardTerms, Rollout, concatenate_frames

LOG = logging.getLogger(__name__)

Gather = Callable[[Any], list[Any]]
"""The values of all ranks, in their order, on every rank."""


class SuccessBank:
    """Embeddings of earlier successes by task, the newest ``limit`` of each."""

    def __init__(self, limit: int) -> None:
        """Empty."""
        self.limit = limit
        self.kept: dict[str, Tensor] = {}

    def add(self, task: str, embedding: Tensor) -> None:
        """Append ``embedding [R, D]``; the oldest beyond the limit leave."""
        earlier = self.kept.get(task)
        joined = embedding if earlier is None else torch.cat([earlier, embedding])
        if len(joined):
            self.kept[task] = joined[-self.limit :].clone()


@dataclass
class _Ended:
    """The episodes that ended in one rollout."""

    step: Tensor
    env: Tensor
    task: list[str]
    success: Tensor
    embedding: Tensor
    empty: Tensor


class SRPOReward:
    """1 on the step of a success; where a failure ends, what :mod:`robo.rewards.srpo` gives it.

    All episodes that end in a rollout, of all ranks, are judged together, by task. Frames of
    episodes that stay open are kept for the next rollout. Made for group collection, where
    episodes begin and end inside one rollout; other learners may use it too, but what a failure
    gets depends on the rollouts it is judged with, so that a critic has no fixed target.
    """

    signals: tuple[str, ...] = ()
    critic_feature_dim = 0
    gamma: float | None = None
    timeout: str | None = None
    compares_episodes = True
    """Episodes are judged by those beside them: who scores some shows the others too."""

    def __init__(
        self,
        encoder: VideoEncoder,
        config: SRPOConfig | None = None,
        stride: int = 5,
        image_size: tuple[int, int] | None = None,
        gather: Gather = lambda value: [value],
        rank: int = 0,
    ) -> None:
        """Judge by ``encoder``.

        Args:
            encoder: reads the cameras that it names.
            config: see :class:`~robo.rewards.srpo_config.SRPOConfig`.
            stride: steps between two frames.
            image_size: (height, width) in pixels; None: the configuration's.
            gather: collects the values of all ranks.
            rank: which of them is this one's.
        """
        self.config = config or SRPOConfig()
        size = image_size or (self.config.size, self.config.size)
        self.encoder = encoder
        self.camera: CameraSchedule | None = CameraSchedule(encoder.views, *size, stride)
        if not self.config.progress:
            self.camera = None
        self.cache = EmbeddingCache(encoder)
        self.bank = SuccessBank(self.config.bank)
        self.gather, self.rank = gather, rank
        self.report: dict[str, TaskReport] = {}
        """By task, of the last rollout in which an episode ended."""
        self.counts: Counter[str] = Counter(judged=0, fallback=0, from_bank=0, no_reference=0)
        """Of the tasks judged, over all rollouts: how many, those whose successes formed no
        clusters, those compared with the bank, and those without any success to compare with."""
        self._said: set[str] = set()
        self._open: Frames | None = None

    @property
    def failure_limit(self) -> float:
        """The most that an episode without success is paid, whatever its video shows."""
        if not self.config.progress:
            return 0.0
        return PAPER_SCALE if self.config.variant == "paper" else RELEASED_SCALE

    def seed(self, episodes: Iterable[Episode]) -> int:
        """Put the successes among ``episodes`` into the bank; how many there were.

        Raises:
            StoreError: none of them is a success with frames.
        """
        clips: dict[str, list[Clip]] = {}
        for episode in episodes:
            if episode.success and clip_length(episode.frames, self.encoder.views):
                clips.setdefault(episode.info.task, []).append(self._strided(episode))
        if not clips:
            raise StoreError(
                "no demonstration is a success with camera frames; record some with robo collect, "
                f"with the views {list(self.encoder.views)}"
            )
        for task, found in clips.items():
            self.bank.add(task, self.cache.embed(found))
        return sum(len(found) for found in clips.values())

    def _strided(self, episode: Episode) -> Clip:
        """The frames that this reward's camera schedule would have taken."""
        stride = 1 if self.camera is None else self.camera.stride
        step = torch.as_tensor(episode.frame_step)
        rows = torch.nonzero((step % stride == 0) | (step == len(episode))).flatten()
        return {view: torch.as_tensor(episode.frames[view])[rows] for view in self.encoder.views}

    # ------------------------------------------------------------------ rewards

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, ``[T, N]``; terms ``success`` and ``progress`` (of failures).

        Raises:
            SRPOError: the rollout has no camera frames.
        """
        success = rollout.success.float()
        if rollout.valid is not None:
            success = success * rollout.valid
        progress = torch.zeros_like(success)
        if self.config.progress:
            ended = self._ended(rollout)
            judged = self._judge(ended)
            failed = ~ended.success
            progress[ended.step[failed], ended.env[failed]] = judged[failed].to(progress)
        return RewardTerms(success + progress, {"success": success, "progress": progress})

    def _ended(self, rollout: Rollout) -> _Ended:
        if rollout.frames is None:
            raise SRPOError(
                "the rollout has no camera frames, but SRPO's reward reads them: set the "
                "environment's camera schedule to the reward's"
            )
        frames = self._with_open(rollout.frames)
        done = rollout.done if rollout.valid is None else rollout.done & rollout.valid
        step, env = torch.nonzero(done, as_tuple=True)
        episodes = rollout.episode[step, env].tolist()
        clips = clips_of(frames, episodes)
        self._keep_open(rollout, frames)
        return _Ended(
            step,
            env,
            [rollout.episodes[episode].task for episode in episodes],
            rollout.success[step, env],
            self.cache.embed(clips),
            torch.tensor(
                [clip_length(clip, self.encoder.views) == 0 for clip in clips], dtype=torch.bool
            ),
        )

    def _with_open(self, frames: Frames) -> Frames:
        """Rows of earlier rollouts before these; the row carried over from step T comes once."""
        if self._open is None:
            return frames
        seen = torch.isin(frames.episode, self._open.episode.unique()) & (frames.step == 0)
        joined = concatenate_frames([self._open, frames.rows(~(seen & ~frames.final))])
        assert joined is not None
        return joined

    def _keep_open(self, rollout: Rollout, frames: Frames) -> None:
        """Keep the rows of episodes that go on, in front of the next rollout's."""
        going_on = rollout.episode[-1][~rollout.done[-1]]
        if rollout.valid is not None:
            going_on = rollout.episode[-1][~rollout.done[-1] & rollout.valid[-1]]
        kept = frames.rows(torch.isin(frames.episode, going_on))
        kept.step = kept.step - rollout.shape[0]
        self._open = kept if len(kept) else None

    def _judge(self, ended: _Ended) -> Tensor:
        """Rewards ``[E]`` of this rank's episodes, judged among those of all ranks."""
        parts = self.gather((ended.embedding, ended.success, ended.empty, ended.task))
        embedding, success, empty = (
            torch.cat([torch.as_tensor(part[field]) for part in parts]) for field in range(3)
        )
        names = [name for part in parts for name in part[3]]
        kinds = list(dict.fromkeys(names))
        if not names:
            return torch.zeros(0)
        task = torch.tensor([kinds.index(name) for name in names])
        seen = success & ~empty
        lacking = [index for index in range(len(kinds)) if not bool((seen & (task == index)).any())]
        references = {
            index: self.bank.kept[kinds[index]]
            for index in lacking
            if self.config.no_success != "zero" and kinds[index] in self.bank.kept
        }
        judged = score_progress(
            embedding,
            success,
            task,
            self.config.variant,
            empty=empty,
            references=references,
            space=self.config.space,
        )
        self._note(judged, kinds, references)
        for index, name in enumerate(kinds):
            self.bank.add(name, embedding[seen & (task == index)])
        mine = sum(len(part[3]) for part in parts[: self.rank])
        return judged.reward[mine : mine + len(ended.task)]

    def _note(self, judged: Progress, kinds: list[str], references: dict[int, Tensor]) -> None:
        self.report = {kinds[index]: report for index, report in judged.tasks.items()}
        for name, report in self.report.items():
            source = "bank" if kinds.index(name) in references else "batch"
            self.counts["judged"] += 1
            self.counts["from_bank"] += source == "bank"
            self.counts["no_reference"] += not report.clusters
            self.counts["fallback"] += "fallback" in report.method
            LOG.log(
                self._level(name, report),
                "srpo %s: %d successes, %d failures, %d references of the %s, centres %d by %s",
                name,
                report.successes,
                report.failures,
                report.references,
                source,
                report.clusters,
                report.method,
            )

    def _level(self, task: str, report: TaskReport) -> int:
        """A task's first fallback is a warning, seen without any set-up of logs."""
        if "fallback" not in report.method or task in self._said or self.rank:
            return logging.INFO
        self._said.add(task)
        return logging.WARNING

    # ------------------------------------------------------------------ exact resume

    def learned(self) -> dict[str, Any]:
        """Copies of the bank's successes, and the counts."""
        bank = {task: rows.clone() for task, rows in self.bank.kept.items()}
        return {"bank": bank, "counts": dict(self.counts)}

    def take_learned(self, learned: dict[str, Any]) -> None:
        """Judge by the successes of :meth:`learned` where a batch has none."""
        self.bank.kept = dict(learned["bank"])
        self.counts = Counter(learned["counts"])

    def state_dict(self) -> dict[str, Any]:
        """The bank, the frames of open episodes, and the counts."""
        frames = self._open
        kept = None
        if frames is not None:
            names = ("step", "env", "episode", "final")
            kept = {"views": dict(frames.views), **{name: getattr(frames, name) for name in names}}
        # Flat, so that no axis is taken for one of environments where a run is cut anew.
        bank = {
            task: {"rows": rows.flatten(), "dim": rows.shape[1]}
            for task, rows in self.bank.kept.items()
        }
        return {"bank": bank, "open": kept, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.bank.kept = {
            task: saved["rows"].reshape(-1, saved["dim"]).clone()
            for task, saved in state["bank"].items()
        }
        self._open = None if state["open"] is None else Frames(**state["open"])
        # Checkpoints of earlier versions hold no counts: those since the resume are then told.
        self.counts = Counter({**self.counts, **state.get("counts", {})})


def clips_of(frames: Frames, episodes: list[int]) -> list[Clip]:
    """The frames of each episode in order, keyed by the episode's own id."""
    # Within a chunk of actions the last frame of an episode shares its step with earlier ones.
    order = torch.argsort(2 * frames.episode + frames.final.long(), stable=True)
    ids, counts = frames.episode[order].unique_consecutive(return_counts=True)
    ends = counts.cumsum(0)
    where = {
        episode: order[end - count : end]
        for episode, count, end in zip(ids.tolist(), counts.tolist(), ends.tolist(), strict=True)
    }
    none = torch.zeros(0, dtype=torch.int64)
    return [
        {view: images[where.get(episode, none)] for view, images in frames.views.items()}
        for episode in episodes
    ]


def make_srpo_reward(
    config: SRPOConfig, stride: int, device: str, gather: Gather | None = None, rank: int = 0
) -> SRPOReward:
    """The reward that settings describe, its bank seeded by the demonstrations if any.

    ``gather`` and ``rank`` are those of :class:`SRPOReward`; None is a run of one process.

    Raises:
        CheckpointError: the encoder cannot be loaded.
        StoreError: the demonstrations cannot be read, or hold no success.
    """
    from robo.perception.video import load_video_encoder

    encoder = load_video_encoder(config.encoder, config.views, device)
    size = getattr(encoder, "image_size", None)
    reward = SRPOReward(encoder, config, stride, size, gather or (lambda value: [value]), rank)
    if config.demonstrations is not None:
        from robo.data import open_store

        store = open_store(config.demonstrations)
        views = list(encoder.views)
        reward.seed(store.read(index, views) for index in range(len(store)))
    return reward
