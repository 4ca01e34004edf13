"""One environment per server: claims on servers that run already, held by file locks."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path
from typing import IO

from robo.errors import RoboError

_BLOCKS = 256
"""Candidates of one environment at most."""


class ServerClaim:
    """The right of one environment of this machine to a server; ends with its process.

    Attributes:
        port: of the server.
    """

    def __init__(self, host: str, port: int, block: int = 0) -> None:
        """Claim ``port``, or the first of ``port + block``, ``port + 2 block``, ... that is free.

        Args:
            host: address of the servers.
            port: RPC port of the one that is wanted.
            block: ports between candidates; 0 takes ``port`` or none.

        Raises:
            RoboError: another environment of this machine has it.
        """
        self._file: IO[str] | None = None
        for number in range(_BLOCKS if block else 1):
            self.port = port + number * block
            if self.port > 65535:
                break
            self._file = _lock(host, self.port)
            if self._file is not None:
                return
        raise RoboError(
            f"the server at {host}:{port} is driven by another environment of this machine, and "
            "two of them would disturb each other; end that one, or start another server and give "
            "its port"
        )

    def release(self) -> None:
        """Give it up; any number of times."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(host: str, port: int) -> IO[str] | None:
    """The locked file of a server, or None where somebody has it."""
    name = re.sub(r"[^A-Za-z0-9.-]", "_", host)
    folder = Path(tempfile.gettempdir()) / f"robo-carla-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = (folder / f"{name}-{port}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
