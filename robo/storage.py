"""Files that are either whole or as they were, and values as JSON.

Every file is written beside its place, flushed to the disk and renamed, so that a kill or a full
disk leaves what was there before.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo.errors import RoboError

if TYPE_CHECKING:
    from torch import Tensor

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, a full quota and a file-size limit."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of the storage into one sentence.

    Raises:
        RoboError: where ``path`` cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise RoboError(
                f"cannot write {path}: the disk is full ({error.strerror}); files written before "
                "are intact, free some space and run the command again (robo train goes on with "
                "--resume)"
            ) from error
        raise RoboError(
            f"cannot write {path}: {error.strerror or error}; choose another --out or mend its "
            "permissions"
        ) from error


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically: it holds the whole ``content``, or what it held before.

    Raises:
        RoboError: full disk, missing permission.
    """
    write_together({Path(path): content})
    return Path(path)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all are on the disk before the first takes its place.

    Raises:
        RoboError: full disk, missing permission; all files then hold what they held before.
    """
    staged: dict[Path, str] = {}
    try:
        for path, content in files.items():
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, staged[path] = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(staged[path], 0o644)
        for path, temporary in staged.items():
            with storage_errors(path):
                os.replace(temporary, path)
    finally:
        for temporary in staged.values():  # only after a failure are any left
            with suppress(OSError):
                os.unlink(temporary)
    for folder in {path.parent for path in files}:
        _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named CPU tensors: of their names and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """``value`` in types that JSON has.

    Dataclasses become objects, paths text, arrays and tensors lists; NaN and infinities become
    None, because JSON has neither and most readers refuse them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    tolist = getattr(value, "tolist", None)  # NumPy and torch
    return str(value) if tolist is None else plain(tolist())


def to_line(value: Any) -> str:
    """``value`` as one line of JSON."""
    return json.dumps(plain(value), allow_nan=False)


def write_json(path: Path, value: Any) -> Path:
    """Write dataclasses, mappings, lists and numbers as indented JSON, atomically.

    Raises:
        RoboError: full disk, missing permission.
    """
    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    return write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        RoboError: missing or damaged file.
    """
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise RoboError(
            f"cannot read {path}: {error.strerror or error}; check the path of the run folder"
        ) from error
    except ValueError as error:
        raise RoboError(f"{path} is not valid JSON ({error}); the file is damaged") from error
