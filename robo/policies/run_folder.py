"""The folder of one run, and files that are either whole or not there.

``runs/<name>/{config.json, result.json, metrics/, checkpoints/, policy/, videos/}``. Every file
is written beside its place, flushed to the disk and renamed, so that a kill or a full disk leaves
what was there before.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.errors import RoboError

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
                f"cannot write {path}: the disk is full ({error.strerror}); free some space and "
                "resume with --resume, files written before are intact"
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
    path = Path(path)
    temporary = None
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
            raise
        # The rename itself is durable only once the folder is flushed.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(folder)
        finally:
            os.close(folder)
    return path


def plain(value: Any) -> Any:
    """``value`` as JSON values: dataclasses become dicts, paths text, NaN and infinity None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    tolist = getattr(value, "tolist", None)  # NumPy and torch
    return str(value) if tolist is None else plain(tolist())


def write_json(path: Path, value: Any) -> Path:
    """Write dataclasses, mappings, lists and numbers as JSON, atomically.

    Raises:
        RoboError: full disk, missing permission.
    """
    return write_bytes(path, (json.dumps(plain(value), indent=2) + "\n").encode())


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


@dataclass(frozen=True)
class RunFolder:
    """Places inside one run's folder."""

    root: Path
    """Folder of the run."""

    @property
    def config(self) -> Path:
        """``config.json``, the resolved configuration."""
        return Path(self.root) / "config.json"

    @property
    def result(self) -> Path:
        """``result.json``, what the run ended with."""
        return Path(self.root) / "result.json"

    @property
    def metrics(self) -> Path:
        """TensorBoard events."""
        return Path(self.root) / "metrics"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, and ``best/``: the policy that did best in the periodic evaluations."""
        return Path(self.root) / "checkpoints"

    @property
    def best(self) -> Path:
        """Policy folder of the best periodic evaluation."""
        return self.checkpoints / "best"

    @property
    def policy(self) -> Path:
        """Policy folder of the run's last parameters."""
        return Path(self.root) / "policy"

    @property
    def videos(self) -> Path:
        """Reward videos."""
        return Path(self.root) / "videos"


def find_policy(folder: Path) -> Path:
    """The policy folder inside ``folder``.

    Args:
        folder: a policy folder (holds ``policy.json``), or a run folder: the best policy of its
            periodic evaluations, else its last one.

    Raises:
        RoboError: where there is none.
    """
    run = RunFolder(Path(folder))
    for place in (run.root, run.best, run.policy):
        if (Path(place) / "policy.json").is_file():
            return Path(place)
    raise RoboError(
        f"{folder} holds no policy; expected a run folder of `robo train` (with checkpoints/best "
        "or policy) or a policy folder with policy.json"
    )
