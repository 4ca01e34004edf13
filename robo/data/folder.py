"""The files of a store's folder.

Layout of a store's folder::

    zarr.json              zarr v3 group; its attributes hold the schema version
    manifest.jsonl         one line per committed episode (robo.data.manifest)
    episode-00000000.zip   one zarr v3 group per episode (robo.data.archive)
    .lock, .writing-*.zip  the writer's lock, and the episode being written
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from robo.data.manifest import medium_error, sync_folder
from robo.data.schema import SCHEMA_VERSION
from robo.errors import StoreError

ROOT = "zarr.json"
MANIFEST = "manifest.jsonl"
LOCK = ".lock"
TEMPORARY = ".writing-"
ATTRIBUTE = "robo_episode_store"


def episode_file(index: int) -> str:
    """Name of the file of the episode at ``index``."""
    return f"episode-{index:08d}.zip"


def create_if_new(path: Path) -> None:
    """Make an empty store at ``path`` where it is missing or empty; otherwise do nothing.

    Raises:
        StoreError: where the folder holds other files, or the medium is not writable.
    """
    root = path / ROOT
    if root.exists():
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A creation that was cut short leaves an empty manifest and hidden names.
        others = [
            entry.name
            for entry in path.iterdir()
            if not entry.name.startswith(".")
            and not (entry.name == MANIFEST and not entry.stat().st_size)
        ]
        if root.exists():
            return  # Another process made it meanwhile.
        if others:
            raise StoreError(
                f"folder {path} is no episode store and holds other files "
                f"({', '.join(sorted(others)[:3])}); name an empty or a new folder"
            )
        (path / MANIFEST).touch()
        attributes = {ATTRIBUTE: {"schema": SCHEMA_VERSION}}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        temporary = path / f".{ROOT}-{os.getpid()}"
        with temporary.open("w") as file:
            json.dump(group, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(root)
        sync_folder(path)
    except OSError as error:
        raise medium_error(path, error, "the store was not made") from error


def read_schema(path: Path) -> int:
    """Schema version of the store at ``path``.

    Raises:
        StoreError: where there is no store, or its schema is newer than this robo.
    """
    root = path / ROOT
    if not root.exists():
        raise StoreError(
            f"there is no episode store at {path}; record one with robo collect, or "
            "open a folder that holds one"
        )
    try:
        schema = int(json.loads(root.read_bytes())["attributes"][ATTRIBUTE]["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is no episode store, or its {ROOT} is damaged "
            f"({type(error).__name__}: {error}); open a folder that holds one"
        ) from error
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"episode store {path} has schema {schema}, newer than the {SCHEMA_VERSION} "
            "that this robo reads; update robo"
        )
    return schema


def clean(path: Path, episodes: int) -> None:
    """Remove what a writer that died left beside the ``episodes`` that the manifest holds.

    Only for the lock's holder, with the manifest just read.

    Raises:
        OSError: where the medium is not writable.
    """
    for leftover in path.glob(f"{TEMPORARY}*"):
        leftover.unlink()
    # Renamed but not committed: the crash came between the two. No other file is touched.
    (path / episode_file(episodes)).unlink(missing_ok=True)
