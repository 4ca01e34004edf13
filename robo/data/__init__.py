"""Whole episodes on disk: the zarr episode store."""

from __future__ import annotations

from robo.data.coding import CODINGS
from robo.data.opening import open_store
from robo.data.schema import SCHEMA_VERSION, ArraySpec, EpisodeHeader, versions
from robo.data.store import Damage, EpisodeStore

__all__ = [
    "CODINGS",
    "SCHEMA_VERSION",
    "ArraySpec",
    "Damage",
    "EpisodeHeader",
    "EpisodeStore",
    "open_store",
    "versions",
]
