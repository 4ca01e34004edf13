"""robo: camera views into rewards, rewards into policies.

``import robo`` is light: simulators, torch and encoders are imported where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["make", "make_vec", "tasks"]

if TYPE_CHECKING:
    from robo.sim.registry import make, make_vec, tasks


def __getattr__(name: str) -> Any:
    """Resolve ``robo.make``, ``robo.make_vec`` and ``robo.tasks`` on first use."""
    if name in __all__:
        from robo.sim import registry

        return getattr(registry, name)
    raise AttributeError(f"module 'robo' has no attribute {name!r}")
