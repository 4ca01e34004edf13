"""The episode store: whole episodes, safe against a crash or a full disk while writing.

An episode is written under a temporary name, flushed, renamed, and then committed by its line in
the manifest. Readers go by the manifest alone. :mod:`robo.data.folder` does so on a local disk,
:mod:`robo.data.remote` on whatever fsspec reaches.
"""

from __future__ import annotations

import operator
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np

from robo.data.archive import ArchiveReader, embedded_header, verify_zip, write_archive
from robo.data.archive_v1 import ArchiveReaderV1
from robo.data.cache import ChunkCache
from robo.data.coding import Coding, check_coding
from robo.data.folder import LocalFolder
from robo.data.layout import assemble, check_same_cameras, disassemble, image_sizes
from robo.data.manifest import medium_error
from robo.data.schema import ArraySpec, EpisodeHeader
from robo.data.selection import select
from robo.errors import StoreError
from robo.rollout import Episode

if TYPE_CHECKING:
    from robo.data.remote import RemoteFolder

OPEN_EPISODES = 256
"""Episodes whose files are kept open for reading."""

Reader = ArchiveReader | ArchiveReaderV1


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

    Any number of readers and of writers, in any number of processes. An episode's index is decided
    when it is committed. Readers see whole episodes only; call :meth:`refresh` to see those that
    another process appended since. A store can be sent to worker processes; it arrives there
    opened for reading.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: Literal["a", "r"] = "a",
        images: Coding = "lz4hc",
        cache_bytes: int = 0,
    ) -> None:
        """Open the store in the folder ``path``.

        Args:
            path: the store's folder, or the address of one that fsspec reaches
                (``s3://bucket/demos``); ``mode="a"`` makes it where it is missing or empty.
            mode: ``"a"`` to read and append, ``"r"`` to read only.
            images: how appended episodes' camera frames are stored, one of
                :data:`~robo.data.coding.CODINGS`.
            cache_bytes: of memory for decoded chunks, so that rows read again soon are not
                decompressed again; 0 keeps none. Frames stored as video are not kept.

        Raises:
            StoreError: where there is no store to read, the folder holds something else, its
                schema is newer than this robo, its manifest is damaged, or the medium is not
                writable.
        """
        if mode not in ("a", "r"):
            raise StoreError(f"mode {mode!r} of an episode store must be 'a' or 'r'")
        self.images = check_coding(images)
        self.folder = _folder(path)
        """The files of the store, on their medium."""
        self.path = self.folder.path
        self.mode = mode
        if mode == "a":
            self.folder.create_if_new()
        self.schema = self.folder.read_schema()
        self.manifest = self.folder.manifest()
        """The committed episodes' headers."""
        self._readers: OrderedDict[str, Reader] = OrderedDict()
        self._guard = threading.Lock()
        self.cache = ChunkCache(cache_bytes)
        """Decoded chunks, and how often they were found."""
        if mode == "a":
            self._clean()

    def append(self, episode: Episode) -> int:
        """Store one episode and return its index. It is on the medium when this returns.

        Raises:
            StoreError: where the episode breaks its own shapes or this store's image sizes
                (nothing is written), or the medium is full (this episode is dropped, all others
                stay, and the store remains usable).
        """
        header, arrays = disassemble(episode)
        if self.mode == "r":
            raise StoreError(
                f"episode store {self.path} was opened with mode='r'; open it with mode='a' to "
                "append"
            )
        sizes = image_sizes(arrays)

        def check(headers: Sequence[EpisodeHeader]) -> None:
            if headers:
                check_same_cameras(sizes, headers[0])

        check(self.manifest.headers)
        try:
            with self.folder.temporary() as temporary:
                header = write_archive(temporary, header, arrays, self.images)
                index = self.folder.commit(self.manifest, temporary, header, check)
        except OSError as error:
            lost = f"this episode was dropped, the {len(self)} before it are intact"
            raise medium_error(self.path, error, lost) from error
        self.schema = self.folder.read_schema()
        return index

    def extend(self, episodes: Iterable[Episode]) -> list[int]:
        """Append each episode in turn and return their indices; each is committed by itself."""
        return [self.append(episode) for episode in episodes]

    def __len__(self) -> int:
        """Number of whole episodes."""
        return len(self.manifest.headers)

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
            return assemble(header, self._reader(index).read(names))
        except StoreError as error:
            raise self._damaged(index, error) from error

    def rows(
        self, index: int, name: str, start: int, stop: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Rows ``start`` to ``stop`` (not included) of one array of the episode at ``index``.

        Only the chunks that hold them are read, so that a window of a long episode, or the sound
        part of a damaged one, costs what it is.

        Args:
            index: of the episode; negative counts from the end.
            name: ``frames/<role>``, ``observation/<key>``, ``action``, ``reward``, ``signals`` or
                ``frame_step``.
            start: first row, at least 0.
            stop: row after the last one, at most the array's length.
            out: a contiguous array of their shape and dtype that is filled and returned, such as
                a part of a batch; None makes one.

        Raises:
            IndexError: where there is no such episode, or the rows are outside of it.
            StoreError: where it has no such array, ``out`` does not fit, or these rows are
                damaged.
        """
        reader, spec = self._reader_of(index, name)
        length = spec.shape[0]
        if not 0 <= start <= stop <= length:
            raise IndexError(
                f"rows {start} to {stop} of {name} are outside of episode {index}, which has "
                f"{length}"
            )
        if out is not None:
            _check_out(out, (stop - start, *spec.shape[1:]), spec.dtype)
        try:
            return reader.rows(name, start, stop, out)
        except StoreError as error:
            raise self._damaged(index, error) from error

    def take(self, index: int, name: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The listed rows of one array of the episode at ``index``, in any order; see :meth:`rows`.

        Raises:
            IndexError: where there is no such episode, or a row is outside of it.
            StoreError: where it has no such array, or these rows are damaged.
        """
        reader, spec = self._reader_of(index, name)
        length = spec.shape[0]
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < length:
            raise IndexError(
                f"rows {wanted.tolist()[:8]} of {name} are not all within episode {index}, which "
                f"has {length}"
            )
        try:
            return reader.take(name, wanted)
        except StoreError as error:
            raise self._damaged(index, error) from error

    def array(self, index: int, name: str) -> ArraySpec:
        """Shape, dtype and coding of one array of the episode at ``index``; see :meth:`rows`.

        Raises:
            IndexError: where there is no such episode.
            StoreError: where it has no such array, or its file is missing.
        """
        return self._reader_of(index, name)[1]

    def info(self, index: int) -> EpisodeHeader:
        """All of an episode but its arrays, without opening its file.

        Raises:
            IndexError: where there is no such episode.
        """
        try:
            return self.manifest.headers[index]
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
            return select(self.manifest.headers, where, criteria)
        except StoreError as error:
            raise StoreError(f"cannot select from episode store {self.path}: {error}") from error

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[Damage]:
        """Read every episode and compare it with its checksums; the damaged ones, none if well.

        Args:
            progress: called with (episodes done, episodes in all) after each.
        """
        damaged = []
        for index, header in enumerate(self.manifest.headers):
            try:
                verify_episode(self.folder, header)
            except StoreError as error:
                damaged.append(Damage(index, header.file, str(error)))
            if progress is not None:
                progress(index + 1, len(self))
        return damaged

    def bytes_on_disk(self) -> int:
        """Length of all episodes' files together."""
        return sum(self.folder.size(header.file) for header in self.manifest.headers)

    def refresh(self) -> int:
        """See the episodes that other processes appended since; the number there is now."""
        self.manifest.refresh()
        return len(self)

    def close(self) -> None:
        """Close the files that were read. The store can still be read, and appended to."""
        with self._guard:
            self._readers.clear()
        self.cache.clear()

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
        return type(self), (self.path, "r", self.images, self.cache.limit)

    def __repr__(self) -> str:
        """Folder, mode and number of episodes."""
        return f"EpisodeStore({str(self.path)!r}, mode={self.mode!r}, episodes={len(self)})"

    def _reader_of(self, index: int, name: str) -> tuple[Reader, ArraySpec]:
        """The reader of an episode, and what one of its arrays is.

        Raises:
            IndexError, StoreError: where there is no such episode or array, or no file.
        """
        try:
            reader = self._reader(index)
        except StoreError as error:
            raise self._damaged(index, error) from error
        spec = reader.specs.get(name)
        if spec is None:
            raise StoreError(
                f"episode {index} of {self.path} has no array {name!r}; it has {list(reader.specs)}"
            )
        return reader, spec

    def _damaged(self, index: int, error: StoreError) -> StoreError:
        return StoreError(
            f"episode {operator.index(index) % len(self)} of {self.path} is damaged "
            f"({self.info(index).file}, {error}); the other episodes stay readable: skip this "
            "one, or restore its file from a copy"
        )

    def _reader(self, index: int) -> Reader:
        header = self.info(index)
        key = header.file
        with self._guard:
            reader = self._readers.get(key)
            if reader is not None and reader.header is header:
                self._readers.move_to_end(key)
                return reader
        reader = self.folder.reader(header, self.cache if self.cache.limit else None)
        with self._guard:
            self._readers[key] = reader
            while len(self._readers) > OPEN_EPISODES:
                self._readers.popitem(last=False)
        return reader

    def _clean(self) -> None:
        """Remove what crashed writers left, where the medium lets us."""
        import contextlib

        with contextlib.suppress(StoreError, OSError):
            self.folder.clean(self.manifest)


def verify_episode(folder: LocalFolder | RemoteFolder, header: EpisodeHeader) -> None:
    """Read all of an episode's file and compare it with ``header``.

    Raises:
        StoreError: naming the first thing that differs.
    """
    with folder.opened(header.file) as file:
        if embedded_header(file) != replace(header, file=""):
            raise StoreError("the file's header differs from the manifest's")
    reader = folder.reader(header)
    # One array at a time: a long episode's views need not fit into memory together.
    for spec in header.arrays:
        reader.verify(spec)
    with folder.opened(header.file) as file:
        verify_zip(file)


def _check_out(out: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        kind = "contiguous" if out.flags.c_contiguous else "not contiguous"
        raise StoreError(
            f"out is {out.dtype} of shape {out.shape}, {kind}; expected a contiguous {dtype} of "
            f"shape {shape}"
        )


def _folder(path: str | os.PathLike[str]) -> LocalFolder | RemoteFolder:
    text = os.fspath(path)
    if "://" not in text:
        return LocalFolder(Path(text))
    from robo.data.remote import RemoteFolder

    return RemoteFolder(text)
