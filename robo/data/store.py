"""The episode store: whole episodes on disk, safe against a crash or a full disk while writing.

An episode is written under a temporary name, flushed, renamed, and then committed by its line in
the manifest. Readers go by the manifest alone. :mod:`robo.data.folder` names the files.
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

from robo.data.archive import read_archive, verify_archive, write_archive
from robo.data.folder import (
    LOCK,
    MANIFEST,
    TEMPORARY,
    clean,
    create_if_new,
    episode_file,
    read_schema,
)
from robo.data.layout import assemble, check_same_cameras, disassemble
from robo.data.manifest import Manifest, WriterLock, medium_error, sync_folder
from robo.data.schema import EpisodeHeader
from robo.data.selection import select
from robo.errors import StoreError
from robo.rollout import Episode


@dataclass(frozen=True)
class Damage:
    """One episode that :meth:`EpisodeStore.verify` found damaged."""

    episode: int
    """Its index in the store."""
    file: str
    """Its file inside the store's folder."""
    reason: str
    """What is wrong with it."""


class EpisodeStore:
    """A list of :class:`~robo.rollout.Episode` in a folder.

    Any number of readers, one writer at a time: the first :meth:`append` takes the writer's lock
    and :meth:`close` gives it back. Readers see whole episodes only; call :meth:`refresh` to see
    those that another process appended since. A store can be sent to worker processes; it
    arrives there opened for reading.
    """

    def __init__(self, path: str | os.PathLike[str], mode: Literal["a", "r"] = "a") -> None:
        """Open the store in the folder ``path``.

        Args:
            path: the store's folder; ``mode="a"`` makes it where it is missing or empty.
            mode: ``"a"`` to read and append, ``"r"`` to read only.

        Raises:
            StoreError: where there is no store to read, the folder holds something else, its
                schema is newer than this robo, its manifest is damaged, or the medium is not
                writable.
        """
        if mode not in ("a", "r"):
            raise StoreError(f"mode {mode!r} of an episode store must be 'a' or 'r'")
        self.path = Path(path)
        self.mode = mode
        self._lock: WriterLock | None = None
        if mode == "a":
            create_if_new(self.path)
        self.schema = read_schema(self.path)
        self._manifest = Manifest(self.path / MANIFEST)
        if mode == "a":
            self._clean_if_idle()

    def append(self, episode: Episode) -> int:
        """Store one episode and return its index. It is on the medium when this returns.

        Raises:
            StoreError: where the episode breaks its own shapes or this store's image sizes
                (nothing is written), another writer holds the lock, or the medium is full (this
                episode is dropped, all others stay, and the store remains usable).
        """
        header, arrays = disassemble(episode)
        self._become_writer()
        index = len(self)
        if index:
            check_same_cameras(header, self.info(0))
        header = replace(header, file=episode_file(index))
        temporary = self.path / f"{TEMPORARY}{os.getpid()}.zip"
        try:
            write_archive(temporary, header, arrays)
            temporary.rename(self.path / header.file)
            sync_folder(self.path)
            self._manifest.append(header)
        except BaseException as error:
            # Interrupted anywhere, even after the commit: what the manifest holds counts.
            with contextlib.suppress(StoreError, OSError):
                self._manifest.refresh()
                clean(self.path, len(self))
            if isinstance(error, OSError):
                lost = f"episode {index} was dropped, the {index} before it are intact"
                raise medium_error(self.path, error, lost) from error
            raise
        return index

    def extend(self, episodes: Iterable[Episode]) -> list[int]:
        """Append each episode in turn and return their indices; each is committed by itself."""
        return [self.append(episode) for episode in episodes]

    def __len__(self) -> int:
        """Number of whole episodes."""
        return len(self._manifest.headers)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        """The episode at ``index`` (negative counts from the end), or a list for a slice.

        Raises:
            IndexError: where there is no such episode.
            StoreError: where its file is missing or damaged; the others stay readable.
        """
        if isinstance(index, slice):
            return [self.read(i) for i in range(*index.indices(len(self)))]
        return self.read(index)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes in order, one in memory at a time."""
        return (self.read(index) for index in range(len(self)))

    def read(self, index: int, views: Sequence[str] | None = None) -> Episode:
        """The episode at ``index`` with only the camera ``views`` named (None: all; (): none).

        Raises:
            IndexError: where there is no such episode.
            StoreError: where a view is unknown, or the file is missing or damaged.
        """
        header = self.info(index)
        roles = list(header.shapes("frames"))
        wanted = roles if views is None else list(views)
        unknown = [role for role in wanted if role not in roles]
        if unknown:
            raise StoreError(
                f"episode {index} of {self.path} has no camera views {unknown}; it has {roles}"
            )
        names = [
            spec.name
            for spec in header.arrays
            if not spec.name.startswith("frames/") or spec.name[len("frames/") :] in wanted
        ]
        try:
            return assemble(header, read_archive(self.path / header.file, header, names))
        except StoreError as error:
            raise StoreError(
                f"episode {operator.index(index) % len(self)} of {self.path} is damaged "
                f"({header.file}, {error}); the other episodes stay readable: skip this one, or "
                "restore its file from a copy"
            ) from error

    def info(self, index: int) -> EpisodeHeader:
        """All of an episode but its arrays, without opening its file.

        Raises:
            IndexError: where there is no such episode.
        """
        try:
            return self._manifest.headers[index]
        except IndexError:
            raise IndexError(
                f"episode {index} of {self.path} does not exist; it holds {len(self)}"
            ) from None

    def select(
        self, where: Callable[[EpisodeHeader], bool] | None = None, **criteria: Any
    ) -> list[int]:
        """Indices of the episodes that meet every criterion, in order.

        Args:
            where: any test of an episode's header.
            **criteria: values to equal: ``success``, ``terminated``, ``length``, a field of
                :class:`~robo.rollout.EpisodeInfo`, or a key of the metadata.

        Raises:
            StoreError: where no episode has such a field or metadata key.
        """
        try:
            return select(self._manifest.headers, where, criteria)
        except StoreError as error:
            raise StoreError(f"cannot select from episode store {self.path}: {error}") from error

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[Damage]:
        """Read every episode and compare it with its checksums; the damaged ones, none if well.

        Args:
            progress: called with (episodes done, episodes in all) after each.
        """
        damaged = []
        for index, header in enumerate(self._manifest.headers):
            try:
                verify_archive(self.path / header.file, header)
            except StoreError as error:
                damaged.append(Damage(index, header.file, str(error)))
            if progress is not None:
                progress(index + 1, len(self))
        return damaged

    def refresh(self) -> int:
        """See the episodes that other processes appended since; the number there is now."""
        self._manifest.refresh()
        return len(self)

    def close(self) -> None:
        """Give the writer's lock back. The store can still be read, and appended to again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrive in another process opened for reading."""
        return type(self), (self.path, "r")

    def __repr__(self) -> str:
        """Folder, mode and number of episodes."""
        return f"EpisodeStore({str(self.path)!r}, mode={self.mode!r}, episodes={len(self)})"

    def _become_writer(self) -> None:
        if self.mode == "r":
            raise StoreError(
                f"episode store {self.path} was opened with mode='r'; open it with mode='a' to "
                "append"
            )
        if self._lock is not None and self._lock.held:
            return
        try:
            self._lock = WriterLock(self.path / LOCK)
            self._manifest.refresh()
            clean(self.path, len(self))
        except OSError as error:
            self.close()
            raise medium_error(self.path, error, "nothing was written") from error

    def _clean_if_idle(self) -> None:
        """Remove what a crashed writer left, unless another one is at work."""
        with contextlib.suppress(StoreError, OSError):
            lock = WriterLock(self.path / LOCK)
            try:
                self._manifest.refresh()
                clean(self.path, len(self))
            finally:
                lock.release()
