from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def scene() -> Any:
    """The scene as robosuite makes it."""
    if importlib.util.find_spec("robosuite") is None:
        pytest.skip('robosuite is not installed: pip install -e ".[libero]"')
    from robo.sim.native_gym.physics import batch_available

    if not batch_available():
        pytest.skip("this MuJoCo has no mujoco.batch (since 3.17)")
    from robo.sim.robosuite_batch.scene import load_scene

    return load_scene()


@pytest.fixture(scope="module")
def lift(scene: Any) -> Iterator[Any]:
    """robosuite's own Lift."""
    import robo

    environment = robo.make("robosuite/Lift")
    yield environment
    environment.close()


@pytest.fixture
def make_vec(scene: Any) -> Iterator[Any]:
    """Makes ``robosuite-batch/Lift``; what it made is closed afterwards."""
    import robo

    opened = []

    def make(num_envs: int, **options: Any) -> Any:
        opened.append(robo.make_vec("robosuite-batch/Lift", num_envs, **options))
        return opened[-1]

    yield make
    for environment in opened:
        environment.close()
