"""What every command shares: its shape, its run folder, JSON that other programs can read.

A command is a frozen dataclass whose docstring is its help, with one docstring line under each
field. ``out`` is its run folder, into which :mod:`robo.cli` writes ``config.json`` before and
``result.json`` after :meth:`Command.run`; ``json`` prints the result as the last line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

import robo
from robo.errors import RoboError
from robo.policies.run_folder import RunFolder, plain, write_bytes


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


def jsonable(value: Any) -> Any:
    """``value`` in types that JSON has.

    Dataclasses become objects, paths strings, arrays and tensors lists; NaN and infinities become
    null, because JSON has neither and most readers refuse them.
    """
    return _finite(plain(value))


def _finite(value: Any) -> Any:
    """``value`` with null in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_line(value: Any) -> str:
    """``value`` as one line of JSON."""
    return json.dumps(jsonable(value), allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON; the file is whole or as it was.

    Raises:
        RoboError: full disk, missing permission.
    """
    write_bytes(path, (json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n").encode())


@contextmanager
def recorded_run(
    out: Path | None, command: str, arguments: Sequence[str], config: Command
) -> Iterator[None]:
    """Make the run folder ``out`` and record in it what is about to run.

    ``config.json`` holds robo's version, the command, its arguments (``robo *arguments`` runs it
    again) and, beside them, every field of the resolved config. Where the command is refused by a
    :class:`RoboError` before it wrote anything, the earlier ``config.json`` comes back: a refused
    run changes nothing of what was recorded. A run that stops later keeps its own.

    Raises:
        RoboError: where ``out`` cannot be a folder, or holds a run of another command.
    """
    if out is None:
        yield
        return
    path = RunFolder(out).config
    earlier = _earlier_config(out, path, command)
    header = {
        "robo_version": robo.__version__,
        "command": command,
        "arguments": [*command.split(), *arguments],
    }
    write_json(path, {**jsonable(config), **header})
    before = _contents(out)
    try:
        yield
    except RoboError:
        if _contents(out) != before:
            raise
        if earlier is None:
            path.unlink(missing_ok=True)
        else:
            write_bytes(path, earlier)
        raise


def _contents(out: Path) -> dict[str, int]:
    """Name to time of change of what lies in ``out``."""
    return {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


def _earlier_config(out: Path, path: Path, command: str) -> bytes | None:
    """The bytes of ``config.json`` of an earlier run in ``out``, which this makes if need be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = path.read_bytes() if path.exists() else None
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
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
