"""All frames of a store in one array, with the progress label of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError, StoreError
from robo.perception.augment import pad_edges
from robo.perception.views import stack_views
from robo.rewards.grm.labels import LabelConfig, Labeller, is_labelled
from robo.rollout import Episode


@dataclass
class FrameBank:
    """F frames of D episodes, in the order of the episodes and of time."""

    padded: np.ndarray
    """uint8 ``[F, V, H+2m, W+2m, 3]``: edges repeated by the margin m of the random shift."""
    margin: int
    """m in pixels."""
    views: tuple[str, ...]
    """Camera roles, V of them."""
    label: np.ndarray
    """float32 ``[F]``."""
    episode: np.ndarray
    """int64 ``[F]``: index of the episode."""
    step: np.ndarray
    """int64 ``[F]``: state index."""
    first: np.ndarray
    """int64 ``[D]``: row of each episode's first frame."""
    count: np.ndarray
    """int64 ``[D]``: its number of frames."""
    demos: np.ndarray
    """int64: indices of the demonstrations."""
    failures: np.ndarray
    """int64: indices of the failures."""
    labeller: Labeller
    """Where the labels come from."""
    task: str
    """Registry id of the one task."""
    instruction: str
    """The task in words."""
    left_out: int = 0
    """Failures without a progress ceiling."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""
        height, width = self.padded.shape[2:4]
        return int(height) - 2 * self.margin, int(width) - 2 * self.margin

    @classmethod
    def of(
        cls,
        episodes: Iterable[Episode],
        views: Sequence[str],
        labels: LabelConfig | None = None,
        margin: int = 2,
    ) -> FrameBank:
        """Read every labelled episode's frames.

        Raises:
            StoreError: if there are no episodes, no demonstration, no frames, several tasks, or
                labels that cannot be made.
            RoboError: if a view is missing or sizes differ.
        """
        given = list(episodes)
        if not given:
            store = getattr(episodes, "path", "that was given")
            raise StoreError(
                f"the episode store {store} is empty, expected at least one demonstration: record "
                "some with `robo collect`"
            )
        kept = [episode for episode in given if is_labelled(episode)]
        labeller = Labeller.of(kept, labels)
        tasks = sorted({episode.info.task for episode in kept})
        if len(tasks) > 1:
            raise StoreError(f"a GRM is fitted on one task, the store has {tasks}; choose one")
        images, rows, size = [], [], None
        for episode in kept:
            images.append(frames_of(episode, views, size))
            size = images[-1].shape[2], images[-1].shape[3]
            rows.append(labeller.at_frames(episode))
        count = np.array([len(row) for row in rows], dtype=np.int64)
        success = np.array([episode.success for episode in kept], dtype=bool)
        steps = [np.asarray(episode.frame_step, dtype=np.int64) for episode in kept]
        return cls(
            padded=np.concatenate([pad_edges(image, margin) for image in images]),
            margin=margin,
            views=tuple(views),
            label=np.concatenate(rows),
            episode=np.repeat(np.arange(len(kept)), count),
            step=np.concatenate(steps),
            first=np.cumsum(count) - count,
            count=count,
            demos=np.flatnonzero(success),
            failures=np.flatnonzero(~success),
            labeller=labeller,
            task=tasks[0],
            instruction=kept[int(np.argmax(success))].info.instruction,
            left_out=len(given) - len(kept),
        )

    def reference_frames(self, episodes: np.ndarray) -> dict[str, dict[str, Tensor]]:
        """First (``start``) and last (``goal``) frames of episodes, uint8 ``[G, H, W, 3]``."""
        at = {
            "start": self.first[episodes],
            "goal": self.first[episodes] + self.count[episodes] - 1,
        }
        height, width = self.size
        edge = self.margin
        inner = self.padded[:, :, edge : edge + height, edge : edge + width]
        return {
            kind: {
                view: torch.from_numpy(np.ascontiguousarray(inner[rows, index]))
                for index, view in enumerate(self.views)
            }
            for kind, rows in at.items()
        }


def frames_of(
    episode: Episode, views: Sequence[str], size: tuple[int, int] | None = None
) -> np.ndarray:
    """uint8 ``[F, V, H, W, 3]`` of an episode that shows its first and last state.

    Raises:
        StoreError: if it has no frames, or its frame rows do not run from state 0 to state L.
        RoboError: if a view is missing or of another size.
    """
    if not episode.frames or episode.frame_step is None or len(episode.frame_step) == 0:
        raise StoreError(
            f"an episode of {episode.info.task} has no camera frames; collect it again with the "
            f"views {list(views)}"
        )
    step = np.asarray(episode.frame_step)
    if int(step[0]) != 0 or int(step[-1]) != len(episode) or (np.diff(step) <= 0).any():
        raise StoreError(
            f"frame rows of an episode of {len(episode)} steps show states {step[0]} to "
            f"{step[-1]}, expected increasing ones from 0 to {len(episode)}; collect it again"
        )
    images = stack_views(episode.frames, views, size).numpy()
    if len(images) != len(step):
        raise RoboError(
            f"an episode has {len(images)} camera frames but {len(step)} frame steps; it is "
            "damaged: drop it"
        )
    return images
