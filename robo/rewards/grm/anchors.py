"""Progress of frame rows from hops: incremental, forward, backward, and fused.

Robo-Dopamine (arXiv 2512.23703) equations 4 to 11: the incremental view asks for the hop from the
previous frame, the forward view from the episode's start, the backward view from the goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.progress import advance, fuse, fuse_consistent

AnchorMode = Literal["backward", "forward", "incremental", "mean", "consistent"]
"""``mean`` is the paper's fused progress, ``consistent`` its consistency-weighted one."""

NEEDS: dict[str, tuple[str, ...]] = {
    "backward": ("backward",),
    "forward": ("forward",),
    "incremental": ("incremental",),
    "mean": ("incremental", "forward", "backward"),
    "consistent": ("incremental", "forward", "backward"),
}
"""Which hops a mode asks the model for."""


@dataclass
class Hops:
    """Hops to M frames; those that the mode does not need are None. Non-finite is invalid."""

    incremental: Tensor | None = None
    """``[M]`` from the episode's previous frame; 0 at its first."""
    forward: Tensor | None = None
    """``[M]`` from the episode's first frame; 0 at the first itself."""
    backward: Tensor | None = None
    """``[M]`` from the GOAL reference, negative."""

    def rows(self, index: Tensor) -> Hops:
        """The hops at ``index``."""
        return Hops(
            *(
                None if part is None else part[index]
                for part in (self.incremental, self.forward, self.backward)
            )
        )


def check_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        RoboError: listing the modes.
    """
    if mode not in NEEDS:
        raise RoboError(
            f"unknown progress mode {mode!r}; choose one of {list(get_args(AnchorMode))}"
        )


def anchored_progress(mode: str, previous: Tensor, hops: Hops) -> tuple[Tensor, Tensor]:
    """Progress of the next frame of P episodes.

    Args:
        mode: an :data:`AnchorMode`.
        previous: ``[P]``, progress of each episode's previous frame (0 before the first).
        hops: of this frame, those in ``NEEDS[mode]``.

    Returns:
        Progress ``[P]`` in [0, 1], and bool ``[P]`` of invalid ones: where a hop is not finite,
        progress stays at ``previous`` (a parse failure or an overflow is no evidence of 0).
    """
    check_mode(mode)
    parts: dict[str, Tensor] = {name: _need(hops, name) for name in NEEDS[mode]}
    if mode == "backward":
        value = (1.0 + parts["backward"]).clamp(0.0, 1.0)
    elif mode == "forward":
        value = parts["forward"].clamp(0.0, 1.0)
    elif mode == "incremental":
        value = advance(previous, parts["incremental"])
    elif mode == "mean":
        following = advance(previous, parts["incremental"])
        value = fuse(following, parts["forward"], 1.0 + parts["backward"])
    else:
        value = fuse_consistent(
            previous, parts["incremental"], parts["forward"], 1.0 + parts["backward"]
        )
    finite = torch.stack([part.isfinite() for part in parts.values()]).all(dim=0)
    return torch.where(finite, value.to(previous.dtype), previous), ~finite


def _need(hops: Hops, name: str) -> Tensor:
    """The hop of that name, which the mode needs."""
    part = getattr(hops, name)
    if part is None:
        raise RoboError(f"the progress mode needs {name} hops, which were not computed")
    return part


def progress_of_sequence(mode: str, hops: Hops) -> tuple[Tensor, Tensor]:
    """Progress ``[M]`` of one episode's frames in order, and which were invalid (bool ``[M]``)."""
    given = next(
        part for part in (hops.backward, hops.forward, hops.incremental) if part is not None
    )
    previous, progress, invalid = given.new_zeros(1), [], []
    for index in range(len(given)):
        row = torch.tensor([index], device=given.device)
        previous, bad = anchored_progress(mode, previous, hops.rows(row))
        progress.append(previous)
        invalid.append(bad)
    return torch.cat(progress), torch.cat(invalid)
