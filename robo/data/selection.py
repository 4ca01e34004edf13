"""Choosing episodes by their headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robo.data.schema import EpisodeHeader
from robo.errors import StoreError
from robo.rollout import EpisodeInfo

INFO_FIELDS = frozenset(EpisodeInfo.__dataclass_fields__)
HEADER_FIELDS = frozenset({"success", "terminated", "length"})


def select(
    headers: Sequence[EpisodeHeader],
    where: Callable[[EpisodeHeader], bool] | None,
    criteria: Mapping[str, Any],
) -> list[int]:
    """Indices of the headers that equal every criterion and pass ``where``, in order.

    A criterion is a field of the header, one of its ``info``, or else a key of its metadata;
    episodes without that key are not chosen.

    Raises:
        StoreError: where no episode has such a field or key.
    """
    known = (INFO_FIELDS | HEADER_FIELDS).union(*(header.metadata for header in headers))
    unknown = [name for name in criteria if name not in known]
    if headers and unknown:
        raise StoreError(f"no episode has {unknown[0]!r}; there are {sorted(known)}")
    return [
        index
        for index, header in enumerate(headers)
        if all(_equals(header, name, wanted) for name, wanted in criteria.items())
        and (where is None or where(header))
    ]


def _equals(header: EpisodeHeader, name: str, wanted: Any) -> bool:
    if name in HEADER_FIELDS:
        return getattr(header, name) == wanted
    if name in INFO_FIELDS:
        return getattr(header.info, name) == wanted
    return name in header.metadata and header.metadata[name] == wanted
