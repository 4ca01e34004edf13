"""Stages of a launch script's run: each is done once, and --resume goes on with the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from robo.errors import RoboError
from robo.storage import plain, read_json, write_json

FREE = ("out", "resume", "processes")
"""Settings that decide nothing."""
UNTIL_TRAINED = ("total_steps", "minutes", "evaluate_every_steps")
"""Settings that may change until the policy is trained."""


class Settings(Protocol):
    """A script's Config: a dataclass with these and others."""

    @property
    def out(self) -> Path:
        """Run folder."""
        ...

    @property
    def resume(self) -> bool:
        """Go on with what the run folder holds."""
        ...


class Stages:
    """Runs stages once; what a finished one returned is read back with --resume.

    Attributes:
        seconds: stage to the time that it took, or would have taken without interruptions.
    """

    def __init__(self, config: Settings) -> None:
        """Stages of the run that ``config`` describes, in ``out/stages``.

        Raises:
            RoboError: the folder holds a run, and --resume is not given or the run was begun with
                other settings.
        """
        self.folder = config.out / "stages"
        self.seconds: dict[str, float] = {}
        note = self.folder / "config.json"
        # A command that was refused in its first stage has left its settings and nothing else.
        begun = config.out.is_dir() and any(
            file.is_file() and file != note for file in config.out.rglob("*")
        )
        if begun and self.folder.exists() and not config.resume:
            raise RoboError(f"{config.out} holds a run; choose another --out or add --resume")
        if begun and note.exists():
            self._check(config.out, read_json(note), plain(config))
        write_json(note, plain(config))

    def _check(self, out: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
        """Refuse to go on where finished stages would be those of other settings."""
        free = FREE if (self.folder / "train.json").exists() else (*FREE, *UNTIL_TRAINED)
        compared = [name for name in asked if name in begun and name not in free]
        names = [name for name in compared if asked[name] != begun[name]]
        if names:
            was = ", ".join(f"{name} {begun[name]}" for name in names)
            now = ", ".join(f"{name} {asked[name]}" for name in names)
            raise RoboError(
                f"the run in {out} was begun with {was}, not {now}; resume it with its own "
                "settings or choose another --out"
            )

    def do(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of stage ``name``: from its file, or from ``work``."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            print(f"{name} ...", flush=True)
            start = time.perf_counter()
            result = plain(work())
            # Training that was interrupted goes on from a checkpoint, and counts its own seconds.
            own = result.get("wall_seconds") or 0.0
            seconds = max(time.perf_counter() - start, own)
            write_json(path, {"seconds": seconds, "result": result})
        saved = read_json(path)
        self.seconds[name] = round(saved["seconds"], 1)
        return saved["result"]
