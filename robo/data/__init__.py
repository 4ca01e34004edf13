"""Whole episodes on disk: the zarr episode store."""

from __future__ import annotations

from robo.data.schema import SCHEMA_VERSION, ArraySpec, EpisodeHeader, versions
from robo.data.store import Damage, EpisodeStore

__all__ = [
    "SCHEMA_VERSION",
    "ArraySpec",
    "Damage",
    "EpisodeHeader",
    "EpisodeStore",
    "versions",
]
