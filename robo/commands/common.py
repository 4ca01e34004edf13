"""What every command shares: its shape, its run folder, JSON that other programs can read.

A command is a frozen dataclass whose docstring is its help, with one docstring line under each
field. ``out`` is its run folder, into which :mod:`robo.cli` writes ``config.json`` before and
``result.json`` after :meth:`Command.run`; ``json`` prints the result as the last line.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

import robo
from robo.errors import RoboError
from robo.policies.run_folder import RunFolder
from robo.storage import NO_SPACE, plain, write_bytes, write_json


class Command(Protocol):
    """The shape of a command: a dataclass with these fields and this method."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def out(self) -> Path | None:
        """Run folder, made where it does not exist; None writes nothing."""
        ...

    @property
    def json(self) -> bool:
        """Print the result as one line of JSON, the last line of standard output."""
        ...

    def run(self) -> dict[str, Any]:
        """Do the work and return the result.

        A result with ``"ok": False`` is written like any other, and makes the exit code 1.

        Raises:
            RoboError: with one sentence for the user; the exit code is then 2.
        """
        ...


@contextmanager
def recorded_run(
    out: Path | None, command: str, arguments: Sequence[str], config: Command
) -> Iterator[None]:
    """Make the run folder ``out`` and record in it what is about to run.

    ``config.json`` holds robo's version, the command, its arguments (``robo *arguments`` runs it
    again) and, beside them, every field of the resolved config. Where the command is refused by a
    :class:`RoboError` before it recorded anything, the earlier ``config.json`` comes back: a
    refused run changes nothing of what was recorded. A run that stops later (a full disk, a
    diverged update) keeps its own, so that what it recorded can be understood and resumed.

    Raises:
        RoboError: where ``out`` cannot be a folder, or holds a run of another command.
    """
    if out is None:
        yield
        return
    path, made = RunFolder(out).config, not out.exists()
    earlier = _earlier_config(out, path, command)
    header = {
        "robo_version": robo.__version__,
        "command": command,
        "arguments": [*command.split(), *arguments],
    }
    write_json(path, {**plain(config), **header})
    before = _contents(out)
    try:
        yield
    except RoboError:
        if _contents(out) != before:
            raise
        if earlier is None:
            path.unlink(missing_ok=True)
            if made:
                with suppress(OSError):  # something else lies in it
                    out.rmdir()
        else:
            write_bytes(path, earlier)
        raise


def _contents(out: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of change of every file in ``out``; locks and leftovers do not count."""
    found = set()
    for file in out.rglob("[!.]*"):
        with suppress(FileNotFoundError):
            status = file.stat()
            if not stat.S_ISDIR(status.st_mode):
                found.add((str(file), status.st_size, status.st_mtime_ns))
    return found


def _earlier_config(out: Path, path: Path, command: str) -> bytes | None:
    """The bytes of ``config.json`` of an earlier run in ``out``, which this makes if need be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = path.read_bytes() if path.exists() else None
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise RoboError(
            f"--out {out} cannot be used as a run folder ({error.strerror}): name a new folder"
        ) from error
    try:
        owner = json.loads(earlier or b"{}").get("command", command)
    except (ValueError, AttributeError) as error:
        raise RoboError(
            f"{path} was not written by robo: name another folder with --out"
        ) from error
    if owner != command:
        raise RoboError(
            f"{out} holds a run of 'robo {owner}', which 'robo {command}' would overwrite: "
            "name another folder with --out"
        )
    return earlier
