"""A policy in a process of its own, for code that keeps the interpreter's lock to itself."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np

from robo.robots.policies import Observation, RobotPolicy
from robo.robots.robot import RobotError

START_TIMEOUT = 120.0
"""Seconds that a policy may take to load."""


class ProcessPolicy:
    """Passes observations to a child process and actions back; a thread calls and waits."""

    def __init__(self, make_policy: Callable[[], RobotPolicy]) -> None:
        """Start the child and wait until its policy is loaded.

        Raises:
            RobotError: where it cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, make_policy), daemon=True)
        self._process.start()
        child.close()
        if not self._pipe.poll(START_TIMEOUT):
            self._process.terminate()
            raise RobotError(f"the policy's process was not ready within {START_TIMEOUT:.0f} s")
        self._receive()

    def reset(self, seed: int) -> None:
        """A trial begins."""
        self._pipe.send(("reset", seed))
        self._receive()

    def __call__(self, observation: Observation) -> np.ndarray:
        """Actions ``[H, A]``."""
        self._pipe.send(("act", observation))
        return self._receive()

    def close(self) -> None:
        """End the child."""
        self._process.terminate()
        self._process.join(timeout=2.0)

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RobotError("the policy's process ended: look at its output above") from error
        if kind == "error":
            raise RobotError(f"the policy's process reports: {value}")
        return value


def _serve(pipe: Any, make_policy: Callable[[], RobotPolicy]) -> None:
    """The child: load, then answer until the pipe closes."""
    try:
        policy = make_policy()
        pipe.send(("ready", None))
        while True:
            name, value = pipe.recv()
            try:
                result = policy.reset(value) if name == "reset" else policy(value)
                pipe.send(("result", result))
            except Exception as error:  # a policy may raise anything
                pipe.send(("error", f"{type(error).__name__}: {error}"))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # loading a policy may raise anything
        pipe.send(("error", f"{type(error).__name__}: {error}"))
