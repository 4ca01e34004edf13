"""Scripted experts and scripted failures, for N environments at once.

An expert is a recorder's actor: it maps observations to actions and tells, when asked at an
episode's end, the state indices at which it switched phase (keyframes). These are what a person
could mark in a video: the fingers begin to close, the hand begins to rise. The scripts read the
``state`` observation; rewards never do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.mujoco.control import FINGER_STEP, STEP
from robo.sim.mujoco.tasks import OPEN

# Parts of the state observation, see MujocoVectorEnvironment.
TOOL, OPENING, CUBE, TOWARD_CUBE = slice(7, 10), 13, slice(15, 18), slice(18, 21)
REACH_TOWARD_GOAL, PUSH_GOAL = slice(18, 21), slice(26, 29)

BEHIND = 0.055
"""Where a push begins, metres behind the cube's centre."""
PUSH_STEP = 0.02
"""Displacement commanded per step while pushing, m."""

FAILURES: dict[str, float] = {
    "beside": 0.10,
    "closed": 0.12,
    "open": 0.30,
    "above": 0.15,
    "drop": 0.30,
    "hover": 0.30,
    "knock": 0.10,
    "wander": 0.22,
}
"""Scripted failures of Lift and the progress that a person would grant them at the end.

beside: closes next to the cube and rises; closed: arrives with closed fingers; open: never
closes, then rises; above: closes over the cube; drop: lifts a little and lets go; hover: stays
at the cube with open fingers; knock: sweeps through the cube; wander: moves about the cube with
fingers as wide as it, which from some cameras looks like a grasp.
"""


@dataclass(frozen=True)
class ExpertStyle:
    """How clean the scripted motion is."""

    noise: float = 0.3
    """Standard deviation of the Gaussian noise on each action, in units of the action range."""
    slowest: float = 0.5
    """Each episode moves at a speed drawn from [slowest, 1]."""
    detour: float = 0.6
    """Share of episodes that begin with random motion, for diverse starts."""
    detour_steps: int = 15
    """Longest random motion, in steps."""


CLEAN = ExpertStyle(noise=0.0, slowest=1.0, detour=0.0)
"""No noise: the fastest expert."""


