"""A script of one arm as a recorder's actor for N environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robo.sim.mujoco.expert import CLEAN, ExpertStyle
from robo.sim.robosuite.experts.arm import OPEN, Arm, Script

TURN_NOISE = 0.2
"""Noise of the three rotations over that of the translations."""


class ScriptedManipulator:
    """Runs one script per environment; a script that ends is begun anew until the task is solved.

    It keeps the interface of :class:`robo.sim.mujoco.expert.ScriptedExpert`: called with
    observations and ``started``, asked for keyframes and metadata at an episode's end.
    """

    def __init__(
        self,
        script: Callable[[Arm], Script],
        layout: Mapping[str, slice],
        style: ExpertStyle = CLEAN,
        seed: int = 0,
    ) -> None:
        """One actor.

        Args:
            script: makes the motions of one attempt.
            layout: name to slice of the ``state`` observation.
            style: how clean the motion is; noise goes to the arm, not to the gripper.
            seed: of speeds, detours and noise.
        """
        self.script, self.style = script, style
        self._layout = dict(layout)
        self._generator = np.random.default_rng((seed, 7))
        self._size = 0

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        self._size = num_envs
        self.arms = [Arm(self._layout) for _ in range(num_envs)]
        self.speed = np.ones(num_envs)
        self.detour = np.zeros(num_envs, np.int64)
        self.drift = np.zeros((num_envs, 7))
        self._running: list[Script | None] = [None] * num_envs

    def _start(self, env: int) -> None:
        draw, style = self._generator, self.style
        self.arms[env] = Arm(self._layout)
        self.speed[env] = draw.uniform(style.slowest, 1.0)
        steps = int(draw.integers(1, style.detour_steps + 1))
        self.detour[env] = steps if draw.random() < style.detour else 0
        self.drift[env, :3] = draw.uniform(-1, 1, 3)
        self.drift[env, 6] = draw.choice((-1.0, 1.0))
        self._running[env] = None

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, 7]``; ``started`` bool ``[N]`` marks first steps of episodes."""
        state = np.asarray(observation["state"])
        if self._size != len(state):
            self.reset(len(state))
        actions = np.empty((len(state), 7))
        for env in range(len(state)):
            if started[env]:
                self._start(env)
            actions[env] = self._act(env, state[env])
        return np.clip(actions, -1.0, 1.0).astype(np.float32)

    def _act(self, env: int, state: np.ndarray) -> np.ndarray:
        arm, noise = self.arms[env], self._generator.normal(size=6)
        arm.sense(state)
        if arm.steps < self.detour[env]:
            action = self.drift[env].copy()
            action[:3] += 0.7 * noise[:3]
        else:
            action = self._next(env)
            action[:6] *= self.speed[env]
            action[:3] += self.style.noise * noise[:3]
            action[3:6] += TURN_NOISE * self.style.noise * noise[3:]
        arm.steps += 1
        return action

    def _next(self, env: int) -> np.ndarray:
        for _ in range(2):
            running = self._running[env]
            if running is None:
                self.arms[env].marks.clear()
                running = self._running[env] = self.script(self.arms[env])
            try:
                return next(running).copy()
            except StopIteration:
                self._running[env] = None
        return np.array([0.0] * 6 + [OPEN])

    def keyframes(self, env: int) -> dict[str, int]:
        """State indices of the keyframes of environment ``env``'s current episode."""
        return dict(self.arms[env].marks)

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted."""
        return {"kind": "demonstration", "actor": self.script.__name__}
