"""Small open_clip models of our own shape, saved as ordinary open_clip checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robo.perception.clip import open_clip_module
from robo.perception.clip_config import ClipShape
from robo.storage import write_together

FILES = ("open_clip_config.json", "open_clip_model.safetensors")
"""What a model's folder holds, by open_clip's names."""


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
