"""A store's folder on a local disk: its files, its commits, what a crash leaves behind.

Layout of a store's folder::

    zarr.json              zarr v3 group; its attributes hold the schema version
    manifest.jsonl         one line per committed episode (robo.data.manifest)
    episode-00000000.zip   one zarr v3 group per episode (robo.data.archive)
    .lock, .writing-*.zip  the commits' lock, and episodes being written

Any number of processes append: each writes its episode under a name of its own, on which it holds
a lock, and takes the commits' lock only to rename it and to add its line to the manifest.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from robo.data.archive import ArchiveReader
from robo.data.archive_v1 import ArchiveReaderV1
from robo.data.cache import ChunkCache
from robo.data.manifest import Manifest, commit_lock, episode_file, medium_error, sync_folder
from robo.data.schema import SCHEMA_VERSION, EpisodeHeader
from robo.errors import StoreError

ROOT = "zarr.json"
MANIFEST = "manifest.jsonl"
LOCK = ".lock"
TEMPORARY = ".writing-"
ATTRIBUTE = "robo_episode_store"


def root_group() -> bytes:
    """Content of a store's ``zarr.json``."""
    attributes = {ATTRIBUTE: {"schema": SCHEMA_VERSION}}
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}).encode()


def parse_schema(where: str, content: bytes) -> int:
    """Schema version that a store's ``zarr.json`` states.

    Raises:
        StoreError: where it is damaged, or newer than this robo.
    """
    try:
        schema = int(json.loads(content)["attributes"][ATTRIBUTE]["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{where} is no episode store, or its {ROOT} is damaged "
            f"({type(error).__name__}: {error}); open a folder that holds one, or mend it with "
            f"`robo data repair {where}`"
        ) from error
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"episode store {where} has schema {schema}, newer than the {SCHEMA_VERSION} "
            "that this robo reads; update robo"
        )
    return schema


def no_store(where: str) -> StoreError:
    """There is none; names the one inside, where ``where`` is the run folder of robo collect."""
    inside = Path(where) / "episodes"
    if inside.is_dir():
        return StoreError(f"there is no episode store at {where}, but at {inside}: name that one")
    return StoreError(
        f"there is no episode store at {where}; record one with robo collect, or "
        "open a folder that holds one"
    )


class FileBlob:
    """A local file, kept open."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: where it is missing or may not be read.
        """
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read_at(self, offset: int, size: int) -> bytes:
        """See :class:`~robo.data.shards.Blob`."""
        return os.pread(self._descriptor, size, offset)

    def __del__(self) -> None:
        """Close it, once the last reader is gone."""
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._descriptor)


