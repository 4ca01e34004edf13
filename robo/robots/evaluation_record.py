"""The folder of an evaluation on a robot: its order, seal, journal, scenes and episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo.data import EpisodeStore
from robo.data.manifest import WriterLock
from robo.errors import StoreError
from robo.robots.journal import Journal, read_journal
from robo.robots.plan import Plan, Trial, draw_codes, draw_order
from robo.robots.robot import RobotError
from robo.robots.sealing import seal, unseal
from robo.storage import plain, read_json, write_json

FORMAT = 1


class EvaluationRecord:
    """What is on disk; only codes until :meth:`unblind`.

    Attributes:
        root: the folder.
        trials: all trials in order.
        codes: blind code to policy.
        descriptions: initial state to how it looks.
        entries: what the journal held when this was opened.
    """

    def __init__(
        self, root: Path, plan: Plan, settings: dict[str, Any], order_seed: int | None, resume: bool
    ) -> None:
        """Start a record, or open an interrupted one.

        Raises:
            RobotError: where there is one already and ``resume`` is False, or it is of another
                plan or other settings, or is being written by another process.
        """
        self.root = root
        self._journal: Journal | None = None
        root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = WriterLock(self._lock_path)
        except StoreError as error:
            raise RobotError(
                f"another process is evaluating into {root}: wait for it, or name another --out"
            ) from error
        try:
            self._open(plan, settings, order_seed, resume)
        except BaseException:
            self.close()
            raise

    def _open(
        self, plan: Plan, settings: dict[str, Any], order_seed: int | None, resume: bool
    ) -> None:
        public = {
            "format": FORMAT,
            "tasks": list(plan.tasks),
            "policies": len(plan.policies),
            "blocks": plan.trials,
            "initial_states": list(plan.states),
            "descriptions": plan.descriptions,
            "settings": plain(settings),
        }
        self.descriptions = plan.descriptions
        self.entries = read_journal(self.journal_path)
        if self.order_path.exists():
            if not resume:
                raise RobotError(
                    f"{self.root} holds an evaluation already: add --resume to go on with it, or "
                    "name another --out"
                )
            self._check_same(plan, public)
            self.trials = [Trial(*values) for values in read_json(self.order_path)["trials"]]
            self.codes = unseal(self.seal_path)
            self.create()
        else:
            generator = np.random.default_rng(order_seed)
            self.codes = draw_codes(plan, generator)
            self.trials = draw_order(plan, list(self.codes), generator)
            self._public = public

    def create(self) -> None:
        """Write order and seal where they are new, and open journal and episodes.

        Called when everything else is known to work, so that a refused run leaves nothing.
        """
        if not self.order_path.exists():
            trials = [dataclasses.astuple(trial) for trial in self.trials]
            seal(self.seal_path, self.codes)
            write_json(self.order_path, {**self._public, "trials": trials})
        if self._journal is None:
            self._journal = Journal(self.journal_path)
            self.store = EpisodeStore(self.root / "episodes")

    @property
    def journal(self) -> Journal:
        """Open after :meth:`create`."""
        assert self._journal is not None
        return self._journal

    def _check_same(self, plan: Plan, public: dict[str, Any]) -> None:
        earlier = read_json(self.order_path)
        wrong = [name for name in public if earlier.get(name) != public[name]]
        if wrong == ["settings"]:
            old, new = earlier["settings"], public["settings"]
            wrong = [f"settings.{name}" for name in new if old.get(name) != new[name]]
        if sorted(unseal(self.seal_path).values()) != sorted(plan.policies):
            wrong.append("policies")
        if wrong:
            raise RobotError(
                f"{self.root} holds an evaluation with other {', '.join(wrong)}: give the same "
                "options to resume it, or name another --out"
            )

    @property
    def _lock_path(self) -> Path:
        return self.root / ".evaluation.lock"

    @property
    def order_path(self) -> Path:
        """The order of trials, by code."""
        return self.root / "order.json"

    @property
    def seal_path(self) -> Path:
        """Code to policy, sealed."""
        return self.root / "sealed.bin"

    @property
    def journal_path(self) -> Path:
        """One line per thing that happened."""
        return self.root / "journal.jsonl"

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.root / "report.html"

    def scene_path(self, initial_state: int, role: str) -> Path:
        """A view of how an initial state should look."""
        return self.root / "scenes" / f"{initial_state}_{role}.png"

    def remaining(self, retries: int) -> list[tuple[Trial, int]]:
        """Trials without a valid judgement, in order, each with the attempts so far."""
        done = finished(self.entries)
        found = []
        for trial in self.trials:
            attempts = sum(1 for e in self.entries if _judged(e) and e["trial"] == trial.index)
            if trial.index not in done and attempts <= retries:
                found.append((trial, attempts))
        return found

    def commit(self, entry: dict[str, Any]) -> None:
        """Put a judged trial on the disk."""
        self.journal.write("trial", entry, durable=True)
        self.entries.append({"kind": "trial", **plain(entry)})

    def unblind(self) -> dict[str, str]:
        """Code to policy, in the open from now on: written to ``unblinded.json``."""
        write_json(self.root / "unblinded.json", self.codes)
        return self.codes

    def close(self) -> None:
        """Close files and give the lock back."""
        if self._journal is not None:
            self._journal.close()
            self.store.close()
        if not self.order_path.exists():
            self._lock_path.unlink(missing_ok=True)
        self._lock.release()


def _judged(entry: dict[str, Any]) -> bool:
    return entry.get("kind") == "trial"


def finished(entries: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Trial index to its valid judgement."""
    return {
        entry["trial"]: entry
        for entry in entries
        if _judged(entry) and entry["outcome"] != "invalid"
    }
