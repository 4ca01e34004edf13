"""Settings of the compact video encoder and of its training, apart from torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from robo.errors import RoboError


@dataclass(frozen=True)
class CompactVideoConfig:
    """Shape of the network."""

    views: tuple[str, ...] = ("front",)
    """Camera roles that it reads."""
    height: int = 64
    """Image height in pixels, a multiple of ``patch``."""
    width: int = 64
    """Image width in pixels, a multiple of ``patch``."""
    frames: int = 16
    """Frames sampled from a rollout, a multiple of ``tubelet``."""
    tubelet: int = 2
    """Frames in a token."""
    patch: int = 16
    """Height and width of a token, pixels."""
    size: int = 96
    """Width of the encoder."""
    depth: int = 3
    """Its layers."""
    heads: int = 4
    """Its attention heads."""
    predictor_size: int = 64
    """Width of the predictor."""
    predictor_depth: int = 1
    """Its layers."""
    segments: int = 1
    """Parts of the rollout whose tokens are averaged each by itself and joined: 1 is the plain
    mean over time of V-JEPA 2; more keep the order of what happened, at the price of progress that
    jumps while a rollout grows."""
    grid: int = 4
    """Cells per side of the image, each averaged by itself and joined: 1 is V-JEPA 2's plain mean
    over space; more keep where things are. No more than there are tokens."""

    order: bool = False
    """Whether embeddings end with a number that says how much of a success has passed."""

    def __post_init__(self) -> None:
        """Refuse a network that cannot be built."""
        if not self.views:
            raise RoboError("the video encoder's views are empty; name at least one camera role")
        if self.height % self.patch or self.width % self.patch or self.frames % self.tubelet:
            raise RoboError(
                f"images of {self.height}x{self.width} pixels and {self.frames} frames do not "
                f"divide into tokens of {self.patch}x{self.patch} pixels and {self.tubelet} "
                "frames; choose another patch, tubelet or number of frames"
            )
        if self.frames == self.tubelet and (self.height, self.width) == (self.patch, self.patch):
            raise RoboError(
                f"a clip of {self.frames} frames of {self.height}x{self.width} pixels is one token "
                "a view, of which nothing can be hidden; lower patch or tubelet"
            )
        if self.grid < 1:
            raise RoboError(f"grid is {self.grid}, expected at least 1 cell per side of the image")
        if (self.frames // self.tubelet) % self.segments:
            raise RoboError(
                f"{self.frames // self.tubelet} tokens in time do not divide into "
                f"{self.segments} segments"
            )
        if self.size % self.heads or self.predictor_size % self.heads or self.size % 2:
            raise RoboError(
                f"sizes {self.size} and {self.predictor_size} must be multiples of the "
                f"{self.heads} heads"
            )


@dataclass(frozen=True)
class FitVideoConfig:
    """How the encoder is trained: masked latent prediction on stored episodes."""

    iterations: int = 300
    """Training steps."""
    batch: int = 16
    """Clips per step."""
    learning_rate: float = 1e-3
    """Peak of AdamW's rate."""
    weight_decay: float = 0.04
    """Of AdamW."""
    momentum: tuple[float, float] = (0.99, 0.9995)
    """Of the target encoder's moving average, at the start and at the end."""
    mask: float = 0.7
    """Share of the tokens that is hidden and predicted."""
    future: float = 0.5
    """Share of the steps that hide everything after a moment, not places throughout."""
    partial: float = 0.5
    """Share of the clips that show a part of their episode, as long as a fifth at least."""
    order: float = 0.0
    """Weight of one number more in embeddings, by which videos are ordered by how much of a
    success they show: the distance that it puts between the beginning and the end of a success, in
    deviations of the embedding (3 does well). It is fitted to the successes among the episodes; 0
    leaves it out, and then outcomes are not read."""
    seed: int = 0
    """Decides initial weights, clips and masks."""
    device: str = "cpu"
    """Torch device of the training."""
    network: CompactVideoConfig = field(default_factory=CompactVideoConfig)
    """Shape of the network; images must be stored at its size."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.iterations < 1 or self.batch < 2:
            raise RoboError(
                f"iterations {self.iterations} must be at least 1 and batch {self.batch} at least 2"
            )
        for name in ("mask", "future", "partial"):
            if not 0 <= getattr(self, name) <= 1:
                raise RoboError(f"{name} is {getattr(self, name)}, expected a share in [0, 1]")
        if not 0 <= self.order < math.inf:
            raise RoboError(f"order is {self.order}, expected a weight of at least 0")
        if not 0.1 <= self.mask <= 0.9:
            raise RoboError(f"mask is {self.mask}, expected a share from 0.1 to 0.9")
