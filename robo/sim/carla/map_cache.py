"""What is computed once for each town: kept by the town's OpenDRIVE text, not by map object."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import carla

Value = TypeVar("Value")
SIZE = 16
"""Towns that are remembered by each cache."""


class MapCache(Generic[Value]):
    """Values of ``build(map)`` for the towns used last, shared by a whole process.

    Clients return a new ``carla.Map`` object for each world they load, so that object identity
    would find nothing again, and would keep every map alive.
    """

    def __init__(self, build: Callable[[carla.Map], Value]) -> None:
        """``build`` runs once per town."""
        self._build = build
        self._values: OrderedDict[bytes, Value] = OrderedDict()

    def __call__(self, map: carla.Map) -> Value:
        """The value for ``map`` (under 1 ms once it is known)."""
        key = hashlib.sha1(map.to_opendrive().encode(), usedforsecurity=False).digest()
        if key not in self._values:
            self._values[key] = self._build(map)
            while len(self._values) > SIZE:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]
