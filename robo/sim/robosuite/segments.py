"""Segmentation by geom, by object or by class of object."""

from __future__ import annotations

from typing import Any

import numpy as np


class Segments:
    """Turns images of geom ids into images of the asked kind."""

    def __init__(self, kind: str) -> None:
        """``kind``: ``element`` (geoms), ``instance`` or ``class``."""
        self.kind = kind

    def names(self, raw: Any) -> tuple[str, ...]:
        """Names in the order of the numbers, for the present model of ``raw``."""
        if self.kind == "element":
            return tuple(raw.sim.model.geom_names)
        return tuple(self._groups(raw))

    def of(self, raw: Any, geoms: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Images of geom ids (int32 ``[H, W]``, -1 for none) as images of the asked kind."""
        if self.kind == "element":
            return geoms
        order = {name: index for index, name in enumerate(self._groups(raw))}
        table = np.full(raw.sim.model.ngeom + 1, -1, dtype=np.int32)
        for geom, name in self._of_geoms(raw).items():
            table[geom] = order[name]
        return {role: table[image] for role, image in geoms.items()}

    def _groups(self, raw: Any) -> Any:
        return raw.model.instances_to_ids if self.kind == "instance" else raw.model.classes_to_ids

    def _of_geoms(self, raw: Any) -> dict[int, str]:
        if self.kind == "instance":
            return raw.model.geom_ids_to_instances
        return raw.model.geom_ids_to_classes
