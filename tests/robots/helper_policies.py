"""Policies of one's own, as a plan names them: ``tests.robots.helper_policies:NAME``."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import numpy as np

from robo.robots.policies import Observation, ScriptedPolicy

URLS: list[str] = []
"""What QuietFalcon looks at while it acts."""
SEEN: list[bytes] = []
"""What it saw."""


class Killer(ScriptedPolicy):
    """Kills its process in the middle of a trial, once: the file in $KILLED remembers."""

    def __init__(self, task: str) -> None:
        super().__init__(task, 0.3)
        self.trials = self.calls = 0

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.trials, self.calls = self.trials + 1, 0

    def __call__(self, observation: Observation) -> np.ndarray:
        self.calls += 1
        done = Path(os.environ["KILLED"])
        if self.trials == 2 and self.calls == 2 and not done.exists():
            done.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(observation)


class Interrupter(ScriptedPolicy):
    """Sends its own process a signal in the middle of a trial, once."""

    done = False

    def __init__(self, task: str) -> None:
        super().__init__(task, 0.3)
        self.calls = 0

    def __call__(self, observation: Observation) -> np.ndarray:
        self.calls += 1
        if self.calls == 3 and not Interrupter.done:
            Interrupter.done = True
            signal.raise_signal(signal.SIGTERM)
        return super().__call__(observation)


class QuietFalcon(ScriptedPolicy):
    """Looks at the live page while it acts, and breaks once, saying its name."""

    def __init__(self, task: str) -> None:
        super().__init__(task, 0.0)
        self.trials = 0

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.trials += 1
        for url in URLS:
            for place in ("", "state"):
                with urllib.request.urlopen(url + place, timeout=5) as reply:
                    SEEN.append(reply.read())

    def __call__(self, observation: Observation) -> np.ndarray:
        if self.trials == 2:
            raise RuntimeError("QuietFalcon of tests.robots.helper_policies:QuietFalcon broke")
        return super().__call__(observation)
