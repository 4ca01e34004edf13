"""Any backbone as the scorer of a potential: frame rows in, hops by perspective out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.errors import RoboError
from robo.perception.views import stack_views
from robo.rewards.grm.anchors import NEEDS, Hops, check_mode
from robo.rewards.grm.backbone import NO_FRAME, Backbone, PairBatch, in_batches
from robo.rewards.grm.references import References, usable_mode


class PairScorer:
    """Asks a backbone for the hops that a progress mode needs.

    What :class:`robo.rewards.grm.potential.GRMPotential` keeps of an open episode (its first and
    its previous frame) are the pictures themselves, one row of bytes each, so that a resumed run
    asks the same questions. Equal frames are sent to the backbone once.
    """

    def __init__(
        self,
        backbone: Backbone,
        references: References,
        instruction: str,
        views: tuple[str, ...],
        size: tuple[int, int],
        mode: str,
    ) -> None:
        """Score with ``backbone``.

        Args:
            backbone: any progress model.
            references: START and GOAL; the first picture of each is shown. GOAL may be missing
                for modes that do not compare with it.
            instruction: the task in words.
            views: camera roles of the frames, in the order of a row.
            size: their (height, width).
            mode: a :data:`robo.rewards.grm.anchors.AnchorMode`.

        Raises:
            RoboError: an unknown mode, no START picture, no GOAL picture where one is needed.
        """
        check_mode(mode)
        if not references.get("start"):
            raise RoboError(
                "there is no reference START picture; give the first frame of a demonstration"
            )
        self.mode = usable_mode(mode, references, bool(references.get("goal")))
        self.backbone, self.instruction = backbone, instruction
        self.views, self.size = views, size
        self._reference = {
            kind: self._row({view: image[:1] for view, image in shown.items()})
            for kind, shown in references.items()
            if shown
        }

    @property
    def state_size(self) -> int:
        """Bytes of one frame row."""
        return len(self.views) * prod(self.size) * 3

    def _row(self, pictures: Mapping[str, Tensor]) -> Tensor:
        """A reference as a frame row; views that it lacks are taken from its front view."""
        front = pictures.get("front", next(iter(pictures.values())))
        shown = {view: fitted(pictures.get(view, front), self.size) for view in self.views}
        return self.encode(shown)[0]

    def empty(self) -> Tensor:
        """Frame rows ``[0, B]``."""
        return torch.zeros((0, self.state_size), dtype=torch.uint8)

    def encode(self, views: Mapping[str, Any]) -> Tensor:
        """Frames ``[M, H, W, 3]`` by view to rows of bytes ``[M, B]``."""
        return stack_views(views, self.views, self.size).flatten(1).contiguous().cpu()

    def hops(self, embedding: Tensor, previous: Tensor, start: Tensor) -> Hops:
        """Hops to M frames; NaN where the backbone's answer was invalid.

        Args:
            embedding: ``[M, B]``, the frames.
            previous: ``[M, B]``, each one's previous frame.
            start: ``[M, B]``, its episode's first frame.
        """
        table, place = unique_rows(
            [embedding, previous, start, *map(_one, self._reference.values())]
        )
        kinds = list(self._reference)
        reference = {kind: place[3 + i][0] for i, kind in enumerate(kinds)}
        none = torch.full((len(embedding),), NO_FRAME)
        goal = none if "goal" not in reference else reference["goal"].expand(len(embedding))
        before = {"incremental": place[1], "forward": place[2], "backward": goal}
        wanted = NEEDS[self.mode]
        count = len(embedding)
        pairs = PairBatch(
            self._frames(table),
            torch.cat([before[name] for name in wanted]),
            place[0].repeat(len(wanted)),
            reference["start"].expand(count * len(wanted)),
            goal.repeat(len(wanted)),
            (self.instruction,) * (count * len(wanted)),
        )
        found = in_batches(self.backbone, pairs).float().cpu()
        return (
            Hops(**dict(zip(wanted, found.split(count), strict=True)))
            if count
            else Hops(**{name: torch.zeros(0) for name in wanted})
        )

    def _frames(self, table: Tensor) -> dict[str, Tensor]:
        """Rows of bytes as pictures by view."""
        pictures = table.reshape(len(table), len(self.views), *self.size, 3)
        return {view: pictures[:, i] for i, view in enumerate(self.views)}


def _one(row: Tensor) -> Tensor:
    return row[None]


def unique_rows(parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The different rows of several tables ``[M_i, B]``, and each table as rows of them."""
    seen: dict[bytes, int] = {}
    kept: list[Tensor] = []
    places = []
    for part in parts:
        rows = np.empty(len(part), dtype=np.int64)
        for i, row in enumerate(part):
            digest = hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest()
            if digest not in seen:
                seen[digest] = len(kept)
                kept.append(row)
            rows[i] = seen[digest]
        places.append(torch.from_numpy(rows))
    return torch.stack(kept), places


def fitted(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 ``[M, H, W, 3]`` at another size, by area averaging; as it is where it fits."""
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    scaled = torch.nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), size, mode="area")
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
