"""A vision-language or served model with what scoring needs beside it, as a folder.

``grm.json`` says which backbone and how it is asked; ``references.safetensors`` holds the START and
GOAL pictures; a fine-tuned model adds its ``adapter`` or its whole ``model``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robo.errors import CheckpointError, RoboError
from robo.rewards.grm.backbone import Backbone
from robo.rewards.grm.http_backbone import HTTPBackbone
from robo.rewards.grm.http_config import HTTPConfig
from robo.rewards.grm.pair_scorer import PairScorer
from robo.rewards.grm.prompt import Prompt
from robo.rewards.grm.vlm_config import VLMConfig
from robo.storage import checksum, plain, write_together

FORMAT = 1
KINDS = ("vlm_grm", "http_grm")
DESCRIPTION, PICTURES, PROMPT = "grm.json", "references.safetensors", "prompt.txt"
ADAPTER, WEIGHTS = "adapter", "model"
"""Folders of trained weights inside a model's folder."""


@dataclass
class PairModel:
    """A backbone, its references and the task that they belong to."""

    config: VLMConfig | HTTPConfig
    """How the backbone is asked."""
    backbone: Backbone
    """The backbone itself."""
    views: tuple[str, ...]
    """Camera roles of the frames."""
    size: tuple[int, int]
    """(height, width) of the frames; the backbone shrinks or enlarges them by itself."""
    task: str = ""
    """Registry id."""
    instruction: str = ""
    """The task in words."""
    reference: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """``{"start" | "goal": {view: uint8 [G, H, W, 3]}}``."""
    summary: dict[str, Any] = field(default_factory=dict)
    """How it was fitted."""

    @property
    def kind(self) -> str:
        """``vlm_grm`` or ``http_grm``."""
        return "vlm_grm" if isinstance(self.config, VLMConfig) else "http_grm"

    def scorer(self, mode: str, device: str | torch.device, max_batch: int) -> PairScorer:
        """Score frames; the backbone stays on its own device.

        Raises:
            RoboError: an unknown mode, missing references.
        """
        if max_batch < 1:
            raise RoboError(f"GRM max_batch is {max_batch}, expected at least 1 frame")
        return PairScorer(
            self.backbone, self.reference, self.instruction, self.views, self.size, mode
        )

    def save(self, folder: str | Path) -> None:
        """Write the description and the references; a trained model's weights are not touched.

        Raises:
            RoboError: full disk, missing permission.
        """
        from safetensors.torch import save

        folder = Path(folder)
        pictures = {
            f"{kind}.{view}": image.cpu().contiguous()
            for kind, views in self.reference.items()
            for view, image in views.items()
        }
        description = {
            "format": FORMAT,
            "kind": self.kind,
            "config": plain(self._saved_config(folder)),
            "views": list(self.views),
            "size": list(self.size),
            "task": self.task,
            "instruction": self.instruction,
            "summary": plain(self.summary),
        }
        text = json.dumps(description, indent=2) + "\n"
        files = {folder / PICTURES: save(pictures, {"sha256": checksum(pictures)})}
        if self.config.prompt_file is not None:
            files[folder / PROMPT] = Prompt.read(self.config.prompt_file).text.encode()
        write_together({**files, folder / DESCRIPTION: text.encode()})

    def _saved_config(self, folder: Path) -> VLMConfig | HTTPConfig:
        """The configuration, with weights inside the folder named relative to it."""
        prompt = None if self.config.prompt_file is None else Path(PROMPT)
        if not isinstance(self.config, VLMConfig):
            token = self.config.token_file and Path(self.config.token_file).resolve()
            return replace(self.config, prompt_file=prompt, token_file=token)
        adapter, model = self.config.adapter, self.config.model
        if adapter is not None and Path(adapter).resolve() == (folder / ADAPTER).resolve():
            adapter = Path(ADAPTER)
        if Path(model).resolve() == (folder / WEIGHTS).resolve():
            model = WEIGHTS
        return replace(self.config, adapter=adapter, model=model, prompt_file=prompt)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> PairModel:
        """Read what :meth:`save` wrote, and load the backbone on ``device``.

        Raises:
            CheckpointError: naming the file that is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        folder = Path(folder)
        advice = "it is damaged or of another version: make it anew with `robo fit grm`"
        try:
            described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if described["format"] != FORMAT or described["kind"] not in KINDS:
                raise ValueError(
                    f"format {described['format']!r} and kind {described['kind']!r}, expected "
                    f"{FORMAT} and one of {list(KINDS)}"
                )
            kind = VLMConfig if described["kind"] == "vlm_grm" else HTTPConfig
            config = config_of(kind, described["config"], folder, device)
            views, size = tuple(described["views"]), tuple(described["size"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{folder / DESCRIPTION} cannot be read ({type(error).__name__}: {error}); {advice}"
            ) from error
        try:
            with safe_open(folder / PICTURES, "pt") as file:
                pictures = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                expected = (file.metadata() or {}).get("sha256")
            if expected != checksum(pictures):
                raise ValueError("its checksum is wrong")
        except (OSError, ValueError, SafetensorError) as error:
            sentence = str(error).splitlines()[0]
            raise CheckpointError(
                f"{folder / PICTURES} cannot be read ({sentence}); {advice}"
            ) from error
        reference: dict[str, dict[str, Tensor]] = {}
        for name, image in pictures.items():
            role, _, view = name.partition(".")
            reference.setdefault(role, {})[view] = image
        return cls(
            config,
            make_backbone(config),
            views,
            (int(size[0]), int(size[1])),
            str(described["task"]),
            str(described["instruction"]),
            reference,
            dict(described["summary"]),
        )


def config_of(
    kind: type, values: Mapping[str, Any], folder: Path, device: str
) -> VLMConfig | HTTPConfig:
    """The dataclass of stored values; paths relative to ``folder`` become absolute."""
    fields: dict[str, Any] = {}
    for entry in dataclasses.fields(kind):
        if entry.name not in values:
            continue
        value: Any = values[entry.name]
        if isinstance(value, list):
            value = tuple(value)
        if entry.name in ("adapter", "prompt_file", "token_file") and value is not None:
            value = folder / str(value)
        fields[entry.name] = value
    if kind is VLMConfig:
        fields["device"] = device
        if fields.get("model") == WEIGHTS:
            fields["model"] = str(folder / WEIGHTS)
    return kind(**fields)


def make_backbone(config: VLMConfig | HTTPConfig) -> Backbone:
    """The backbone of a configuration; a service is asked whether it is there.

    Raises:
        RoboError: missing extra, missing checkpoint, no service.
    """
    if isinstance(config, VLMConfig):
        from robo.rewards.grm.vlm.loading import load_vlm

        return load_vlm(config)
    backbone = HTTPBackbone(config)
    backbone.check()
    return backbone
