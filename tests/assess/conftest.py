from __future__ import annotations

import numpy as np
import pytest

from tests.bright_episodes import brightness, episode, make_episode

__all__ = ["brightness", "make_episode"]


@pytest.fixture
def episodes():
    """Five successes and five failures that stop half-way."""
    up = np.linspace(0, 1, 21)
    half = np.minimum(up, 0.5)
    return [episode(up, True, actor="expert")] * 5 + [episode(half, False, actor="stopper")] * 5
