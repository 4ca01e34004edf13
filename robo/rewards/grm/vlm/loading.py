"""Load a Qwen2.5-VL or Qwen3-VL checkpoint with its processor, and a LoRA adapter on top."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from robo.errors import CheckpointError, MissingExtraError
from robo.rewards.grm.vlm.backbone import VLMBackbone
from robo.rewards.grm.vlm_config import VLMConfig

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
"""``model_type`` of the configurations that are understood."""


def require(*modules: str) -> list[Any]:
    """Import modules of the extra ``vlm``.

    Raises:
        MissingExtraError: saying which extra installs them.
    """
    found = []
    for name in modules:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            raise MissingExtraError(
                f"vision-language reward models need {name} ({error}); install it with "
                '`pip install -e ".[vlm]"`'
            ) from error
    return found


def load_vlm(config: VLMConfig) -> VLMBackbone:
    """The backbone that a configuration names, in evaluation mode.

    Weights are read from safetensors only, and no code of a checkpoint is run.

    Raises:
        MissingExtraError: without transformers.
        CheckpointError: a checkpoint that is missing, damaged or of another family.
    """
    (transformers,) = require("transformers")
    where = f"{config.model!r}"
    try:
        description = transformers.AutoConfig.from_pretrained(config.model)
        if description.model_type not in FAMILIES:
            raise CheckpointError(
                f"{where} is a {description.model_type} model, expected one of {list(FAMILIES)}: "
                "name a checkpoint of a General Reward Model"
            )
        processor = transformers.AutoProcessor.from_pretrained(config.model)
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            config.model, dtype=dtype_of(config), use_safetensors=True
        )
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sentence = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"the model {where} cannot be loaded ({sentence}); name a local folder with config, "
            "safetensors and processor, or an id that this machine can download"
        ) from error
    if config.adapter is not None:
        model = with_adapter(model, config.adapter)
    return VLMBackbone(config, model.to(config.device).eval(), processor)


def with_adapter(model: Any, adapter: Path) -> Any:
    """``model`` with a stored LoRA adapter.

    Raises:
        CheckpointError: an adapter that is missing, or of another model.
    """
    (peft,) = require("peft")
    try:
        return peft.PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sentence = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"the adapter {adapter} cannot be loaded ({sentence}); it is damaged or belongs to "
            "another model"
        ) from error


def dtype_of(config: VLMConfig) -> Any:
    """The dtype of the weights."""
    import torch

    if config.dtype == "auto":
        return torch.bfloat16 if config.device.startswith("cuda") else torch.float32
    return getattr(torch, config.dtype)
