"""The manifest: an append-only log of committed episodes, and the writer's lock.

A line is ``["<crc32 of the object>", {header}]``. An episode exists once its whole line does, so
a writer that dies leaves at most half a line at the end, which readers skip and the next writer
cuts off. Appending costs the same however many episodes there are.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from pathlib import Path

from robo.data.schema import EpisodeHeader
from robo.errors import StoreError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def medium_error(path: Path, error: OSError, lost: str) -> StoreError:
    """One sentence for a medium that is full, read-only or broken."""
    if error.errno in FULL_DISK:
        cause, remedy = "no space is left", "free some space and append again"
    else:
        cause = error.strerror or str(error)
        remedy = "check the folder's permissions and medium"
    return StoreError(f"cannot write to episode store {path}: {cause}; {lost}; {remedy}")


def sync_folder(path: Path) -> None:
    """Flush a folder's entries (a rename, a new file) to the medium."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Manifest:
    """The committed episodes' headers, in order."""

    def __init__(self, path: Path) -> None:
        """Read the manifest at ``path``.

        Raises:
            StoreError: where it is missing or a line is damaged.
        """
        self.path = path
        self.headers: list[EpisodeHeader] = []
        self._end = 0
        self.refresh()

    def refresh(self) -> None:
        """Read the lines that were added since.

        Raises:
            StoreError: where the file is missing or a whole line is damaged.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._end)
                data = file.read()
        except OSError as error:
            raise StoreError(
                f"episode store {self.path.parent} is damaged: its {self.path.name} cannot be "
                f"read ({error.strerror}); restore that file from a copy, the episodes' own "
                "files are beside it"
            ) from error
        # What follows the last newline is half a line of a writer at work, or of one that died.
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            self.headers.append(self._parse(line))
            self._end += len(line)

    def append(self, header: EpisodeHeader) -> None:
        """Commit an episode: whole and flushed, or not at all. Only for the lock's holder.

        Raises:
            OSError: where the medium is full; the manifest is then as before.
        """
        body = json.dumps(header.to_json()).encode()
        line = b'["%08x", %s]\n' % (zlib.crc32(body), body)
        with self.path.open("r+b", buffering=0) as file:
            file.truncate(self._end)
            try:
                file.seek(self._end)
                written = file.write(line)
                if written < len(line):
                    # A short write means that the next one fails; it then says why.
                    file.write(line[written:])
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._end)
                raise
        self.refresh()

    def _parse(self, line: bytes) -> EpisodeHeader:
        body = line[13:-2]
        try:
            if line != b'["%08x", %s]\n' % (zlib.crc32(body), body):
                raise ValueError("its checksum differs")
            return EpisodeHeader.from_json(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"episode store {self.path.parent} is damaged: line {len(self.headers) + 1} of "
                f"its {self.path.name} (episode {len(self.headers)}) cannot be read ({error}); "
                "restore that file from a copy, the episodes' own files are beside it"
            ) from error


class WriterLock:
    """The right to append: one holder at a time, given back by the system if the holder dies."""

    def __init__(self, path: Path) -> None:
        """Take the lock file at ``path``.

        Raises:
            StoreError: where another writer holds it.
            OSError: where the file cannot be made.
        """
        self._process = os.getpid()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            import fcntl
        except ImportError:
            return  # Windows: one writer at a time is then up to the user.
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise StoreError(
                f"episode store {path.parent} is being written by another writer "
                f"(process {holder or 'unknown'}); wait for it, close it, or open the store with "
                "mode='r'"
            ) from error
        # The holder's number only helps the message; a full disk must not stop the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(self._process).encode(), 0)

    @property
    def held(self) -> bool:
        """Whether this process, not one that it was forked from, holds the lock."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Give the lock back."""
        # Unlock by name: closing alone leaves it to the forked processes that share it.
        with contextlib.suppress(ImportError):
            import fcntl

            if self.held:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
