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
ADVICE = "it is damaged or of another version: fit the GRM again"


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
    from safetensors import SafetensorError

    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} holds no {name}, so it is no fitted GRM; make one with `robo fit grm`"
            )
    try:
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
        description = json.loads(text)
        grm = _described(cls, description, folder)
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RoboError) as error:
        raise CheckpointError(
            f"{folder / DESCRIPTION} cannot be read ({type(error).__name__}: {error}); {ADVICE}"
        ) from error
    try:
        _fill(grm, _tensors(folder, text), description.get("other_tasks", []))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        sentence = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder / WEIGHTS} cannot be read ({sentence}); {ADVICE}"
        ) from error
    return grm.eval()


def _described(cls: type[CompactGRM], description: dict[str, Any], folder: Path) -> CompactGRM:
    """The network with fresh weights."""
    from robo.rewards.grm.compact import CompactGRMConfig

    if description["format"] != FORMAT or description["kind"] != "compact_grm":
        raise CheckpointError(
            f"{folder / DESCRIPTION} has format {description['format']!r} and kind "
            f"{description['kind']!r}, expected {FORMAT} and 'compact_grm'; {ADVICE}"
        )
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in description["config"].items()
    }
    grm = cls(CompactGRMConfig(**fields))
    grm.task, grm.instruction = str(description["task"]), str(description["instruction"])
    grm.summary = dict(description["summary"])
    return grm


def _tensors(folder: Path, text: str) -> dict[str, Tensor]:
    """What the weights' file holds, where it is whole and belongs to the description ``text``."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = file.metadata() or {}
    # GRMs of early versions have no checksum, or no copy of the description.
    if header.get("sha256", (found := checksum(tensors))) != found:
        raise ValueError("its checksum is wrong")
    if header.get("description", text) != text:
        raise ValueError(f"its description is not that of {folder / DESCRIPTION}")
    return tensors


def _fill(grm: CompactGRM, tensors: dict[str, Tensor], others: list[tuple[str, str]]) -> None:
    """Weights, and the references of the current task and of the others."""
    grm.load_state_dict(_under("weights", tensors))
    grm.reference = _references("reference", tensors)
    if grm.reference:
        grm.set_task(grm.task, grm.instruction, grm.reference)
    for index, (task, words) in enumerate(others):
        grm.set_task(str(task), str(words), _references(f"task{index}", tensors))


def _under(head: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors named ``head.<rest>``, by the rest."""
    start = f"{head}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


def _references(head: str, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Images named ``head.<start|goal>.<view>``."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, image in _under(head, tensors).items():
        kind, view = name.split(".")
        found.setdefault(kind, {})[view] = image
    return found
