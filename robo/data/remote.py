"""Stores on whatever fsspec reaches: read by ranges, appended to by one writer, streamed to.

Objects are written whole: an episode's file first, then the manifest with its line. A reader of
the manifest therefore sees whole episodes only. There is no lock that every such place offers, so
a remote store has one writer; several write stores of their own, and ``robo data merge`` joins
them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robo.data.archive import ArchiveReader
from robo.data.cache import ChunkCache
from robo.data.folder import MANIFEST, ROOT, no_store, parse_schema, root_group
from robo.data.manifest import Manifest, episode_file, manifest_line
from robo.data.schema import SCHEMA_VERSION, EpisodeHeader
from robo.data.store import EpisodeStore
from robo.errors import MissingExtraError, StoreError


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path on it.

    Raises:
        MissingExtraError: where its driver is not installed.
        StoreError: where the protocol is unknown or the address cannot be used.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"{url} needs a driver of fsspec: {error}") from error
    except (ValueError, OSError) as error:
        raise StoreError(f"{url} cannot be opened by fsspec: {error}") from error


class RemoteManifest(Manifest):
    """The manifest as one object, read from where it was read last and written whole."""

    def __init__(self, system: Any, path: str, url: str) -> None:
        """Read it.

        Raises:
            StoreError: where it is missing or a line is damaged.
        """
        self._system, self._object = system, path
        self._lines = b""
        super().__init__(Path(MANIFEST), url)

    def _read(self, end: int, identity: object) -> tuple[bytes, object]:
        data = self._system.cat_file(self._object)
        same = identity is not None and data[: len(self._lines)] == self._lines
        found = identity if same else object()
        self._lines = data
        return (data[end:] if same else data), found

    def _write(self, line: bytes, end: int) -> None:
        self._system.pipe_file(self._object, self._lines[:end] + line)

    def rewrite(self, headers: Sequence[EpisodeHeader]) -> None:
        """Replace the whole manifest."""
        self._system.pipe_file(self._object, b"".join(map(manifest_line, headers)))
        self.refresh()


class _RemoteBlob:
    """A remote file, of which ranges are fetched."""

    def __init__(self, system: Any, path: str) -> None:
        self._system, self._path = system, path

    def read_at(self, offset: int, size: int) -> bytes:
        """See :class:`~robo.data.shards.Blob`."""
        return self._system.cat_file(self._path, start=offset, end=offset + size)


class RemoteFolder:
    """What :class:`~robo.data.store.EpisodeStore` asks of a place that fsspec reaches."""

    def __init__(self, url: str) -> None:
        """Nothing is read or made yet.

        Raises:
            MissingExtraError, StoreError: where fsspec cannot open the address.
        """
        self.path = url.rstrip("/")
        self._system, self._root = _file_system(self.path)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def create_if_new(self) -> None:
        """Make an empty store where there is none.

        Raises:
            StoreError: where other files are there, or it cannot be written.
        """
        try:
            if self._system.exists(self._at(ROOT)):
                return
            found = self._system.ls(self._root, detail=False) if self._exists() else []
            others = [name.rsplit("/", 1)[-1] for name in found]
            if [name for name in others if name and name != MANIFEST]:
                raise StoreError(
                    f"{self.path} is no episode store and holds other files "
                    f"({', '.join(sorted(others)[:3])}); name an empty or a new folder"
                )
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(self._at(MANIFEST), b"")
            self._system.pipe_file(self._at(ROOT), root_group())
        except OSError as error:
            raise StoreError(f"cannot write to {self.path}: {error}") from error

    def _exists(self) -> bool:
        return bool(self._system.exists(self._root))

    def read_schema(self) -> int:
        """Schema version of the store.

        Raises:
            StoreError: where there is no store, or its schema is newer than this robo.
        """
        try:
            content = self._system.cat_file(self._at(ROOT))
        except FileNotFoundError:
            raise no_store(self.path) from None
        except OSError as error:
            raise StoreError(f"cannot read episode store {self.path}: {error}") from error
        return parse_schema(self.path, content)

    def manifest(self) -> RemoteManifest:
        """The committed episodes.

        Raises:
            StoreError: where the manifest is missing or damaged.
        """
        return RemoteManifest(self._system, self._at(MANIFEST), self.path)

    def reader(self, header: EpisodeHeader, cache: ChunkCache | None = None) -> ArchiveReader:
        """Reads the episode of ``header`` by ranges; ``cache`` keeps decoded chunks.

        Raises:
            StoreError: where it is of schema 1, which is read on local disks only.
        """
        if header.schema < SCHEMA_VERSION:
            raise StoreError(
                f"it has schema {header.schema}, which is read from local disks only; copy the "
                "store there and run `robo data migrate`"
            )
        blob = _RemoteBlob(self._system, self._at(header.file))
        return ArchiveReader(blob, header, cache)

    @contextlib.contextmanager
    def opened(self, file: str) -> Iterator[Any]:
        """The episode's file in memory, as ``zipfile`` takes it.

        Raises:
            StoreError: where it cannot be fetched.
        """
        try:
            content = self._system.cat_file(self._at(file))
        except OSError as error:
            raise StoreError(f"file: {type(error).__name__}: {error}") from error
        yield io.BytesIO(content)

    def size(self, file: str) -> int:
        """Length of an episode's file in bytes; 0 where it is missing."""
        try:
            return int(self._system.size(self._at(file)) or 0)
        except OSError:
            return 0

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A local file for one episode, gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="robo-episode-") as folder:
            yield Path(folder) / "episode.zip"

    def commit(
        self,
        manifest: Manifest,
        temporary: Path,
        header: EpisodeHeader,
        check: Callable[[Sequence[EpisodeHeader]], None],
    ) -> int:
        """Upload the episode, then the manifest with its line; its index.

        Raises:
            OSError: where the place cannot be written; nothing is committed then.
        """
        manifest.refresh()
        check(manifest.headers)
        named = dataclasses.replace(header, file=episode_file(manifest.last_number + 1))
        self._system.put_file(str(temporary), self._at(named.file))
        manifest.append(named)
        return len(manifest.headers) - 1

    def clean(self, manifest: Manifest) -> None:
        """Nothing: a file without its line is written over by the next commit."""


