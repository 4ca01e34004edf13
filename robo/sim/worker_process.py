"""What runs inside a worker process: some environments, their rows in shared memory."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from robo.errors import ProcessSpentError, RoboError
from robo.rollout import CameraSchedule
from robo.sim.contract import Environment, StateNotSupportedError
from robo.sim.rows import EnvironmentRows, describe
from robo.sim.shared_memory import Layout, SharedArrays

RETIRED = 90
"""Exit code of a worker in whose process its environments cannot go on."""


class Worker:
    """Answers the parent's commands, one method each, until told to close."""

    def __init__(self, connection: Connection, first: int, factories: list[Callable]) -> None:
        """Make the environments of rows ``first``, ``first + 1``, ..."""
        self.connection = connection
        self.first = first
        self.factories = factories
        self.shared: SharedArrays | None = None
        self.frames: SharedArrays | None = None
        self.rows = self._build()

    def _build(self) -> EnvironmentRows:
        environments: list[Environment] = [factory() for factory in self.factories]
        return EnvironmentRows(environments, self.first)

    def describe(self) -> list[Any]:
        """Descriptions of the environments."""
        return [describe(environment) for environment in self.rows.environments]

    def bind(self, layout: Layout) -> None:
        """Map the row arrays whose descriptor follows on the connection."""
        self.shared = SharedArrays(layout, reduction.recv_handle(self.connection))
        self.rows.bind(self.shared.arrays)

    def bind_frames(self, schedule: CameraSchedule | None, layout: Layout | None) -> None:
        """Map the frame arrays whose descriptor follows, or drop them."""
        old = self.frames
        self.frames = None
        if layout is not None:
            self.frames = SharedArrays(layout, reduction.recv_handle(self.connection))
        self.rows.bind_frames(schedule, self.frames.arrays if self.frames else None)
        if old is not None:
            old.close()

    def rebuild(self) -> None:
        """Close the environments and make fresh ones in the same memory."""
        assert self.shared is not None
        self.rows.close()
        self.rows = self._build()
        self.rows.bind(self.shared.arrays)

    def reset(self, seeds: list[int | None], options: dict[str, Any] | None) -> Any:
        """Reset every environment."""
        return self.rows.reset(seeds, options)

    def step(self) -> Any:
        """Step every environment with the actions in shared memory."""
        assert self.shared is not None
        current = self.shared.arrays["stepping"]
        worker_row = self.first

        def progress(row: int) -> None:
            current[worker_row] = row

        # A copy: an environment may keep its action, and the parent overwrites the array.
        endings = self.rows.step(self.shared.arrays["action"].copy(), progress)
        current[worker_row] = -1
        return endings

    def state_dicts(self) -> Any:
        """Exact states."""
        return self.rows.state_dicts()

    def load_state_dicts(self, states: list[dict[str, Any]]) -> Any:
        """Restore exact states."""
        return self.rows.load_state_dicts(states)


def _as_error(error: Exception) -> Exception:
    """What the parent raises: our own errors as they are, others as one sentence."""
    if isinstance(error, (RoboError, StateNotSupportedError)):
        return error
    sentence = RoboError(
        f"an environment in a worker process failed with {type(error).__name__}: {error}; "
        'run with backend="in_process" to debug it'
    )
    sentence.add_note(traceback.format_exc())
    return sentence


def main(descriptor: int) -> None:
    """Serve the parent on ``descriptor`` (one end of a socket pair) until it closes.

    Ends with :data:`RETIRED`, and without an answer, where an environment raises
    :class:`~robo.errors.ProcessSpentError`: to the parent a loss like any other.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    connection = Connection(descriptor)
    worker: Worker | None = None
    code = 0
    try:
        while True:
            number, command, arguments = pickle.loads(connection.recv_bytes())
            if command == "close":
                break
            try:
                if command == "build":
                    worker = Worker(connection, *arguments)
                    result: Any = worker.describe()
                else:
                    result = getattr(worker, command)(*arguments)
                reply: tuple[int, bool, Any] = (number, True, result)
            except ProcessSpentError:
                raise
            except Exception as error:
                reply = (number, False, _as_error(error))
            connection.send_bytes(pickle.dumps(reply))
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except ProcessSpentError:
        code = RETIRED
    finally:
        if worker is not None:
            worker.rows.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # simulators' own exit hooks may hang, or complain about GL contexts
