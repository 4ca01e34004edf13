"""One interface for every progress model: pairs of camera frames in, signed hops out.

The compact network, a vision-language model and a model behind an HTTP endpoint all answer
``hops(pairs) -> Tensor``. Frames come as one table, and pairs as rows of it: a frame that takes
part in several pairs is passed, encoded or sent once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rollout import CAMERA_ROLES

INVALID = float("nan")
"""A hop that the model did not give. It holds the progress where it was; it never counts 0."""

NO_FRAME = -1
"""Row of a reference that is missing."""

SLOTS = ("front", "left_wrist", "right_wrist")
"""Camera roles of the published format, in order."""


@dataclass(frozen=True)
class PairBatch:
    """P questions about F frames: how far is AFTER from BEFORE, between START and GOAL?"""

    frames: Mapping[str, Tensor]
    """Camera role to uint8 ``[F, H, W, 3]``; roles may differ in size."""
    before: Tensor
    """int64 ``[P]``, row of the BEFORE frame."""
    after: Tensor
    """int64 ``[P]``, row of the AFTER frame."""
    start: Tensor
    """int64 ``[P]``, row of the reference START; -1 where there is none."""
    goal: Tensor
    """int64 ``[P]``, row of the reference GOAL; -1 where there is none."""
    instruction: tuple[str, ...]
    """The task in words, P times."""

    def __len__(self) -> int:
        """Number of pairs P."""
        return int(self.before.shape[0])

    def check(self) -> PairBatch:
        """Return self where rows and shapes fit.

        Raises:
            RoboError: naming what does not.
        """
        if not self.frames:
            raise RoboError("pairs without camera views; give at least the view 'front'")
        rows = {name: int(image.shape[0]) for name, image in self.frames.items()}
        if len(set(rows.values())) > 1:
            raise RoboError(f"views have different numbers of frames {rows}, expected the same")
        for name, image in self.frames.items():
            if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[-1] != 3:
                raise RoboError(
                    f"view {name!r} is {image.dtype} {tuple(image.shape)}, expected uint8 "
                    "[frames, height, width, 3]"
                )
            if min(image.shape[1:3]) < 2:
                raise RoboError(
                    f"view {name!r} has images of {image.shape[1]}x{image.shape[2]} pixels; they "
                    "are truncated or empty, expected whole pictures"
                )
        count = next(iter(rows.values()))
        for name in ("before", "after", "start", "goal"):
            index, least = getattr(self, name), 0 if name in ("before", "after") else NO_FRAME
            if len(index) != len(self):
                raise RoboError(f"pairs.{name} has {len(index)} rows, expected {len(self)}")
            if len(index) and not (least <= int(index.min()) and int(index.max()) < count):
                raise RoboError(
                    f"pairs.{name} names rows {int(index.min())} to {int(index.max())}, but there "
                    f"are {count} frames"
                )
        if len(self.instruction) != len(self):
            raise RoboError(f"{len(self.instruction)} instructions for {len(self)} pairs")
        return self

    def rows(self, index: slice) -> PairBatch:
        """Some of the pairs, with the same table of frames."""
        return PairBatch(
            self.frames,
            self.before[index],
            self.after[index],
            self.start[index],
            self.goal[index],
            self.instruction[index],
        )


@runtime_checkable
class Backbone(Protocol):
    """Any progress model."""

    views: tuple[str, ...]
    """Camera roles that it reads; views that it does not know are ignored."""
    size: tuple[int, int]
    """(height, width) at which the simulator should render for it."""
    max_pairs: int
    """Pairs per call that it is comfortable with; callers cut larger batches."""

    def hops(self, pairs: PairBatch) -> Tensor:
        """Signed hops float32 ``[P]`` in [-1, 1] on the CPU; NaN where the answer was invalid."""
        ...


def slot_view(slot: str, views: Sequence[str]) -> str:
    """The camera that fills a slot of the published format.

    A single ``wrist`` camera fills both wrist slots; where there is none, the front view is shown
    again, as the published single-view evaluation does.

    Raises:
        RoboError: if there is no front view.
    """
    if slot in views:
        return slot
    if slot != "front" and "wrist" in views:
        return "wrist"
    if "front" in views:
        return "front"
    raise RoboError(
        f"the eight-image format needs the camera view 'front', there are {sorted(views)}; render "
        "it too"
    )


def eight_images(views: Sequence[str], slots: Sequence[str] = SLOTS) -> list[tuple[str, str]]:
    """(role, camera) of the eight images, in the published order.

    Reference START and GOAL are shown from the front only; then BEFORE and AFTER from the front,
    the left and the right wrist. Roles are the fields of :class:`PairBatch`.

    Args:
        views: cameras that there are.
        slots: cameras wanted in the three places; the first takes the place of the front.
    """
    shown = [slot_view(slot, views) for slot in slots]
    front = shown[0]
    return [
        ("start", front),
        ("goal", front),
        *(("before", view) for view in shown),
        *(("after", view) for view in shown),
    ]


def check_slots(slots: Sequence[str]) -> None:
    """Refuse anything but three camera roles.

    Raises:
        RoboError: naming them.
    """
    if len(slots) != len(SLOTS) or any(slot not in CAMERA_ROLES for slot in slots):
        raise RoboError(
            f"slots {list(slots)} must be three camera roles of {list(CAMERA_ROLES)}: those shown "
            "in the places of the front, the left wrist and the right wrist"
        )


def in_batches(backbone: Backbone, pairs: PairBatch, most: int | None = None) -> Tensor:
    """Hops ``[P]`` of any number of pairs, at most ``most`` (or ``max_pairs``) a call."""
    size = max(1, min(most or backbone.max_pairs, backbone.max_pairs))
    parts = [
        backbone.hops(pairs.rows(slice(first, first + size)))
        for first in range(0, len(pairs), size)
    ]
    return torch.cat(parts) if parts else torch.zeros(0)


def counts(backbone: Any) -> dict[str, int]:
    """What a backbone counts about itself (cache hits, failed requests), by name."""
    return dict(getattr(backbone, "counts", {}))
