"""A fitted compact GRM as a folder: ``model.safetensors`` and ``grm.json``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import CheckpointError, RoboError
from robo.storage import checksum, write_together

if TYPE_CHECKING:
    from torch import Tensor

    from robo.rewards.grm.compact import CompactGRM

FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "grm.json"


def save_grm(grm: CompactGRM, folder: Path) -> None:
    """Write both files beside their old versions, then swap them in.

    The references are stored as uint8 images under ``reference.<start|goal>.<view>``.

    Raises:
        RoboError: full disk, missing permission; the folder's earlier GRM stays.
    """
    from safetensors.torch import save

    tensors = {
        f"weights.{name}": value.detach().cpu().contiguous().clone()
        for name, value in grm.state_dict().items()
    }
    for kind, views in grm.reference.items():
        for view, image in views.items():
            tensors[f"reference.{kind}.{view}"] = image.cpu().contiguous()
    others = [task for task in grm.tasks if task != grm.task]
    for index, task in enumerate(others):
        for kind, views in grm.tasks[task][1].items():
            for view, image in views.items():
                tensors[f"task{index}.{kind}.{view}"] = image.cpu().contiguous()
    description = {
        "format": FORMAT,
        "kind": "compact_grm",
        "config": dataclasses.asdict(grm.config),
        "task": grm.task,
        "instruction": grm.instruction,
        "other_tasks": [[task, grm.tasks[task][0]] for task in others],
        "summary": grm.summary,
    }
    text = json.dumps(description, indent=2) + "\n"
    write_together(
        {
            # The description travels with the weights too: damage to either shows.
            folder / WEIGHTS: save(tensors, {"sha256": checksum(tensors), "description": text}),
            folder / DESCRIPTION: text.encode(),
        }
    )


def load_grm(cls: type[CompactGRM], folder: Path) -> CompactGRM:
    """Build the network that ``folder`` describes and fill it.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    from robo.rewards.grm.compact import CompactGRMConfig

    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} holds no {name}, so it is no fitted GRM; make one with `robo fit grm`"
            )
    advice = "it is damaged or of another version: fit the GRM again"
    try:
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
        description = json.loads(text)
        if description["format"] != FORMAT or description["kind"] != "compact_grm":
            raise CheckpointError(
                f"{folder / DESCRIPTION} has format {description['format']!r} and kind "
                f"{description['kind']!r}, expected {FORMAT} and 'compact_grm'; {advice}"
            )
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in description["config"].items()
        }
        grm = cls(CompactGRMConfig(**fields))
        grm.task, grm.instruction = str(description["task"]), str(description["instruction"])
        grm.summary = dict(description["summary"])
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RoboError) as error:
        raise CheckpointError(
            f"{folder / DESCRIPTION} cannot be read ({type(error).__name__}: {error}); {advice}"
        ) from error
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
        # GRMs of early versions have no checksum, or no copy of the description.
        if header.get("sha256", (found := checksum(tensors))) != found:
            raise ValueError("its checksum is wrong")
        if header.get("description", text) != text:
            raise ValueError(f"its description is not that of {folder / DESCRIPTION}")
        weights = {
            name.removeprefix("weights."): value
            for name, value in tensors.items()
            if name.startswith("weights.")
        }
        grm.load_state_dict(weights)
        for name, image in tensors.items():
            if name.startswith("reference."):
                _, kind, view = name.split(".")
                grm.reference.setdefault(kind, {})[view] = image
        if grm.reference:
            grm.set_task(grm.task, grm.instruction, grm.reference)
        for index, (task, words) in enumerate(description.get("other_tasks", [])):
            reference: dict[str, dict[str, Tensor]] = {}
            for name, image in tensors.items():
                head, _, rest = name.partition(".")
                if head == f"task{index}":
                    kind, _, view = rest.partition(".")
                    reference.setdefault(kind, {})[view] = image
            grm.set_task(str(task), str(words), reference)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        sentence = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / WEIGHTS} cannot be read ({sentence}); {advice}"
        ) from error
    return grm.eval()
