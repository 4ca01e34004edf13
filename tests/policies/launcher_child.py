"""What the ranks of ``test_launcher.py`` run: do they agree on whether to go on?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from robo.policies import distributed, trainer
from robo.policies.launcher import NOTE, RefusedError, train_rank


class Told:
    """A trainer that only says what it was told."""

    def run(self, resume: bool) -> dict[str, Any]:
        """Whether it is to go on."""
        return {"resume": resume}

    def close(self) -> None:
        """Nothing to close."""


def told(out: Path, note: Path | None, count: str, resume: bool = False) -> Any:
    """Whether a rank goes on, or ``refused``."""
    os.environ.pop(NOTE, None)
    if note is not None:
        os.environ[NOTE] = str(note)
    os.environ["TORCHELASTIC_RESTART_COUNT"] = count
    try:
        return train_rank(None, out, resume, False)["resume"]
    except RefusedError as error:
        assert "already holds checkpoints" in str(error)
        return "refused"


def cases(folder: Path) -> dict[str, Any]:
    """Every rank is of a machine of its own, whose launcher has a folder for its note."""
    index = distributed.rank()
    used, new, lost = (folder / name for name in ("used", "new", "lost"))
    notes = [folder / f"{name}-{index}" / "error" for name in ("first", "second", "third")]
    for note in notes:
        note.parent.mkdir()
    found: dict[str, Any] = {
        "one counts a restart": told(used, None, str(index)),
        "none counts a restart": told(used, None, "0"),
        "asked for": told(used, None, "0", resume=True),
        "new folder": told(new, None, "0"),
        "new run in a used folder": told(used, notes[0], "0"),
        "started again after a refusal": told(used, notes[0], "1"),
        "first round": told(lost, notes[1], "0"),
        "again, without a checkpoint": told(lost, notes[1], "1"),
    }
    _checkpoint(lost)
    # The machine of rank 0 was lost, another one has joined; nobody counts a restart.
    found["a machine was replaced"] = told(lost, notes[2 if index == 0 else 1], "0")
    found["and again"] = told(lost, notes[2 if index == 0 else 1], "0")
    found["asked for, first round"] = told(used, notes[0], "0", resume=True)
    found["asked for, later round"] = told(used, notes[0], "0")
    return found


def _checkpoint(out: Path) -> None:
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    (out / "checkpoints" / "checkpoint-00000001.pt").touch()
    distributed.barrier()


if __name__ == "__main__":
    trainer.make_trainer = lambda *arguments, **options: Told()  # type: ignore[assignment]
    assert distributed.initialise(60)
    place = Path(sys.argv[1])
    _checkpoint(place / "used")
    result = cases(place)
    (place / f"rank-{distributed.rank()}.json").write_text(json.dumps(result))
    distributed.shutdown()
