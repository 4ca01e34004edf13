"""``robo data merge|split|repair|migrate|stream``: what is done to whole episode stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from robo.data.coding import Coding
from robo.errors import RoboError


@contextmanager
def progress_bar(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; what it yields takes (done, in all)."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    # Where there is no terminal, a transient bar would leave an empty line.
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        line = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(line, completed=done, total=total)


@dataclass(frozen=True)
class DataMerge:
    """Append the episodes of several stores to one."""

    sources: tyro.conf.Positional[tuple[str, ...]]
    """Folders of episode stores, or addresses that fsspec reaches."""
    to: str
    """The store to append to; made where it is missing."""
    skip: bool = False
    """Leave out damaged episodes and those with other cameras, in place of stopping."""
    images: Coding = "lz4hc"
    """How camera frames are stored where files have to be written anew."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Merge; ``left_out`` names what was not taken over.

        Raises:
            StoreError: other cameras or damage without --skip, or a full disk.
        """
        from robo.data import EpisodeStore
        from robo.data.maintenance import merge

        sources = [EpisodeStore(source, mode="r") for source in self.sources]
        target = EpisodeStore(self.to, images=self.images)
        before = len(target)
        with progress_bar("merge", self.json) as progress:
            left_out = merge(sources, target, skip=self.skip, progress=progress)
        result = {
            "store": self.to,
            "episodes": len(target),
            "appended": len(target) - before,
            "left_out": [vars(one) for one in left_out],
        }
        if not self.json:
            print(f"{self.to}: {result['appended']} episodes appended, {len(target)} in all")
            for one in left_out:
                print(f"left out: episode {one.episode} of {one.store}: {one.reason}")
        return result


@dataclass(frozen=True)
class DataSplit:
    """Deal the episodes of a store out to several new ones, tasks and outcomes alike in each."""

    path: tyro.conf.Positional[str]
    """Folder of the episode store."""
    into: Path
    """Folder for the new stores, each in a folder of its name."""
    parts: tuple[str, ...] = ("train:0.9", "test:0.1")
    """NAME:SHARE of each; together at most 1."""
    seed: int = 0
    """Of the shuffling."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Split; the result holds the indices that went into each part.

        Raises:
            RoboError: shares that are no numbers, or above 1 together; a part that exists.
        """
        from robo.data import EpisodeStore
        from robo.data.maintenance import check_shares, split

        shares = {}
        for part in self.parts:
            name, _, share = part.partition(":")
            try:
                shares[name] = float(share)
            except ValueError:
                raise RoboError(f"part {part!r} is not NAME:SHARE, such as train:0.9") from None
        store = EpisodeStore(self.path, mode="r")
        check_shares(shares)
        targets = {name: EpisodeStore(self.into / name) for name in shares}
        with progress_bar("split", self.json) as progress:
            parts = split(store, targets, shares, self.seed, progress)
        if not self.json:
            for name, indices in parts.items():
                print(f"{self.into / name}: {len(indices)} episodes")
        return {"path": self.path, "into": self.into, "parts": parts}


@dataclass(frozen=True)
class DataRepair:
    """Make a damaged episode store usable; damaged files go to its folder 'damaged'."""

    path: tyro.conf.Positional[Path]
    """Folder of the episode store."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Repair; the result says what was taken out, recovered and mended.

        Raises:
            StoreError: where there is no store, or the medium is not writable.
        """
        from robo.data.maintenance import repair

        with progress_bar("repair", self.json) as progress:
            done = repair(self.path, progress)
        if not self.json:
            for name in done.mended:
                print(f"{name} was written anew")
            for file in done.recovered:
                print(f"{file} was recovered")
            for one in done.taken_out:
                print(f"episode {one.episode} was taken out: {one.reason}")
            print(f"{self.path}: {done.episodes} episodes, all whole")
        return {
            "path": self.path,
            "episodes": done.episodes,
            "taken_out": [vars(one) for one in done.taken_out],
            "recovered": done.recovered,
            "mended": done.mended,
        }


@dataclass(frozen=True)
class DataMigrate:
    """Rewrite a store of an earlier schema in the present one, in place."""

    path: tyro.conf.Positional[Path]
    """Folder of the episode store."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Migrate; ``rewritten`` counts the episodes of earlier schemas.

        Raises:
            StoreError: where an episode is damaged, or the disk is full; nothing changes then.
        """
        from robo.data import EpisodeStore
        from robo.data.maintenance import migrate

        EpisodeStore(self.path, mode="r")  # opening to append would make a store where none is
        with progress_bar("migrate", self.json) as progress:
            rewritten = migrate(self.path, progress)
        store = EpisodeStore(self.path, mode="r")
        if not self.json:
            print(f"{self.path}: {rewritten} episodes rewritten, schema {store.schema}")
        return {
            "path": self.path,
            "episodes": len(store),
            "rewritten": rewritten,
            "schema": store.schema,
        }


@dataclass(frozen=True)
class DataStream:
    """Copy a store to a remote one while it is being written: what is new, again and again."""

    path: tyro.conf.Positional[str]
    """The store to read."""
    to: str
    """The store to bring up to date: a folder, or an address that fsspec reaches
    (s3://bucket/demos, sftp://host/demos; its driver has to be installed)."""
    follow: float = 0.0
    """Look for new episodes every so many seconds, until interrupted; 0 ends after one look."""
    out: Path | None = None
    """Run folder for config.json and result.json."""
    json: bool = False
    """Print the result as one line of JSON, and nothing else."""

    def run(self) -> dict[str, Any]:
        """Copy the episodes that the other store lacks.

        Raises:
            StoreError: where the other store was not made from this one, or cannot be written.
        """
        from robo.data import EpisodeStore
        from robo.data.remote import stream

        source, target = EpisodeStore(self.path, mode="r"), EpisodeStore(self.to)
        with progress_bar("stream", self.json) as progress:
            copied = stream(source, target, self.follow, progress)
        if not self.json:
            print(f"{self.to}: {copied} episodes copied, {len(target)} in all")
        return {"path": self.path, "to": self.to, "copied": copied, "episodes": len(target)}
