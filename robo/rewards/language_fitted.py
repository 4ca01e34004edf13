"""The bounds of the contrast that were found when a domain model was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robo.errors import CheckpointError
from robo.perception.clip_config import ImageSource
from robo.rewards.language_config import Contrast
from robo.storage import read_json, write_json

FILE = "robo_contrast.json"
"""Beside the model's ``open_clip_config.json``."""


def save_fitted(folder: Path, contrast: Contrast, goals: dict[str, Any]) -> None:
    """Write the bounds, and the goals for which they hold, into a model's folder."""
    write_json(folder / FILE, {"contrast": vars(contrast), "goals": goals})


def forget_fitted(folder: Path) -> None:
    """Remove the bounds of a model that is no more."""
    (folder / FILE).unlink(missing_ok=True)


def fitted_contrast(model: str) -> Contrast | None:
    """The bounds in the folder ``model``; None where it is no folder or says none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = Path(model).expanduser() / FILE
    if not path.is_file():
        return None
    try:
        return Contrast(**{name: float(x) for name, x in read_json(path)["contrast"].items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: fit the model again") from error


def other_image(model: str, image: ImageSource, view: str) -> str:
    """What of an image differs from what the model in the folder ``model`` was fitted on.

    Args:
        model: folder; one that says nothing of its images fits all.
        image: crop and resize.
        view: camera role.

    Returns:
        One clause, empty where nothing differs. Heights and widths may differ.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = Path(model).expanduser() / FILE
    if not path.is_file():
        return ""
    try:
        fitted = dict(read_json(path)["goals"].get("image", {}))
        given = {"view": view, "crop": list(image.crop), "resize": image.resize}
        known = {name: fitted[name] for name in given if name in fitted}
        if "crop" in known:
            known["crop"] = [float(edge) for edge in known["crop"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: fit the model again") from error
    found = [name for name, value in known.items() if given[name] != value]
    return ", ".join(f"{name} {given[name]} in place of {known[name]}" for name in found)
