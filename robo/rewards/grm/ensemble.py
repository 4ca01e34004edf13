"""A small ensemble of GRMs: its potential is the lower bound of what the members agree on.

A policy that has found a flaw of one model drives frames where that model was never trained, and
there the members disagree: mean minus k standard deviations pays little for what only some of them
take for progress.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.anchors import NEEDS, Hops
from robo.rewards.grm.potential import AnyGRM, FrameScorer, for_task, make_scorer, tasks_of
from robo.storage import write_bytes

SPREAD = 1.0
"""Standard deviations below the mean."""


class EnsembleScorer:
    """Scores frames by several models at once (implements ``FrameScorer``).

    A row holds the members' rows side by side. Hops are combined one by one: the mean minus
    ``spread`` population standard deviations, at least -1. Where a member's answer is invalid the
    others decide; where all are, the hop is.
    """

    def __init__(self, members: Sequence[FrameScorer], spread: float) -> None:
        """Combine ``members``, which read the same views.

        Raises:
            RoboError: no member, members of different views, sizes or modes, a negative spread.
        """
        if not members:
            raise RoboError("an ensemble needs at least one GRM; give two or more")
        if not spread >= 0:
            raise RoboError(f"ensemble spread is {spread}, expected at least 0")
        kinds = {(member.views, member.size, member.mode) for member in members}
        if len(kinds) > 1:
            raise RoboError(
                f"the GRMs of the ensemble differ in (views, size, mode): {sorted(map(str, kinds))}"
                "; fit them on the same frames"
            )
        self.members, self.spread = list(members), spread
        self.views, self.size, self.mode = kinds.pop()
        self._widths = [member.empty().shape[1] for member in members]
        self.disagreement = 0.0

    def empty(self) -> Tensor:
        """Rows ``[0, E]``."""
        return torch.cat([member.empty() for member in self.members], dim=1)

    def encode(self, views: Mapping[str, Any]) -> Tensor:
        """Rows ``[M, E]``, the members' side by side."""
        return torch.cat([member.encode(views) for member in self.members], dim=1)

    def hops(self, embedding: Tensor, previous: Tensor, start: Tensor) -> Hops:
        """Lower bounds of the members' hops."""
        parts = [table.split(self._widths, dim=1) for table in (embedding, previous, start)]
        found = [member.hops(*(part[i] for part in parts)) for i, member in enumerate(self.members)]
        combined = {}
        for name in NEEDS[self.mode]:
            values = torch.stack([getattr(hops, name) for hops in found])
            combined[name], apart = lower_bound(values, self.spread)
            self.disagreement = apart
        return Hops(**combined)


def lower_bound(values: Tensor, spread: float) -> tuple[Tensor, float]:
    """Mean minus ``spread`` standard deviations over the first axis, of the finite values.

    Returns:
        ``[M]`` in [-1, 1], NaN where no value is finite; and the mean standard deviation.
    """
    mean = values.nanmean(dim=0)
    deviation = (values - mean).square().nanmean(dim=0).sqrt()
    apart = float(deviation.nanmean()) if bool(deviation.isfinite().any()) else 0.0
    return (mean - spread * deviation).clamp(-1.0, 1.0), apart


class EnsembleGRM:
    """Several fitted GRMs as one; each keeps its own references."""

    def __init__(self, members: Sequence[AnyGRM], spread: float = SPREAD) -> None:
        """Take over ``members``."""
        self.members, self.spread = list(members), spread

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks whose references every member has."""
        common = (
            set.intersection(*(set(tasks_of(one)) for one in self.members)) if self.members else ()
        )
        return tuple(sorted(common))

    @property
    def task(self) -> str | None:
        """The task that all members compare with; None where they differ."""
        named = {getattr(one, "task", None) for one in self.members}
        return named.pop() if len(named) == 1 else None

    def for_task(self, task: str) -> EnsembleGRM:
        """The members with the references of ``task``; their weights are shared, not copied.

        Raises:
            RoboError: a member of several tasks, none of them ``task``.
        """
        return EnsembleGRM([for_task(member, task) for member in self.members], self.spread)

    def scorer(self, mode: str, device: str | torch.device, max_batch: int) -> EnsembleScorer:
        """Score frames; see :class:`EnsembleScorer`."""
        scorers = [make_scorer(member, mode, device, max_batch) for member in self.members]
        return EnsembleScorer(scorers, self.spread)

    @staticmethod
    def write(folder: Path, members: Sequence[Path], spread: float = SPREAD) -> None:
        """Write a folder that names the members' folders.

        Raises:
            RoboError: full disk, missing permission.
        """
        description = {
            "format": 1,
            "kind": "ensemble_grm",
            "members": [_relative(Path(member), folder) for member in members],
            "spread": spread,
        }
        write_bytes(folder / "grm.json", (json.dumps(description, indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> EnsembleGRM:
        """Read what :meth:`write` wrote, and the members.

        Raises:
            CheckpointError: a folder that is missing or damaged, its own or a member's.
        """
        from robo.rewards.grm.folder import kind_of, load_model

        path = Path(folder) / "grm.json"
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            members = [Path(folder) / member for member in described["members"]]
            spread = float(described["spread"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({type(error).__name__}: {error}); write it anew with "
                "`robo fit grm --ensemble`"
            ) from error
        if any(kind_of(member) == "ensemble_grm" for member in members):
            raise CheckpointError(f"{path} names an ensemble as a member; name single GRMs")
        return cls([load_model(member, device) for member in members], spread)


def _relative(member: Path, folder: Path) -> str:
    """A member's folder, relative to the ensemble's where it lies inside."""
    member, folder = member.resolve(), folder.resolve()
    return str(member.relative_to(folder) if member.is_relative_to(folder) else member)
