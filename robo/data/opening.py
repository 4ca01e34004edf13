"""The episode store that a path on a command line means."""

from __future__ import annotations

from pathlib import Path

from robo.data.store import EpisodeStore


def open_store(path: Path) -> EpisodeStore:
    """The store at ``path``, or at its folder ``episodes`` (what robo collect writes), to read.

    Raises:
        StoreError: where there is none.
    """
    inside = path / "episodes"
    return EpisodeStore(inside if inside.is_dir() else path, mode="r")
