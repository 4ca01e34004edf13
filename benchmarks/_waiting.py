"""A simulator that waits, as one whose physics runs on another device or machine does."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np

STEP_SECONDS = 0.004


class Waiting(gymnasium.Env):
    """Takes ``STEP_SECONDS`` per step and no CPU."""

    observation_space = gymnasium.spaces.Box(-1, 1, (16,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """See gymnasium."""
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action: np.ndarray):
        """See gymnasium."""
        time.sleep(STEP_SECONDS)
        return self._observation(), float(action[0]), False, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 16).astype(np.float32)


gymnasium.register("Waiting-v0", lambda **options: Waiting(**options), max_episode_steps=100)