class LocalFolder:
    """What :class:`~robo.data.store.EpisodeStore` asks of a folder on a local disk."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or made yet."""
        self.path = path

    def create_if_new(self) -> None:
        """Make an empty store where the folder is missing or empty; otherwise do nothing.

        Raises:
            StoreError: where the folder holds other files, or the medium is not writable.
        """
        root = self.path / ROOT
        if root.exists():
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # A creation that was cut short leaves an empty manifest and hidden names.
            others = [
                entry.name
                for entry in self.path.iterdir()
                if not entry.name.startswith(".")
                and not (entry.name == MANIFEST and not entry.stat().st_size)
            ]
            if root.exists():
                return  # Another process made it meanwhile.
            if others:
                raise StoreError(
                    f"folder {self.path} is no episode store and holds other files "
                    f"({', '.join(sorted(others)[:3])}); name an empty or a new folder"
                )
            (self.path / MANIFEST).touch()
            self.write_root()
        except OSError as error:
            raise medium_error(self.path, error, "the store was not made") from error

    def write_root(self) -> None:
        """Write ``zarr.json`` with the present schema, flushed and renamed into place.

        Raises:
            OSError: where the medium is full or not writable.
        """
        temporary = self.path / f".{ROOT}-{uuid.uuid4().hex[:8]}"
        try:
            with temporary.open("wb") as file:
                file.write(root_group())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / ROOT)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self.path)

    def read_schema(self) -> int:
        """Schema version of the store.

        Raises:
            StoreError: where there is no store, or its schema is newer than this robo.
        """
        try:
            content = (self.path / ROOT).read_bytes()
        except FileNotFoundError:
            raise no_store(str(self.path)) from None
        except OSError as error:
            raise StoreError(f"cannot read episode store {self.path}: {error}") from error
        return parse_schema(str(self.path), content)

    def manifest(self) -> Manifest:
        """The committed episodes.

        Raises:
            StoreError: where the manifest is missing or damaged.
        """
        return Manifest(self.path / MANIFEST)

    def reader(
        self, header: EpisodeHeader, cache: ChunkCache | None = None
    ) -> ArchiveReader | ArchiveReaderV1:
        """Reads the episode of ``header``; ``cache`` keeps decoded chunks.

        Raises:
            StoreError: where its file is missing or may not be read.
        """
        path = self.path / header.file
        if header.schema == 1:
            return ArchiveReaderV1(path, header)
        try:
            return ArchiveReader(FileBlob(path), header, cache)
        except OSError as error:
            raise StoreError(f"file: {type(error).__name__}: {error}") from error

    @contextlib.contextmanager
    def opened(self, file: str) -> Iterator[Path]:
        """The episode's file, as ``zipfile`` takes it."""
        yield self.path / file

    def size(self, file: str) -> int:
        """Length of an episode's file in bytes; 0 where it is missing."""
        try:
            return (self.path / file).stat().st_size
        except OSError:
            return 0

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A file for one episode, held against the cleaning of others, gone afterwards.

        Raises:
            OSError: where it cannot be made.
        """
        path = self.path / f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}.zip"
        descriptor = hold(path, make=True)
        try:
            yield path
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def commit(
        self,
        manifest: Manifest,
        temporary: Path,
        header: EpisodeHeader,
        check: Callable[[Sequence[EpisodeHeader]], None],
    ) -> int:
        """Make the written episode the store's next; its index.

        Args:
            manifest: brought up to date here.
            temporary: the episode's file, flushed.
            header: its ``file`` is filled in here.
            check: called with all headers before it; what it raises stops the commit.

        Raises:
            OSError: where the medium is full; nothing is committed then.
        """
        import dataclasses

        with commit_lock(self.path / LOCK):
            manifest.refresh()
            check(manifest.headers)
            if self.read_schema() < SCHEMA_VERSION:
                self.write_root()  # so that an older robo refuses what it could not read
            named = dataclasses.replace(header, file=episode_file(manifest.last_number + 1))
            target = self.path / named.file
            try:
                temporary.replace(target)
                sync_folder(self.path)
                manifest.append(named)
            except BaseException:
                # Interrupted anywhere, even after the commit: what the manifest holds counts.
                with contextlib.suppress(StoreError, OSError):
                    manifest.refresh()
                    if named not in manifest.headers[-1:]:
                        target.unlink(missing_ok=True)
                raise
            return len(manifest.headers) - 1

    def clean(self, manifest: Manifest) -> None:
        """Remove what writers that died left behind. No file of a writer at work is touched.

        Raises:
            OSError: where the medium is not writable.
            StoreError: where the manifest is damaged.
        """
        with commit_lock(self.path / LOCK):
            manifest.refresh()
            for leftover in self.path.glob(f"{TEMPORARY}*"):
                if not _is_held(leftover):
                    leftover.unlink(missing_ok=True)
            # Renamed but not committed: the crash came between the two.
            (self.path / episode_file(manifest.last_number + 1)).unlink(missing_ok=True)


def hold(path: Path, make: bool = False) -> int:
    """Lock a file so that :meth:`LocalFolder.clean` leaves it alone; its descriptor, to be closed.

    Raises:
        OSError: where it is missing, and not to be made.
    """
    while True:
        flags = os.O_RDWR | os.O_CREAT if make else os.O_RDONLY
        descriptor = os.open(path, flags, 0o644)
        try:
            import fcntl
        except ImportError:
            return descriptor
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        # Cleaned by another process between the two calls: once more.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _is_held(path: Path) -> bool:
    """Whether a living process writes ``path``."""
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
