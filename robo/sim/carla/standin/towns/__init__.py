"""The stand-in server's own towns, written to OpenDRIVE.

Three small towns that need no map files: ``Grid`` (signalised crossings), ``Junctions``
(priority junctions and a roundabout) and ``Multilane`` (a dual carriageway with three lanes a
side). Generation is deterministic, takes a fraction of a second and is cached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from robo.errors import RoboError
from robo.sim.carla.standin.towns.plans import grid, junctions, multilane

TOWNS: dict[str, Callable[[], str]] = {
    "Grid": grid,
    "Junctions": junctions,
    "Multilane": multilane,
}
"""Name of each built-in town and the function that writes its OpenDRIVE text."""


@cache
def town(name: str) -> str:
    """The OpenDRIVE text of a built-in town.

    Args:
        name: a key of :data:`TOWNS`.

    Returns:
        The XML text, the same at every call.

    Raises:
        RoboError: the name is not a built-in town.
    """
    if name not in TOWNS:
        raise RoboError(f"no built-in town {name!r}: choose one of {', '.join(TOWNS)}")
    return TOWNS[name]()
