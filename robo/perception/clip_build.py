"""Small open_clip models of our own shape, saved as ordinary open_clip checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robo.perception.clip import open_clip_module
from robo.perception.clip_config import ClipConfigError
from robo.storage import write_together

VOCABULARY = 49408
"""Entries of open_clip's own tokenizer."""
FILES = ("open_clip_config.json", "open_clip_model.safetensors")
"""What a model's folder holds, by open_clip's names."""


@dataclass(frozen=True)
class ClipShape:
    """Sizes of an image-text model of two transformers."""

    image_size: int = 64
    """Pixels on each side of the square that it sees."""
    patch_size: int = 8
    """Pixels on each side of a patch."""
    width: int = 128
    """Features per patch."""
    layers: int = 4
    """Blocks of the image tower."""
    heads: int = 4
    """Attention heads of both towers."""
    text_width: int = 128
    """Features per token."""
    text_layers: int = 2
    """Blocks of the text tower."""
    context_length: int = 32
    """Most tokens of a sentence, start and end included."""
    embed_dim: int = 128
    """Size of the common embedding."""

    def __post_init__(self) -> None:
        """Refuse what open_clip could not build."""
        if min(vars(self).values()) < 1:
            raise ClipConfigError(f"sizes of an image-text model must be at least 1, got {self}")
        if self.image_size % self.patch_size:
            raise ClipConfigError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            )
        if self.width % self.heads or self.text_width % self.heads:
            raise ClipConfigError(
                f"width {self.width} and text_width {self.text_width} must be multiples of heads "
                f"{self.heads}"
            )

    def model_config(self) -> dict[str, Any]:
        """The same in open_clip's terms."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_size,
                "patch_size": self.patch_size,
                "width": self.width,
                "layers": self.layers,
                "head_width": self.width // self.heads,
            },
            "text_cfg": {
                "context_length": self.context_length,
                "vocab_size": VOCABULARY,
                "width": self.text_width,
                "heads": self.heads,
                "layers": self.text_layers,
            },
        }


def build_clip(shape: ClipShape, seed: int = 0) -> nn.Module:
    """A model with initial weights, in training mode."""
    open_clip = open_clip_module()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.CLIP(**shape.model_config())


def save_clip(model: nn.Module, model_config: dict[str, Any], folder: Path) -> Path:
    """Write a folder that ``open_clip.create_model("local-dir:<folder>")`` loads.

    Args:
        model: an open_clip model.
        model_config: its sizes in open_clip's terms; see :meth:`ClipShape.model_config`.
        folder: made where missing.

    Raises:
        RoboError: full disk, no permission.
    """
    from safetensors.torch import save

    open_clip = open_clip_module()
    config = {
        "model_cfg": model_config,
        "preprocess_cfg": {
            "mean": list(open_clip.OPENAI_DATASET_MEAN),
            "std": list(open_clip.OPENAI_DATASET_STD),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    tensors = {name: x.detach().cpu().contiguous() for name, x in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2) + "\n"
    write_together({folder / FILES[0]: text.encode(), folder / FILES[1]: save(tensors)})
    return folder