class ScriptedExpert(ABC):
    """Base of the scripted actors: style, noise, phases and keyframes."""

    phases: tuple[str, ...] = ()
    """Names of the keyframes, in order."""

    def __init__(self, style: ExpertStyle = CLEAN, seed: int = 0, script: str = "expert") -> None:
        """One actor; ``script`` is "expert" or a key of ``FAILURES`` (Lift only)."""
        self.style, self.script = style, script
        self._generator = np.random.default_rng((seed, 7))
        self._size = 0

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        self._size = num_envs
        self.phase = np.zeros(num_envs, np.int64)
        self.step = np.zeros(num_envs, np.int64)
        self.since = np.zeros(num_envs, np.int64)
        self.speed = np.ones(num_envs)
        self.detour = np.zeros(num_envs, np.int64)
        self.drift = np.zeros((num_envs, 4))
        self.offset = np.zeros((num_envs, 3))
        self._marks: list[dict[str, int]] = [{} for _ in range(num_envs)]

    def _start(self, index: np.ndarray) -> None:
        draw, count = self._generator, len(index)
        self.phase[index] = self.step[index] = self.since[index] = 0
        self.speed[index] = draw.uniform(self.style.slowest, 1.0, count)
        detours = draw.random(count) < self.style.detour
        self.detour[index] = detours * draw.integers(1, self.style.detour_steps + 1, count)
        self.drift[index] = draw.uniform(-1, 1, (count, 4))
        angle = draw.uniform(0, 2 * np.pi, count)
        radius = draw.uniform(0.045, 0.08, count)
        self.offset[index] = np.stack(
            [radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1
        )
        for i in index:
            self._marks[i] = {}

    def _advance(self, mask: np.ndarray) -> None:
        """Move the environments in ``mask`` to their next phase and mark the keyframe."""
        for i in np.flatnonzero(mask & (self.phase < len(self.phases))):
            self._marks[i][self.phases[self.phase[i]]] = int(self.step[i])
            self.phase[i] += 1
            self.since[i] = 0

    def _retreat(self, mask: np.ndarray) -> None:
        """Back to the first phase in the environments in ``mask``; their keyframes are void."""
        for i in np.flatnonzero(mask):
            self._marks[i] = {}
            self.phase[i] = self.since[i] = 0

    @abstractmethod
    def motion(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wanted displacement ``[N, 3]`` (m) and gripper command ``[N]``; advances phases."""

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions ``[N, 4]``; ``started`` bool ``[N]`` marks first steps of episodes."""
        state = observation["state"].astype(np.float64)
        if self._size != len(state):
            self.reset(len(state))
        if started.any():
            self._start(np.flatnonzero(started))
        wander = self.step < self.detour
        before = self.phase.copy(), self.since.copy(), [dict(m) for m in self._marks]
        displacement, gripper = self.motion(state)
        for i in np.flatnonzero(wander):  # phases do not move during a detour
            self.phase[i], self.since[i], self._marks[i] = before[0][i], before[1][i], before[2][i]
        action = np.empty((len(state), 4))
        action[:, :3] = np.clip(displacement / STEP, -1, 1) * self.speed[:, None]
        action[:, :3] += self.style.noise * self._generator.normal(size=(len(state), 3))
        action[:, 3] = gripper
        random = self.drift + 0.7 * self._generator.normal(size=(len(state), 4))
        action[wander] = random[wander]
        self.step += 1
        self.since += 1
        return np.clip(action, -1, 1).astype(np.float32)

    def keyframes(self, env: int) -> dict[str, int]:
        """State indices at which phases ended in environment ``env``'s current episode.

        Failures have other names: where the hand was ``closest`` and where it began to ``leave``.
        """
        marks = self._marks[env]
        if self.script == "expert":
            return dict(marks)
        return dict(zip(("closest", "leave"), marks.values(), strict=False))

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted, and for failures the progress granted at the end."""
        if self.script == "expert":
            return {"kind": "demonstration", "actor": type(self).__name__}
        return {
            "kind": "failure",
            "actor": self.script,
            "progress_ceiling": FAILURES[self.script],
        }


class LiftExpert(ScriptedExpert):
    """Funnel down to the cube, close, rise."""

    phases = ("grasp", "lift")

    def motion(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Phases: 0 to the cube, 1 close, 2 rise."""
        script = self.script
        toward = state[:, TOWARD_CUBE].copy()
        if script == "beside":
            toward += self.offset
        elif script == "above":
            toward[:, 2] += 0.045
        elif script == "knock":
            toward[:, :2] += 0.05 * np.sign(self.offset[:, :2])
        flat = np.linalg.norm(toward[:, :2], axis=1)
        go = toward.copy()
        # A funnel: stay above until the hand is over the cube, so that fingers do not hit it.
        go[:, 2] += np.clip(flat - 0.012, 0.0, 0.05) * 1.8
        near = (flat < 0.010) & (np.abs(toward[:, 2]) < 0.012)
        if script == "expert":  # a cube that slipped out of the hand is grasped anew
            self._retreat((self.phase == 2) & (np.linalg.norm(toward, axis=1) > 0.03))
        self._advance((self.phase == 0) & near & (script != "hover"))
        patience = 4
        self._advance((self.phase == 1) & (self.since >= patience))
        displacement = np.where((self.phase == 0)[:, None], go, 0.0)
        displacement[self.phase == 2] = (0.0, 0.0, STEP)
        gripper = np.where(self.phase >= 1, -1.0, 1.0)
        if script == "closed":
            gripper[:] = -1.0
        elif script in ("open", "hover", "knock"):
            gripper[:] = 1.0
        elif script == "drop":
            gripper[(self.phase == 2) & (self.since >= 2)] = 1.0
            displacement[(self.phase == 2) & (self.since == 1)] = 0.0
        return displacement, gripper


class CubeWanderer(ScriptedExpert):
    """Moves from point to point near the cube, fingers about as wide as the cube."""

    phases = ("closest",)
    pause = 5
    """Steps at each point."""

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""
        super().reset(num_envs)
        self.opening = np.full(num_envs, OPEN)

    def motion(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Displacement to the current point beside, behind or above the cube."""
        for i in np.flatnonzero((self.step == 0) | (self.since >= self.pause)):
            self._draw_point(int(i))
        toward = state[:, TOWARD_CUBE] + self.offset
        self._advance((self.phase == 0) & (np.linalg.norm(toward, axis=1) < 0.02))
        gap = self.opening - state[:, OPENING]
        return toward, np.clip(gap / FINGER_STEP, -1.0, 1.0)

    def _draw_point(self, env: int) -> None:
        while True:
            point = self._generator.uniform((-0.09, -0.09, 0.0), (0.09, 0.09, 0.10))
            if np.linalg.norm(point) > 0.035:
                break
        wide = self._generator.uniform(0.0, OPEN)
        like_cube = self._generator.uniform(0.016, 0.026)
        self.offset[env] = point
        self.opening[env] = like_cube if self._generator.random() < 0.6 else wide
        self.since[env] = 0


class ReachExpert(ScriptedExpert):
    """Straight to the ball."""

    def motion(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Displacement to the goal; the gripper is not used."""
        return state[:, REACH_TOWARD_GOAL], np.full(len(state), -1.0)


class PushExpert(ScriptedExpert):
    """Around behind the cube, down, and push it to the disc."""

    phases = ("behind", "push")

    def motion(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Phases: 0 above the point behind the cube, 1 down, 2 push.

        The closed fingers lie flat on the cube, which follows them, so the push goes along the
        line from cube to disc as it is at each step. A cube that got away to the side, or past
        the disc, is approached anew from above.
        """
        tool, cube, goal = state[:, TOOL], state[:, CUBE], state[:, PUSH_GOAL]
        line = (goal - cube)[:, :2]
        distance = np.linalg.norm(line, axis=1)
        direction = line / np.maximum(distance[:, None], 1e-6)
        across = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
        relative = (tool - cube)[:, :2]
        along = (relative * direction).sum(axis=1)
        beside = (relative * across).sum(axis=1)
        high, low = cube.copy(), cube.copy()
        high[:, :2] -= direction * BEHIND
        low[:, :2] -= direction * BEHIND
        high[:, 2], low[:, 2] = 0.09, 0.022
        lost = (self.phase == 2) & ((along > -0.005) | (np.abs(beside) > 0.03))
        self._retreat(lost)
        self._advance((self.phase == 0) & (np.linalg.norm(high - tool, axis=1) < 0.015))
        self._advance((self.phase == 1) & (np.linalg.norm(low - tool, axis=1) < 0.012))
        displacement = np.where((self.phase == 0)[:, None], high, low) - tool
        push = np.empty_like(displacement)
        push[:, :2] = PUSH_STEP * direction
        push[:, 2] = low[:, 2] - tool[:, 2]
        displacement = np.where((self.phase == 2)[:, None], push, displacement)
        return displacement, np.full(len(state), -1.0)


EXPERTS: dict[str, type[ScriptedExpert]] = {
    "mujoco/Reach": ReachExpert,
    "mujoco/Push": PushExpert,
    "mujoco/Lift": LiftExpert,
}


def make_expert(
    task: str,
    style: ExpertStyle = CLEAN,
    seed: int = 0,
    script: str = "expert",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> ScriptedExpert:
    """The scripted actor of a task; no option of its environment matters to it.

    Raises:
        RoboError: for a task without an expert, or an unknown failure script.
    """
    if task not in EXPERTS:
        raise RoboError(f"task {task!r} has no scripted expert; these have: {list(EXPERTS)}")
    if script != "expert" and (task != "mujoco/Lift" or script not in FAILURES):
        raise RoboError(
            f"script {script!r} does not exist for {task}; mujoco/Lift has {list(FAILURES)}"
        )
    actor = CubeWanderer if script == "wander" else EXPERTS[task]
    return actor(style, seed, script)
