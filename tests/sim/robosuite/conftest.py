from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

HERE = importlib.util.find_spec("robosuite") is not None


@pytest.fixture(scope="session")
def robosuite() -> Any:
    """The installed robosuite, prepared."""
    if not HERE:
        pytest.skip('robosuite is not installed: pip install -e ".[libero]"')
    from robo.sim.robosuite.compatibility import prepare

    return prepare()


@pytest.fixture(scope="session")
def lift(robosuite: Any) -> Iterator[Any]:
    """One Lift environment for the tests that leave it usable; each resets it."""
    from robo.sim.robosuite.provider import make

    environment = make("robosuite/Lift")
    yield environment
    environment.close()
