"""A callback of training that keeps its curve and its time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robo.policies.trainer import Iteration
from robo.storage import plain, read_json, write_json


class Watch:
    """Callback: notes every evaluation and the training episodes, and ends PPO in time."""

    def __init__(self, path: Path, minutes: float) -> None:
        """Go on with the curve in ``path``, if there is one."""
        self.path, self.minutes = path, minutes
        self.curve: dict[int, dict[str, Any]] = {}
        if path.exists():
            self.curve = {entry["step"]: entry for entry in read_json(path)}

    def __call__(self, iteration: Iteration) -> None:
        """See the class."""
        trainer = iteration.trainer
        recent = [success for success, *_ in trainer.recent]
        self.curve[iteration.step] = {
            "step": iteration.step,
            "minutes": trainer.seconds / 60,
            "recent_success": sum(recent) / len(recent) if recent else None,
        }
        self.note(trainer.last_evaluation)
        write_json(self.path, plain(sorted(self.curve.values(), key=lambda entry: entry["step"])))
        if trainer.seconds >= 60 * self.minutes:
            trainer.stopped = True

    def note(self, evaluation: dict[str, Any] | None) -> None:
        """Success on the training states."""
        if evaluation is not None and evaluation["step"] in self.curve:
            self.curve[evaluation["step"]]["success"] = evaluation["success_rate"]
