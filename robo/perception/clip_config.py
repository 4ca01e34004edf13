"""Which open_clip model looks at frames, and what it sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo.errors import RoboError
from robo.rollout import CAMERA_ROLES


class ClipConfigError(RoboError, ValueError):
    """Settings of an image-text model that cannot be."""


@dataclass(frozen=True)
class ClipConfig:
    """A contrastive image-text model of open_clip.

    The default is what VLM-RL uses (2.5 billion parameters, downloaded by open_clip).
    """

    model: str = "ViT-bigG-14"
    """Architecture by open_clip's name, or a folder with a model (robo fit clip writes one)."""
    pretrained: str = "laion2b_s39b_b160k"
    """Weights of a named architecture: a tag of open_clip, or a checkpoint file."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of weights and arithmetic; bf16 is what a recent GPU is fast with."""
    batch_size: int = 64
    """Most images that go through the model at once."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.model.strip():
            raise ClipConfigError(
                "the image-text model has no name: give an architecture of open_clip, such as "
                "ViT-B-32, or a folder that robo fit clip wrote"
            )
        if self.batch_size < 1:
            raise ClipConfigError(f"clip batch_size is {self.batch_size}, expected at least 1")


@dataclass(frozen=True)
class ImageSource:
    """From the simulator's camera to the square that the model sees."""

    view: str = ""
    """Camera role; empty takes bird for driving and front for manipulation."""
    height: int = 224
    """Rendered height in pixels."""
    width: int = 224
    """Rendered width in pixels."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Part that is kept: left, top, right, bottom, as shares of width and height."""
    resize: Literal["cut", "pad", "stretch"] = "cut"
    """cut: short side to the model's size, then the middle, as CLIP was trained; pad: long side to
    the size, grey around it; both keep the aspect. stretch: both sides, as VLM-RL's code does."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.view and self.view not in CAMERA_ROLES:
            raise ClipConfigError(
                f"camera view {self.view!r} is none of {list(CAMERA_ROLES)}; name one of them"
            )
        if min(self.height, self.width) < 1:
            raise ClipConfigError(
                f"the image is {self.height} x {self.width} pixels, expected at least 1 x 1"
            )
        left, top, right, bottom = self.crop
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ClipConfigError(
                f"crop {self.crop} is no part of the image: expected left, top, right, bottom with "
                "0 <= left < right <= 1 and 0 <= top < bottom <= 1"
            )

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The kept part in pixels of an image: left, top, right, bottom; at least one pixel."""
        left, top, right, bottom = self.crop
        x, y = int(left * width), int(top * height)
        return x, y, max(x + 1, round(right * width)), max(y + 1, round(bottom * height))


RELEASED_IMAGE = ImageSource("bird", 517, 517, (0.5, 0.0, 1.0, 1.0), "stretch")
"""VLM-RL's released image: the right half of a 517 x 517 top view, its aspect not kept."""
