"""The journal of an evaluation: one JSON line per thing that happened, safe against kills.

Lines are flushed as they come, so that a killed process loses none; a trial's line is on the
disk (``fsync``) before the next trial begins.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from robo.robots.robot import RobotError
from robo.storage import plain, storage_errors


class Journal:
    """Appends entries, from any thread."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, and drop a line that a crash cut off.

        Raises:
            RobotError: where an earlier line is damaged.
        """
        self.path = path
        self._lock = threading.Lock()
        whole = 0
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
        read_journal(path)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            self._file.truncate(whole)

    def write(self, kind: str, entry: dict[str, Any], durable: bool = False) -> None:
        """Append one entry; with ``durable`` it is on the disk when this returns.

        Raises:
            RoboError: full disk.
        """
        values = plain({"kind": kind, "at": time.time(), **entry})
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        with self._lock, storage_errors(self.path):
            self._file.write(line)
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole entries; none where there is no journal.

    Raises:
        RobotError: where a line other than the last, cut one is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            raise RobotError(
                f"line {number} of {path} is damaged: restore the file from a copy"
            ) from error
    return entries
