"""Attempts that do not succeed, of any task with a scripted expert."""

from __future__ import annotations

from typing import Any

import numpy as np

WANDERS, STALLS = "wanders", "stalls"


class Spoiled:
    """A scripted expert that at some step stops being one.

    ``wanders``: from a random early step on it moves about at random. ``stalls``: it does all
    subtasks but the last, and then stands still. Its metadata say what progress a person would
    grant: the subtasks done, and of the first one the share of its usual duration.
    """

    def __init__(self, expert: Any, kind: str, subtasks: int, usual: float, seed: int) -> None:
        """Spoil ``expert``, whose first of ``subtasks`` takes ``usual`` steps.

        Wandering begins within the first 80 % of it (30 % where it is the whole task); where it is
        the whole task, standing still begins at 30 %.
        """
        self.expert, self.kind, self.subtasks = expert, kind, subtasks
        self.part = 0.8 if subtasks > 1 else 0.3
        self.early = max(3, round(self.part * usual))
        self.rng = np.random.default_rng((seed, 11))
        self.step = np.zeros(0, np.int64)

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        self.expert.reset(num_envs)
        self.step = np.zeros(num_envs, np.int64)
        self.leave = np.zeros(num_envs, np.int64)
        self.passed = np.zeros(num_envs, np.int64)
        self.before: np.ndarray | None = None

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, A]``."""
        if len(self.step) != len(started):
            self.reset(len(started))
        action = np.asarray(self.expert(observation, started), np.float32)
        self.step[started] = 0
        fresh = np.flatnonzero(started)
        self.passed[fresh] = 0
        self.leave[fresh] = (
            self.rng.integers(2, max(3, self.early), len(fresh))
            if self.kind == WANDERS
            else np.iinfo(np.int64).max
        )
        wanted = max(1, self.subtasks - 1)
        for env in range(len(started)):
            if self.step[env] >= self.leave[env]:
                continue
            self.passed[env] = len(self.expert.keyframes(env))
            done = self.passed[env] >= wanted and self.subtasks > 1
            half = self.subtasks == 1 and self.step[env] >= self.early
            if self.kind == STALLS and (done or half):
                self.leave[env] = self.step[env]
        gone = self.step >= self.leave
        if self.before is None or self.before.shape != action.shape:
            self.before = action.copy()
        noise = 0.7 * self.rng.normal(size=action.shape)
        roam = np.clip(0.9 * self.before + np.sqrt(1 - 0.81) * noise, -1, 1).astype(np.float32)
        still = np.zeros_like(action)
        still[:, -1] = self.before[:, -1]  # the fingers stay as they are
        action = np.where(gone[:, None], roam if self.kind == WANDERS else still, action)
        self.before = action
        self.step += 1
        return action

    def keyframes(self, env: int) -> dict[str, int]:
        """Where the attempt came nearest, and from where it moved away."""
        leave = int(min(self.leave[env], self.step[env] - 1))
        marks = {"closest": max(1, leave)}
        if self.kind == WANDERS and leave + 1 < int(self.step[env]):
            marks["leave"] = max(1, leave) + 1
        return marks

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and the progress granted."""
        granted = self.passed[env] / self.subtasks
        if self.kind == WANDERS:
            share = self.part * min(1.0, float(self.leave[env]) / max(1, self.early))
            granted = share / self.subtasks
        elif self.subtasks == 1:
            granted = self.part
        return {"kind": "failure", "actor": self.kind, "progress_ceiling": float(granted)}
