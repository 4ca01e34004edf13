"""The compact General Reward Model: a small multi-view network that predicts signed hops.

Robo-Dopamine (arXiv 2512.23703, section 3.1) asks a vision-language model how far an AFTER state
lies from a BEFORE state, given reference START and GOAL images. This network answers the same
question for one task, small enough to be trained on a CPU in a minute: every frame is encoded
once, and each pair costs one look at two rows of a table.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import RoboError
from robo.perception.spatial_softmax import SpatialSoftmax
from robo.perception.views import blank_views, stack_views, to_float

MINIMUM_SIZE = 32


@dataclass(frozen=True)
class CompactGRMConfig:
    """Shape of the network."""

    views: tuple[str, ...] = ("front", "side", "wrist")
    """Camera roles that it reads, in order."""
    height: int = 64
    """Image height in pixels, at least 32."""
    width: int = 64
    """Image width in pixels, at least 32."""
    reference_views: tuple[str, ...] = ()
    """Views shown of reference START and GOAL; empty for all (the paper shows the front only)."""
    channels: tuple[int, int, int] = (16, 32, 32)
    """Channels of the three convolutions (strides 2, 2, 1); the last are the keypoints."""
    kernel: int = 5
    """Kernel of the first convolution; the others have 3."""
    embedding: int = 128
    """Size E of a frame's embedding."""
    hidden: int = 192
    """Width of the head's first layer."""

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built."""
        if not self.views or len(set(self.views)) != len(self.views):
            raise RoboError(f"GRM views {list(self.views)} must name one or more different cameras")
        if min(self.height, self.width) < MINIMUM_SIZE:
            raise RoboError(
                f"GRM image size {self.height}x{self.width} is too small; use at least "
                f"{MINIMUM_SIZE}x{MINIMUM_SIZE} pixels"
            )
        unknown = [view for view in self.reference_views if view not in self.views]
        if unknown:
            raise RoboError(
                f"GRM reference views {unknown} are not among its views {list(self.views)}"
            )


class ViewEncoder(nn.Module):
    """Convolutions of one camera view, then spatial softmax and maximum: ``[M, 3K]``."""

    def __init__(self, channels: tuple[int, int, int], kernel: int) -> None:
        """Make the layers, in channels-last memory, which is the faster one on a CPU."""
        super().__init__()
        first, second, third = channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, first, kernel, stride=2, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 3, padding=1),
        ).to(memory_format=torch.channels_last)
        self.keypoints = SpatialSoftmax()

    def forward(self, image: Tensor) -> Tensor:
        """``[M, 3, H, W]`` in [-1, 1) to ``[M, 3K]``."""
        return self.keypoints(self.convolutions(image))


class CompactGRM(nn.Module):
    """Frame embeddings, and signed hops in [-1, 1] between them.

    ``reference`` holds the START and GOAL frames that were chosen when the model was fitted:
    ``{"start" | "goal": {view: uint8 [G, H, W, 3]}}``. They are saved with the weights, so that a
    model folder is all that scoring needs.
    """

    def __init__(self, config: CompactGRMConfig | None = None) -> None:
        """Make a network with fresh weights (from torch's global generator)."""
        super().__init__()
        self.config = config = config or CompactGRMConfig()
        self.encoders = nn.ModuleList(
            ViewEncoder(config.channels, config.kernel) for _ in config.views
        )
        self.frame = nn.Sequential(
            nn.Linear(3 * config.channels[-1] * len(config.views), config.embedding),
            nn.LayerNorm(config.embedding),
            nn.SiLU(),
            nn.Linear(config.embedding, config.embedding),
        )
        # The head's first layer reads [before, after, after - before, start, goal]. It is linear,
        # so it is applied once to each frame of the table and summed per pair: 4,000 pairs of 168
        # frames then cost little more than the 168 frames.
        self.parts = nn.Linear(config.embedding, 5 * config.hidden)
        self.head = nn.Sequential(
            nn.SiLU(), nn.Linear(config.hidden, 64), nn.SiLU(), nn.Linear(64, 1), nn.Tanh()
        )
        self.task = ""
        self.instruction = ""
        self.summary: dict[str, Any] = {}
        self.reference: dict[str, dict[str, Tensor]] = {}
        self.tasks: dict[str, tuple[str, dict[str, dict[str, Tensor]]]] = {}

    def set_task(
        self, task: str, instruction: str, reference: dict[str, dict[str, Tensor]]
    ) -> None:
        """Add or replace a task's words and reference frames; the first one becomes current."""
        self.tasks[task] = (instruction, reference)
        if len(self.tasks) == 1:
            self.use_task(task)

    def use_task(self, task: str) -> None:
        """Compare with the references of ``task`` from now on.

        Raises:
            RoboError: a task that the model has no references of.
        """
        if task not in self.tasks:
            raise RoboError(
                f"the GRM has no reference frames of {task!r}, it has those of "
                f"{sorted(self.tasks)}; adapt it with `robo fit grm --adapt`"
            )
        self.task = task
        self.instruction, self.reference = self.tasks[task]

    def for_task(self, task: str) -> CompactGRM:
        """A model with the same weights (shared, not copied) and the references of ``task``.

        A model of one task only serves any task, as one that was fitted before tasks had names.

        Raises:
            RoboError: several tasks, none of them ``task``.
        """
        if task == self.task or len(self.tasks) <= 1:
            return self
        other = copy.copy(self)
        other.use_task(task)
        return other

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.parts.weight.device

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""
        return self.config.height, self.config.width

    def encode_float(self, images: Tensor) -> Tensor:
        """Scaled images ``[M, V, H, W, 3]`` (0 is a blank view) to embeddings ``[M, E]``."""
        features = [
            encoder(images[:, index].permute(0, 3, 1, 2))
            for index, encoder in enumerate(self.encoders)
        ]
        return self.frame(torch.cat(features, dim=1))

    def encode(self, views: Mapping[str, Tensor | np.ndarray], reference: bool = False) -> Tensor:
        """Embeddings of camera frames.

        Args:
            views: camera role to uint8 ``[M, H, W, 3]``; more roles than needed are ignored.
            reference: the frames are START or GOAL references, of which only
                ``config.reference_views`` are shown.

        Returns:
            float ``[M, E]`` on the model's device.

        Raises:
            RoboError: if a view is missing or of the wrong type or size.
        """
        images = stack_views(views, self.config.views, self.size)
        if reference and self.config.reference_views:
            images = blank_views(images, self.config.views, self.config.reference_views)
        images = images.to(self.device, non_blocking=True)
        features = [
            encoder(to_float(images[:, index])) for index, encoder in enumerate(self.encoders)
        ]
        return self.frame(torch.cat(features, dim=1))

    def roles(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What each row adds to the head's first layer as BEFORE, AFTER, START and GOAL.

        Args:
            embedding: ``[M, E]``.

        Returns:
            Four tensors ``[M, hidden]``.
        """
        before, after, difference, start, goal = self.parts(embedding).chunk(5, dim=-1)
        return before - difference, after + difference, start, goal

    def hops_from_roles(self, before: Tensor, after: Tensor, start: Tensor, goal: Tensor) -> Tensor:
        """Hops ``[P]`` from rows of :meth:`roles`, ``[P, hidden]`` or ``[1, hidden]`` each."""
        return self.head(before + after + start + goal).squeeze(-1)

    def hops(self, before: Tensor, after: Tensor, start: Tensor, goal: Tensor) -> Tensor:
        """Signed hops from BEFORE to AFTER.

        Args:
            before: embeddings ``[P, E]``.
            after: ``[P, E]``.
            start: of the reference START, ``[P, E]``, ``[1, E]`` or ``[E]``.
            goal: of the reference GOAL, as ``start``.

        Returns:
            ``[P]`` in [-1, 1]: the share of the remaining distance that was gained, or (negative)
            the share of the elapsed distance that was lost.
        """
        return self.hops_from_roles(
            self.roles(before)[0], self.roles(after)[1], self.roles(start)[2], self.roles(goal)[3]
        )

    def reference_embeddings(self) -> tuple[Tensor, Tensor]:
        """START and GOAL, each averaged over its stored frames: ``[E]`` and ``[E]``.

        Raises:
            RoboError: if the model holds no reference frames yet.
        """
        if not {"start", "goal"} <= self.reference.keys():
            raise RoboError(
                "the GRM holds no reference START and GOAL frames; fit it on demonstrations or "
                "set grm.reference first"
            )
        start, goal = (
            self.encode(self.reference[kind], reference=True).mean(dim=0)
            for kind in ("start", "goal")
        )
        return start, goal

    def parameter_count(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``grm.json`` into ``folder``, each atomically."""
        from robo.rewards.grm.storage import save_grm

        save_grm(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> CompactGRM:
        """Read what :meth:`save` wrote, in evaluation mode.

        Raises:
            CheckpointError: if the folder is missing, damaged or of another shape.
        """
        from robo.rewards.grm.storage import load_grm

        return load_grm(cls, Path(folder)).to(device)
