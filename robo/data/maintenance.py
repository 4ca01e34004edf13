"""What is done to whole stores: merge, split, repair, migrate.

Nothing is changed in place but by :func:`repair` and :func:`migrate`; those keep what they cannot
use beside the store, and replace the manifest by one rename.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robo.data.archive import embedded_header, write_archive
from robo.data.folder import LOCK, MANIFEST, ROOT, LocalFolder, hold
from robo.data.layout import check_same_cameras, disassemble
from robo.data.manifest import (
    commit_lock,
    episode_file,
    file_number,
    medium_error,
    parse_line,
    sync_folder,
    write_manifest,
)
from robo.data.schema import SCHEMA_VERSION, EpisodeHeader
from robo.data.store import EpisodeStore, verify_episode
from robo.errors import StoreError

DAMAGED = "damaged"
"""Folder beside the episodes for files that :func:`repair` took out."""

Progress = Callable[[int, int], None]
"""Called with (episodes done, episodes in all)."""


@dataclass(frozen=True)
class LeftOut:
    """An episode that was not taken over."""

    store: str
    """Where it lies."""
    episode: int
    """Its index there; -1 for a file that the manifest does not name."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class Repaired:
    """What :func:`repair` did."""

    episodes: int
    """Whole episodes that the store holds now."""
    taken_out: list[LeftOut] = field(default_factory=list)
    """Damaged ones; their files are in the folder ``damaged``."""
    recovered: list[str] = field(default_factory=list)
    """Whole files that the manifest had lost."""
    mended: list[str] = field(default_factory=list)
    """Files of the store itself that were written anew."""


def _silent(done: int, total: int) -> None:
    """No progress."""


def merge(
    sources: Sequence[EpisodeStore],
    target: EpisodeStore,
    indices: Sequence[Sequence[int]] | None = None,
    skip: bool = False,
    progress: Progress = _silent,
) -> list[LeftOut]:
    """Append the sources' episodes to ``target``, store by store; the ones left out.

    Files of the present schema are taken over as they are (linked, on one file system: episodes
    never change), others are written anew.

    Args:
        sources: read in order.
        target: of the same camera views and sizes, or empty.
        indices: of each source, which episodes; None takes all.
        skip: leave damaged episodes, and those with other cameras, out in place of refusing.
        progress: see :data:`Progress`.

    Raises:
        StoreError: before anything is written, where cameras differ; where an episode is damaged
            (those before it are committed).
    """
    chosen = indices or [range(len(store)) for store in sources]
    pairs = [(store, i) for store, some in zip(sources, chosen, strict=True) for i in some]
    left_out, wanted = [], []
    first = target.info(0) if len(target) else pairs[0][0].info(pairs[0][1]) if pairs else None
    for store, index in pairs:
        try:
            check_same_cameras(store.info(index).image_sizes, first)  # type: ignore[arg-type]
            wanted.append((store, index))
        except StoreError as error:
            if not skip:
                raise StoreError(f"episode {index} of {store.path}: {error}") from error
            left_out.append(LeftOut(str(store.path), index, "other camera views or sizes"))
    for done, (store, index) in enumerate(wanted):
        try:
            _take_over(store, index, target)
        except StoreError as error:
            if not skip or "cannot write" in str(error):
                raise
            left_out.append(LeftOut(str(store.path), index, str(error)))
        progress(done + 1, len(wanted))
    return left_out


def _take_over(store: EpisodeStore, index: int, target: EpisodeStore) -> None:
    header = store.info(index)
    if header.schema < SCHEMA_VERSION:
        target.append(store[index])
        return
    verify_episode(store.folder, header)
    try:
        with target.folder.temporary() as temporary, contextlib.ExitStack() as kept:
            if isinstance(store.folder, LocalFolder):
                kept.enter_context(_linked(Path(store.path) / header.file, temporary))
            else:
                with store.folder.opened(header.file) as content:
                    temporary.write_bytes(content.getbuffer())
            target.folder.commit(target.manifest, temporary, header, lambda headers: None)
    except OSError as error:
        raise medium_error(target.path, error, "this episode was not copied") from error


