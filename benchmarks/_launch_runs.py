"""Runs of the scripts in launch/ as runs of a study, which go on where a killed study stopped.

A study empties the folder of a run that it starts anew. What these runs need to go on is kept
beside it.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

from _study import Run

from robo.storage import plain, read_json, write_json

LAUNCH = Path(__file__).parents[1] / "launch"


def script(name: str) -> Any:
    """The module ``launch/<name>.py``."""
    if str(LAUNCH) not in sys.path:
        sys.path.insert(0, str(LAUNCH))
    return importlib.import_module(name)


def kept_folder(run: Run, folder: Path) -> Path:
    """Where the script's run of ``run`` lives: emptied only if it was begun with other settings.

    Args:
        run: its settings decide what the script does.
        folder: that of the study.
    """
    kept = folder.with_name(f"{run.name}-run")
    note = kept / "settings.json"
    if not note.exists() or read_json(note) != plain(run.settings):
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        write_json(note, plain(run.settings))
    return kept
