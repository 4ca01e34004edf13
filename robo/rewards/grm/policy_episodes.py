"""The policy's own episodes as a reward model sees them: a bounded buffer filled from rollouts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.perception.views import stack_views
from robo.rollout import Rollout

Outcome = Callable[[Rollout, int], bool]
"""From a rollout and the frame row that shows an episode's end to whether it succeeded."""


@dataclass(frozen=True)
class PolicyEpisode:
    """Frames of one ended episode."""

    images: Tensor
    """uint8 ``[F, V, H, W, 3]``, in the order of time; the last shows the end."""
    success: bool
    """Its outcome."""
    ceiling: float | None = None
    """Progress at most, where a person has marked it."""


class PolicyEpisodes:
    """Gathers episodes over rollouts; the newest ``capacity`` ended ones are kept."""

    def __init__(self, views: tuple[str, ...], size: tuple[int, int], capacity: int) -> None:
        """Keep frames of ``views`` (height, width) ``size``."""
        self.views, self.size, self.capacity = views, size, capacity
        self.ended: deque[PolicyEpisode] = deque(maxlen=capacity)
        self.total = 0
        """Episodes ended so far, those that were dropped included."""
        self._open: dict[int, tuple[list[Tensor], bool]] = {}

    def add(self, rollout: Rollout, outcome: Outcome | None = None) -> None:
        """Take over the frames of one rollout; call it for every rollout, in order.

        Args:
            rollout: with frames.
            outcome: whether the episode that ends in a frame row succeeded; None asks the rollout.
        """
        frames = rollout.frames
        if frames is None or len(frames) == 0:
            return
        images = stack_views(frames.views, self.views, self.size).cpu()
        steps, _ = rollout.shape
        rows = zip(
            frames.step.tolist(),
            frames.env.tolist(),
            frames.episode.tolist(),
            frames.final.tolist(),
            strict=True,
        )
        seen_before = {episode for episode, (_, at_end) in self._open.items() if at_end}
        for i, (step, env, episode, final) in enumerate(rows):
            kept, _ = self._open.setdefault(episode, ([], False))
            # The frame at a cut comes in both rollouts.
            if not (step == 0 and episode in seen_before):
                kept.append(images[i].clone())
            self._open[episode] = (kept, step == steps)
            if final:
                success = step > 0 and (
                    outcome(rollout, i) if outcome else bool(rollout.success[step - 1, env])
                )
                self._end(episode, success)
        alive = set(rollout.episode[-1][~rollout.done[-1]].tolist())
        alive |= set(frames.episode[(frames.step == steps) & ~frames.final].tolist())
        touched = set(frames.episode.tolist())
        self._open = {
            # An episode without a frame in this rollout has none at its end either.
            episode: (kept, at_end and episode in touched)
            for episode, (kept, at_end) in self._open.items()
            if episode in alive
        }

    def _end(self, episode: int, success: bool) -> None:
        kept, _ = self._open.pop(episode)
        if len(kept) > 1:
            self.ended.append(PolicyEpisode(torch.stack(kept), success))
            self.total += 1

    def numbered(self) -> Iterator[tuple[int, PolicyEpisode]]:
        """The kept episodes, each with a number that it keeps for good."""
        return enumerate(self.ended, self.total - len(self.ended))

    def open_ends(self) -> dict[int, Tensor]:
        """First and newest frame, uint8 ``[2, V, H, W, 3]``, of each open episode."""
        return {
            episode: torch.stack([kept[0], kept[-1]])
            for episode, (kept, _) in self._open.items()
            if kept
        }

    def mark(self, index: int, ceiling: float) -> None:
        """Note what a person says of an ended episode: it reached ``ceiling`` at most."""
        old = self.ended[index]
        self.ended[index] = PolicyEpisode(old.images, old.success, float(ceiling))

    def count(self, success: bool) -> int:
        """Ended episodes of an outcome."""
        return sum(episode.success == success for episode in self.ended)

    def state_dict(self) -> dict[str, Any]:
        """All frames as tensors."""
        ended, going = list(self.ended), list(self._open.items())
        shape = (0, len(self.views), *self.size, 3)
        empty = torch.zeros(shape, dtype=torch.uint8)
        return {
            "images": torch.cat([empty, *(episode.images for episode in ended)]),
            "count": torch.tensor([len(e.images) for e in ended], dtype=torch.int64),
            "success": torch.tensor([e.success for e in ended], dtype=torch.bool),
            "total": self.total,
            "ceiling": torch.tensor([torch.nan if e.ceiling is None else e.ceiling for e in ended]),
            "open_images": torch.cat([empty, *(torch.stack(kept) for _, (kept, _) in going)]),
            "open_count": torch.tensor([len(kept) for _, (kept, _) in going], dtype=torch.int64),
            "open_episode": torch.tensor([name for name, _ in going], dtype=torch.int64),
            "open_at_end": torch.tensor([end for _, (_, end) in going], dtype=torch.bool),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.ended.clear()
        parts = state["images"].split(state["count"].tolist())
        for images, success, ceiling in zip(
            parts, state["success"].tolist(), state["ceiling"].tolist(), strict=True
        ):
            mark = None if np.isnan(ceiling) else ceiling
            self.ended.append(PolicyEpisode(images.clone(), bool(success), mark))
        # Checkpoints of before episodes had numbers lack the total.
        self.total = int(state.get("total", len(self.ended)))
        parts = state["open_images"].split(state["open_count"].tolist())
        self._open = {
            int(name): (list(images.clone()), bool(end))
            for name, images, end in zip(
                state["open_episode"].tolist(), parts, state["open_at_end"].tolist(), strict=True
            )
        }