@contextlib.contextmanager
def _linked(source: Path, target: Path) -> Iterator[None]:
    """Put the file ``source`` in the place of ``target`` too, held against the cleaning of others.

    The link is another file than the one that was held there; its own lock keeps it.
    """
    descriptor = hold(source)
    link = target.with_name(f"{target.name}.link")
    try:
        try:
            os.link(source, link)
            link.replace(target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
            with target.open("rb") as file:
                os.fsync(file.fileno())
        yield
    finally:
        os.close(descriptor)


def check_shares(shares: Mapping[str, float]) -> None:
    """Refuse shares that no episodes can be dealt by.

    Raises:
        StoreError: where one is not positive, or they are above 1 together.
    """
    if min(shares.values(), default=0.0) <= 0 or sum(shares.values()) > 1 + 1e-9:
        raise StoreError(
            f"shares {dict(shares)} must be positive and together at most 1: 'train:0.9 test:0.1'"
        )


def split(
    store: EpisodeStore,
    targets: Mapping[str, EpisodeStore],
    shares: Mapping[str, float],
    seed: int = 0,
    progress: Progress = _silent,
) -> dict[str, list[int]]:
    """Deal the episodes out to several stores; which went where.

    Every combination of task and outcome is dealt by itself, so that the parts are alike.

    Args:
        store: its episodes are kept.
        targets: name to an empty store.
        shares: name to a share; together at most 1, the rest is left out.
        seed: of the shuffling.
        progress: see :data:`Progress`.

    Raises:
        StoreError: where shares are not positive or above 1 together, or a target is not empty.
    """
    check_shares(shares)
    for name, target in targets.items():
        if len(target):
            raise StoreError(f"{target.path} ({name}) already holds episodes; name a new folder")
    strata: dict[tuple[str, bool], list[int]] = {}
    for index in range(len(store)):
        header = store.info(index)
        strata.setdefault((header.info.task, header.success), []).append(index)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    bounds = np.cumsum([0.0, *shares.values()])
    for _, indices in sorted(strata.items()):
        shuffled = rng.permutation(indices)
        cuts = np.round(bounds * len(indices)).astype(int)
        for name, low, high in zip(shares, cuts[:-1], cuts[1:], strict=True):
            parts[name] += shuffled[low:high].tolist()
    total, done = sum(map(len, parts.values())), 0
    for name, indices in parts.items():
        indices.sort()
        for index in indices:
            _take_over(store, index, targets[name])
            done += 1
            progress(done, total)
    return parts


def repair(path: Path, progress: Progress = _silent) -> Repaired:
    """Make a damaged store usable, and keep all that is whole.

    A damaged ``zarr.json`` or manifest is written anew, the latter from its sound lines and from
    the headers inside the episodes' own files. Damaged episodes leave the manifest, and their
    files go to the folder ``damaged``; the indices after them move up. Nothing is deleted.

    Raises:
        StoreError: where there is no store, its schema is newer than this robo, or the medium is
            not writable.
    """
    folder = LocalFolder(path)
    files = {file.name for file in path.glob("episode-*.zip") if file_number(file.name) >= 0}
    if not (path / ROOT).exists() and not (path / MANIFEST).exists() and not files:
        raise StoreError(f"there is no episode store at {path}, not even a damaged one")
    mended = []
    try:
        try:
            folder.read_schema()
        except StoreError as error:
            if "newer" in str(error):
                raise
            folder.write_root()
            mended.append(ROOT)
        with commit_lock(path / LOCK):
            listed, whole = _sound_lines(path / MANIFEST)
            if not whole:
                mended.append(MANIFEST)
            kept, taken_out, recovered = _judge(folder, listed, files, progress)
            for lost in taken_out:
                _set_aside(path, listed, lost)
            if mended or taken_out or recovered:
                write_manifest(path / MANIFEST, kept)
    except OSError as error:
        raise medium_error(path, error, "what was there is still there") from error
    return Repaired(len(kept), taken_out, recovered, mended)


def _sound_lines(manifest: Path) -> tuple[list[EpisodeHeader], bool]:
    """Headers of the lines that can be read, and whether those are all."""
    try:
        data = manifest.read_bytes()
    except FileNotFoundError:
        return [], False
    headers, whole = [], True
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        try:
            headers.append(parse_line(line))
        except (ValueError, KeyError, TypeError):
            whole = False
    return headers, whole


def _judge(
    folder: LocalFolder,
    listed: Sequence[EpisodeHeader],
    files: set[str],
    progress: Progress,
) -> tuple[list[EpisodeHeader], list[LeftOut], list[str]]:
    """Headers to keep, in order of their files; damaged ones; files that were recovered."""
    kept, damaged, recovered = [], [], []
    known = {header.file for header in listed}
    # Its line was lost, or a crash came before it was written.
    strays = sorted(files - known)
    total = len(listed) + len(strays)
    for index, header in enumerate(listed):
        try:
            verify_episode(folder, header)
            kept.append(header)
        except StoreError as error:
            damaged.append(LeftOut(str(folder.path), index, str(error)))
        progress(index + 1, total)
    for number, file in enumerate(strays):
        try:
            header = dataclasses.replace(embedded_header(folder.path / file), file=file)
            verify_episode(folder, header)
            kept.append(header)
            recovered.append(file)
        except StoreError as error:
            damaged.append(LeftOut(str(folder.path / file), -1, str(error)))
        progress(len(listed) + number + 1, total)
    kept.sort(key=lambda header: file_number(header.file))
    return kept, damaged, recovered


def _set_aside(path: Path, listed: Sequence[EpisodeHeader], lost: LeftOut) -> None:
    source = Path(lost.store) if lost.episode < 0 else path / listed[lost.episode].file
    if source.exists():
        (path / DAMAGED).mkdir(exist_ok=True)
        target = path / DAMAGED / source.name
        while target.exists():
            target = target.with_name(target.name + ".again")
        source.rename(target)
        sync_folder(path)


def migrate(path: Path, progress: Progress = _silent) -> int:
    """Rewrite the episodes of an earlier schema in the present one; how many there were.

    The new files are all written before the manifest changes over to them, and the old ones are
    removed last: a crash leaves the old store or the new one.

    Raises:
        StoreError: where there is no store, an episode is damaged (nothing has changed then), or
            the medium is full.
    """
    store = EpisodeStore(path)
    try:
        with commit_lock(path / LOCK), contextlib.ExitStack() as written:
            store.refresh()
            old = [i for i in range(len(store)) if store.info(i).schema < SCHEMA_VERSION]
            headers = [store.info(i) for i in range(len(store))]
            renames = []
            for done, index in enumerate(old):
                temporary = written.enter_context(store.folder.temporary())
                number = store.manifest.last_number + 1 + done
                fresh = _rewritten(store, index, temporary)
                headers[index] = dataclasses.replace(fresh, file=episode_file(number))
                renames.append((temporary, path / headers[index].file))
                progress(done + 1, len(old))
            for temporary, target in renames:
                temporary.rename(target)
            sync_folder(path)
            gone = [path / store.info(index).file for index in old]
            LocalFolder(path).write_root()
            store.manifest.rewrite(headers)
    except OSError as error:
        raise medium_error(path, error, "the store is as it was") from error
    for file in gone:
        file.unlink(missing_ok=True)
    return len(old)


def _rewritten(store: EpisodeStore, index: int, target: Path) -> EpisodeHeader:
    """The episode at ``index`` in a new file; everything that its header tells stays."""
    fresh, arrays = disassemble(store[index])
    fresh = dataclasses.replace(fresh, versions=store.info(index).versions)
    return write_archive(target, fresh, arrays)
