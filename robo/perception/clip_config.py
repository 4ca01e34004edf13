"""Which open_clip model looks at frames, and what it sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from robo.errors import RoboError
from robo.perception.augment_config import AugmentConfig
from robo.rollout import CAMERA_ROLES

VOCABULARY = 49408
"""Entries of open_clip's own tokenizer."""


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
    compile: bool = False
    """torch.compile the layers of a vision transformer on a GPU; the first images wait for it."""

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


@dataclass(frozen=True)
class ClipShape:
    """Sizes of a small image-text model of open_clip's own classes."""

    tower: Literal["resnet", "transformer"] = "resnet"
    """What looks at images; convolutions need far fewer of them to learn from."""
    image_size: int = 64
    """Pixels on each side of the square that it sees; resnet: a multiple of 32."""
    patch_size: int = 8
    """Transformer: pixels on each side of a patch."""
    width: int = 16
    """resnet: channels of the first stage (32 times as many come out); transformer: features."""
    layers: int = 1
    """Blocks; of each of the four stages of a resnet."""
    heads: int = 4
    """Attention heads of each tower."""
    text_width: int = 32
    """Features per token."""
    text_layers: int = 1
    """Blocks of the text tower."""
    context_length: int = 32
    """Most tokens of a sentence, start and end included."""
    embed_dim: int = 32
    """Size of the common embedding."""

    def __post_init__(self) -> None:
        """Refuse what open_clip could not build."""
        sizes = [size for size in vars(self).values() if isinstance(size, int)]
        if min(sizes) < 1:
            raise ClipConfigError(f"sizes of an image-text model must be at least 1, got {self}")
        step = 32 if self.tower == "resnet" else self.patch_size
        if self.image_size % step:
            raise ClipConfigError(
                f"image_size {self.image_size} is no multiple of {step}, which a {self.tower} needs"
            )
        if self._features % self.heads or self.text_width % self.heads:
            raise ClipConfigError(
                f"features {self._features} and text_width {self.text_width} must be multiples of "
                f"heads {self.heads}"
            )

    @property
    def _features(self) -> int:
        return self.width * (32 if self.tower == "resnet" else 1)

    def model_config(self) -> dict[str, Any]:
        """The same in open_clip's terms."""
        vision: dict[str, Any] = {
            "image_size": self.image_size,
            "width": self.width,
            "head_width": self._features // self.heads,
        }
        if self.tower == "resnet":
            vision["layers"] = [self.layers] * 4
        else:
            vision |= {"layers": self.layers, "patch_size": self.patch_size}
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": vision,
            "text_cfg": {
                "context_length": self.context_length,
                "vocab_size": VOCABULARY,
                "width": self.text_width,
                "heads": self.heads,
                "layers": self.text_layers,
            },
        }


@dataclass(frozen=True)
class ClipFitConfig:
    """How an image-text model is fitted to frames and captions."""

    shape: ClipShape = field(default_factory=ClipShape)
    """Sizes of a model from scratch; not read with start."""
    start: str = ""
    """Model to go on from, as an open_clip name or a folder; empty starts from scratch."""
    start_pretrained: str = ""
    """Weights of a named start: a tag of open_clip, or a checkpoint file."""
    iterations: int = 3000
    """Training steps."""
    batch_size: int = 64
    """Frames, and as many sentences, of a training step."""
    learning_rate: float | None = None
    """Peak; it warms up over the first 5 % and falls to 0 by a half cosine. None takes 3e-3 from
    scratch and 1e-5 with start, which larger steps would make forget what it knows."""
    weight_decay: float = 0.05
    """Of AdamW."""
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(shift=2, brightness=0.2, contrast=0.2, colour=0.15)
    )
    """How frames are varied."""
    validation_share: float = 0.15
    """Share of the episodes that are kept for judging."""
    minutes: float | None = None
    """Stop after so long."""
    seed: int = 0
    """Decides initial weights and every draw."""
    device: str = "cpu"
    """Torch device."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if min(self.iterations, self.batch_size) < 1:
            raise ClipConfigError(
                f"iterations {self.iterations} and batch_size {self.batch_size} must be at least 1"
            )
        if not self.peak > 0 or not 0 <= self.validation_share < 1:
            raise ClipConfigError(
                f"learning_rate {self.learning_rate} must be positive, validation_share "
                f"{self.validation_share} in [0, 1)"
            )

    @property
    def peak(self) -> float:
        """The learning rate that is meant."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-5 if self.start else 3e-3
