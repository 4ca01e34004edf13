"""The bounds of the contrast that were found when a domain model was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robo.errors import CheckpointError
from robo.rewards.language_config import Contrast
from robo.storage import read_json, write_json

FILE = "robo_contrast.json"
"""Beside the model's ``open_clip_config.json``."""


def save_fitted(folder: Path, contrast: Contrast, goals: dict[str, Any]) -> None:
    """Write the bounds, and the goals for which they hold, into a model's folder."""
    write_json(folder / FILE, {"contrast": vars(contrast), "goals": goals})


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