def stream(
    source: EpisodeStore,
    target: EpisodeStore,
    follow: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Append to ``target`` the episodes of ``source`` that it lacks; how many were copied.

    Args:
        source: may be growing.
        target: empty, or the result of an earlier call.
        follow: seconds between looks for new episodes, until interrupted; 0 for one look.
        progress: called with (copied, in all) after each.
        stop: asked between looks; True ends.

    Raises:
        StoreError: where ``target`` holds other episodes, or cannot be written.
    """
    from robo.data.maintenance import merge

    copied = 0
    try:
        while True:
            source.refresh()
            for index in range(min(len(target), len(source))):
                if not _same(source.info(index), target.info(index)):
                    raise StoreError(
                        f"episode {index} of {target.path} is not that of {source.path}: stream to "
                        "a new store, or join the two with `robo data merge`"
                    )
            missing = range(len(target), len(source))
            for index in missing:
                merge([source], target, [[index]])
                copied += 1
                progress(copied, copied + len(missing) - 1)
            if not follow or stop():
                return copied
            time.sleep(follow)
    except KeyboardInterrupt:
        return copied


def _same(one: EpisodeHeader, other: EpisodeHeader) -> bool:
    """Whether two headers are of the same episode, however it is stored."""

    def content(header: EpisodeHeader) -> tuple[Any, ...]:
        arrays = tuple((spec.name, spec.shape, spec.dtype) for spec in header.arrays)
        return header.info, header.length, header.success, header.metadata, arrays

    return content(one) == content(other)
