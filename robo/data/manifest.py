"""The manifest: an append-only log of committed episodes, and the locks.

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
from collections.abc import Iterator, Sequence
from pathlib import Path

from robo.data.schema import EpisodeHeader
from robo.errors import StoreError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def medium_error(path: object, error: OSError, lost: str) -> StoreError:
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


def episode_file(number: int) -> str:
    """Name of the file of episode ``number``: its index, unless repair took earlier ones out."""
    return f"episode-{number:08d}.zip"


def file_number(name: str) -> int:
    """The number in an episode's file name; -1 for any other name."""
    stem = name.removeprefix("episode-").removesuffix(".zip")
    return int(stem) if stem.isdigit() and name == episode_file(int(stem)) else -1


def manifest_line(header: EpisodeHeader) -> bytes:
    """The line that commits an episode."""
    body = json.dumps(header.to_json()).encode()
    return b'["%08x", %s]\n' % (zlib.crc32(body), body)


def parse_line(line: bytes) -> EpisodeHeader:
    """The header of a whole line.

    Raises:
        ValueError, KeyError, TypeError: where it is damaged.
    """
    body = line[13:-2]
    if line != b'["%08x", %s]\n' % (zlib.crc32(body), body):
        raise ValueError("its checksum differs")
    return EpisodeHeader.from_json(json.loads(body))


def write_manifest(path: Path, headers: Sequence[EpisodeHeader]) -> None:
    """Write a whole manifest, flushed and renamed into place.

    Raises:
        OSError: where the medium is full; what was at ``path`` is then as before.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.writelines(manifest_line(header) for header in headers)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class Manifest:
    """The committed episodes' headers, in order."""

    def __init__(self, path: Path, store: str = "") -> None:
        """Read the manifest at ``path``.

        Args:
            path: of the file.
            store: what messages call the store; its folder by default.

        Raises:
            StoreError: where it is missing or a line is damaged.
        """
        self.path = path
        self.store = store or str(path.parent)
        self.headers: list[EpisodeHeader] = []
        self.last_number = -1
        """Highest number of an episode's file."""
        self._end = 0
        self._identity: object = None
        self.refresh()

    def refresh(self) -> None:
        """Read the lines that were added since, or all where the file was replaced.

        Raises:
            StoreError: where the file is missing or a whole line is damaged.
        """
        try:
            data, identity = self._read(self._end, self._identity)
        except OSError as error:
            raise StoreError(
                f"episode store {self.store} is damaged: its {self.path.name} cannot be "
                f"read ({error.strerror or error}); restore that file from a copy, or rebuild it "
                f"from the episodes' own files with `robo data repair {self.store}`"
            ) from error
        if identity != self._identity:
            self.headers, self._end, self._identity = [], 0, identity
            self.last_number = -1
        # What follows the last newline is half a line of a writer at work, or of one that died.
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            header = self._parse(line)
            self.headers.append(header)
            self.last_number = max(self.last_number, file_number(header.file))
            self._end += len(line)

    def append(self, header: EpisodeHeader) -> None:
        """Commit an episode: whole and flushed, or not at all. Only for the lock's holder.

        Raises:
            OSError: where the medium is full; the manifest is then as before.
        """
        self._write(manifest_line(header), self._end)
        self.refresh()

    def rewrite(self, headers: Sequence[EpisodeHeader]) -> None:
        """Replace the whole manifest, by a rename. Only for the lock's holder.

        Raises:
            OSError: where the medium is full; the manifest is then as before.
        """
        write_manifest(self.path, headers)
        self.refresh()

    def _read(self, end: int, identity: object) -> tuple[bytes, object]:
        """Bytes from ``end`` on and what tells the file from one put in its place.

        Where that is not ``identity``, all bytes.
        """
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            found = (status.st_dev, status.st_ino)
            same = found == identity and status.st_size >= end
            file.seek(end if same else 0)
            # A file cut short below what was read is another one, too.
            return file.read(), found if same or found != identity else (*found, status.st_size)

    def _write(self, line: bytes, end: int) -> None:
        with self.path.open("r+b", buffering=0) as file:
            file.truncate(end)
            try:
                file.seek(end)
                written = file.write(line)
                if written < len(line):
                    # A short write means that the next one fails; it then says why.
                    file.write(line[written:])
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise

    def _parse(self, line: bytes) -> EpisodeHeader:
        try:
            return parse_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"episode store {self.store} is damaged: line {len(self.headers) + 1} of "
                f"its {self.path.name} (episode {len(self.headers)}) cannot be read ({error}); "
                "restore that file from a copy, or rebuild it from the episodes' own files with "
                f"`robo data repair {self.store}`"
            ) from error


@contextlib.contextmanager
def commit_lock(path: Path) -> Iterator[None]:
    """The right to change the manifest, for the moment that a commit takes; waits for others.

    The system gives it back if the holder dies.

    Raises:
        OSError: where the lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            import fcntl
        except ImportError:
            pass  # Windows: one writer at a time is then up to the user.
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class WriterLock:
    """The right to write: one holder for long, given back by the system if the holder dies."""

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
